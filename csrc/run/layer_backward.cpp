// The time loop of one team member, backward. Only what the step before needs stays in it, the
// gradient of h; that of the weights and of the input are products over whole chunks of steps.
#include "run/layer_backward.hpp"

#include <algorithm>

namespace cellgate {
namespace {

template <class S>
class BackwardMember : Member<S> {
  using Base = Member<S>;
  using Base::all, Base::blocks_, Base::config_, Base::lanes_, Base::meet, Base::member_, Base::model_,
      Base::own, Base::padded_, Base::part, Base::team_, Base::unit_begin_, Base::units_, Base::width_;

 public:
  BackwardMember(const BackwardTeam<S>& team, const BackwardScratch<S>& scratch, int member)
      : Base(team.forward, member), backward_(team), scratch_(scratch) {}

  void run() {
    const std::int64_t steps = team_.steps(), k = team_.tape.kept ? team_.tape.segment : steps;
    for (std::int64_t end = steps; end > 0;) {
      const std::int64_t begin = (end - 1) / k * k;
      if (team_.tape.kept) {
        rerun_member(team_, scratch_.forward, member_, begin, end);
        meet();
      }
      run_segment(begin, end);
      end = begin;
    }
  }

 private:
  void run_segment(std::int64_t begin, std::int64_t end) {
    segment_ = begin;
    std::int64_t chunks = 0;
    for (std::int64_t s = begin; s < end; ++chunks) {
      scratch_.chunk_begins[chunks] = s;
      s = chunk_from(s, end, team_.positions, team_.chunk_capacity()).end;
    }
    while (chunks-- > 0) {
      chunk_ = chunk_from(scratch_.chunk_begins[chunks], end, team_.positions, team_.chunk_capacity());
      for (std::int64_t s = chunk_.end - 1; s >= chunk_.begin; --s) {
        step(s);
        if (team_.split_rows && s > chunk_.begin && team_.active(s) != team_.active(s - 1)) meet();
      }
      meet();
      add_weight_gradients();
      if (backward_.d_x) find_input_gradients();
      meet();
      sums_begun_ = true;
    }
  }

  // Where step s begins among the rows of the chunk.
  std::int64_t row_of(std::int64_t s) const { return team_.positions[chunk_.end] - team_.positions[s + 1]; }
  const S* gates() const {
    return team_.tape.gates + (team_.positions[chunk_.begin] - team_.positions[segment_]) * 4 * padded_;
  }
  // c after step s of the segment, or before its first step for s = segment_ - 1.
  const S* cells(std::int64_t s) const {
    if (s < segment_) return team_.tape.cells;
    return team_.tape.cells + (team_.rows + team_.positions[s] - team_.positions[segment_]) * padded_;
  }

  void step(std::int64_t s) {
    const Share rows = own(team_.active(s));
    if (config_.proj_size) unproject(s, rows);
    cell(s, rows);
    if (!team_.split_rows) meet();
    pass_on(s, rows);
    if (!team_.split_rows) meet();
  }

  // The gradient of the cell's output from that of h, which is its projection.
  void unproject(std::int64_t s, const Share& rows) {
    const std::int64_t width = config_.proj_size, first = row_of(s);
    const Share mine = part(team_.active(s));
    const Share sum_rows = team_.split_rows ? rows : mine;
    for (std::int64_t row = sum_rows.begin; row < sum_rows.end; ++row) {
      const S* d_h = backward_.d_h + row * backward_.d_h_stride;
      S* to = backward_.d_projected + (first + row) * width;
      const S* d_y = backward_.d_y ? backward_.d_y.at(s, row) : nullptr;
      for (std::int64_t j = 0; j < width; ++j) to[j] = d_y ? d_h[j] + d_y[j] : d_h[j];
    }
    if (!team_.split_rows) meet();
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      scratch_.rows[row] = backward_.d_projected + (first + row) * width;
      scratch_.out_rows[row] = backward_.d_output + row * padded_;
    }
    const std::int64_t count = plain_panels(config_.hidden_size, lanes_);
    product(rows, width, backward_.weights.projection, team_.split_rows ? all(count) : part(count),
            config_.hidden_size);
    if (!team_.split_rows) meet();
  }

  // out_rows = rows * panels
  void product(const Share& rows, std::int64_t depth, const S* panels, const Share& share,
               std::int64_t columns) {
    if (rows.size() == 0 || share.size() == 0) return;
    GemmArgs<S> g{};
    g.rows = rows.size();
    g.depth = depth;
    g.panel_begin = share.begin;
    g.panel_end = share.end;
    g.a = scratch_.rows + rows.begin;
    g.panels = {panels, nullptr};
    g.out = scratch_.out_rows + rows.begin;
    g.out_columns = columns;
    g.partial = scratch_.partial;
    g.gathered = scratch_.gathered;
    model_.kernels().gemm(g);
  }

  void cell(std::int64_t s, const Share& rows) {
    if (rows.size() == 0) return;
    const std::int64_t first = row_of(s) + rows.begin;
    const std::ptrdiff_t first_cell = rows.begin * padded_;
    CellBackwardArgs<S> a{};
    a.rows = rows.size();
    a.block_begin = blocks_.begin;
    a.block_end = blocks_.end;
    a.hidden_size = config_.hidden_size;
    a.gates = gates() + first * width_;
    a.gates_block_stride = chunk_.rows * width_;
    a.c_prev = cells_before(s, rows) + first_cell;
    a.c = cells(s) + first_cell;
    a.dh = (config_.proj_size ? backward_.d_output : backward_.d_h) + first_cell;
    if (backward_.d_y && !config_.proj_size) {
      const Rows<const S> d_y = backward_.d_y.rows(s, rows.begin, rows.end, scratch_.forward.h_rows);
      a.dy = d_y.pointers;
      a.dy_offset = d_y.offset;
    }
    if (backward_.d_cells) {
      const Rows<const S> d_cells = backward_.d_cells.rows(s, rows.begin, rows.end, scratch_.rows);
      a.d_cells = d_cells.pointers;
      a.d_cells_offset = d_cells.offset;
    }
    a.dc = backward_.d_c + first_cell;
    a.stride = padded_;
    for (int set = 0; set < kUnitSets; ++set) {
      S* panels = backward_.d_panels.of[set];
      a.d_panels.of[set] = panels ? panels + first * width_ : nullptr;
    }
    a.d_rows = backward_.d_rows + first * backward_.d_rows_stride;
    a.d_rows_stride = backward_.d_rows_stride;
    a.d_rows_gate_stride = padded_;
    a.unprojected = config_.proj_size ? backward_.unprojected + first * width_ : nullptr;
    a.unprojected_panel_stride = chunk_.rows * width_;
    model_.kernels().cell_backward(a);
  }

  // c before step s, zero where the state was reset.
  const S* cells_before(std::int64_t s, const Share& rows) {
    const S* c = cells(s - 1);
    if (!team_.resets) return c;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      S* to = team_.fresh_cells + row * padded_ + unit_begin_;
      if (team_.is_reset(s, row)) {
        std::fill_n(to, units_, S(0));
      } else {
        std::copy_n(c + row * padded_ + unit_begin_, units_, to);
      }
    }
    return team_.fresh_cells;
  }

  // The gradients of h and c before step s: zero where the state was reset.
  void pass_on(std::int64_t s, const Share& rows) {
    const std::int64_t count = plain_panels(config_.output_size(), lanes_);
    const bool by_panels = !team_.split_rows && count >= team_.members;
    const Share mine = team_.split_rows || by_panels ? rows : part(team_.active(s));
    const Share panels = by_panels ? part(count) : all(count);
    const std::int64_t first = row_of(s);
    for (std::int64_t row = mine.begin; row < mine.end; ++row) {
      scratch_.rows[row] = backward_.d_rows + (first + row) * backward_.d_rows_stride;
      scratch_.out_rows[row] = backward_.d_h + row * backward_.d_h_stride;
    }
    product(mine, 4 * padded_, backward_.weights.r, panels, config_.output_size());
    if (!team_.resets) return;
    const std::int64_t begin = panels.begin * width_,
                       end = std::min(config_.output_size(), panels.end * width_);
    for (std::int64_t row = mine.begin; row < mine.end; ++row) {
      if (team_.is_reset(s, row))
        std::fill(scratch_.out_rows[row] + begin, scratch_.out_rows[row] + end, S(0));
    }
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      if (team_.is_reset(s, row)) std::fill_n(backward_.d_c + row * padded_ + unit_begin_, units_, S(0));
    }
  }

  // h before step s.
  const S* state_before(std::int64_t s, std::int64_t row) const {
    if (team_.is_reset(s, row)) return team_.first_h;
    return s == 0 ? team_.h0[row] : team_.y.at(s - 1, row);
  }

  // Calls visit(row of the chunk, step, row) for all of the chunk.
  template <class Visit>
  void for_each_row(const Visit& visit) const {
    for (std::int64_t s = chunk_.begin; s < chunk_.end; ++s) {
      const std::int64_t first = row_of(s), active = team_.active(s);
      for (std::int64_t row = 0; row < active; ++row) visit(first + row, s, row);
    }
  }

  // sums += rows^T * panels, `columns` outputs wide: members own blocks, or rows if those are few.
  void add_product(std::int64_t columns, const S* panels, std::int64_t panel_count, S* sums) {
    const bool by_panels = panel_count >= team_.members;
    const Share rows = by_panels ? all(columns) : part(columns);
    const Share share = by_panels ? part(panel_count) : all(panel_count);
    if (rows.size() == 0 || share.size() == 0) return;
    GemmArgs<S> g{};
    g.rows = rows.size();
    g.depth = chunk_.rows;
    g.panel_begin = share.begin;
    g.panel_end = share.end;
    g.a = scratch_.rows;
    g.a_offset = rows.begin;
    g.transposed = true;
    g.accumulate = sums_begun_;
    g.panels = {panels, nullptr};
    g.c = sums + rows.begin * width_;
    g.c_panel_stride = columns * width_;
    g.gathered = scratch_.gathered;
    model_.kernels().gemm(g);
  }

  void add_weight_gradients() {
    const std::int64_t blocks = model_.blocks();
    for_each_row(
        [&](std::int64_t at, std::int64_t s, std::int64_t row) { scratch_.rows[at] = team_.x.at(s, row); });
    add_product(team_.weights->input_size, backward_.d_panels.of[kBias], blocks, backward_.sums.w);
    for_each_row(
        [&](std::int64_t at, std::int64_t s, std::int64_t row) { scratch_.rows[at] = state_before(s, row); });
    add_product(config_.output_size(), backward_.d_panels.of[kBias], blocks, backward_.sums.r);
    const Share mine = part(blocks);
    for (int set = 0; set < kUnitSets; ++set) {
      if (!has_vectors(config_, set)) continue;
      for (std::int64_t block = mine.begin; block < mine.end; ++block) {
        model_.kernels().add_rows(backward_.d_panels.of[set] + block * chunk_.rows * width_, chunk_.rows,
                                  width_, backward_.sums.units.of[set] + block * width_);
      }
    }
    if (!config_.proj_size) return;
    for (std::int64_t row = 0; row < chunk_.rows; ++row) {
      scratch_.rows[row] = backward_.d_projected + row * config_.proj_size;
    }
    add_product(config_.proj_size, backward_.unprojected, plain_panels(config_.hidden_size, lanes_),
                backward_.sums.projection);
  }

  void find_input_gradients() {
    for_each_row([&](std::int64_t at, std::int64_t s, std::int64_t row) {
      scratch_.rows[at] = backward_.d_rows + at * backward_.d_rows_stride;
      scratch_.out_rows[at] = backward_.d_x.at(s, row);
    });
    const std::int64_t columns = team_.weights->input_size, count = plain_panels(columns, lanes_);
    const bool by_panels = count >= team_.members;
    product(by_panels ? all(chunk_.rows) : part(chunk_.rows), 4 * padded_, backward_.weights.w,
            by_panels ? part(count) : all(count), columns);
  }

  const BackwardTeam<S>& backward_;
  const BackwardScratch<S>& scratch_;
  std::int64_t segment_ = 0;  // its first step
  bool sums_begun_ = false;   // false: the sums of the weights' gradients hold nothing yet
  Chunk chunk_{};
};

}  // namespace

template <class S>
void run_member_backward(const BackwardTeam<S>& team, const BackwardScratch<S>& scratch,
                         int member) noexcept {
  BackwardMember<S>(team, scratch, member).run();
}

template void run_member_backward(const BackwardTeam<float>&, const BackwardScratch<float>&, int) noexcept;
template void run_member_backward(const BackwardTeam<double>&, const BackwardScratch<double>&, int) noexcept;

}  // namespace cellgate
