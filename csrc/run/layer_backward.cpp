// The time loop of one team member, backward. Only what the step before needs stays in it, the
// gradient of h; that of the weights and of the input are products over whole chunks of steps.
#include "run/layer_backward.hpp"

#include <algorithm>

namespace cellgate {
namespace {

template <class S>
class MemberBackward {
 public:
  MemberBackward(const BackwardTeam<S>& team, const BackwardScratch<S>& scratch, int member)
      : team_(team),
        forward_(team.forward),
        scratch_(scratch),
        model_(*forward_.model),
        config_(model_.config()),
        member_(member),
        members_(forward_.members),
        lanes_(model_.lanes()),
        width_(4 * lanes_),
        hidden_(model_.padded_hidden()),
        blocks_(model_.blocks(), forward_.split_rows ? 0 : member, forward_.split_rows ? 1 : members_) {}

  void run() {
    const std::int64_t steps = forward_.steps(), k = forward_.tape.kept ? forward_.tape.segment : steps;
    for (std::int64_t end = steps; end > 0;) {
      const std::int64_t begin = (end - 1) / k * k;
      if (forward_.tape.kept) {
        rerun_member(forward_, scratch_.forward, member_, begin, end);
        meet();
      }
      run_segment(begin, end);
      end = begin;
    }
  }

 private:
  void meet() { forward_.barrier->wait(members_); }
  // This member's part of `count` rows in the time loop.
  Share own(std::int64_t count) const {
    return forward_.split_rows ? Share(count, member_, members_) : Share(count, 0, 1);
  }
  Share all(std::int64_t count) const { return Share(count, 0, 1); }
  Share part(std::int64_t count) const { return Share(count, member_, members_); }

  void run_segment(std::int64_t begin, std::int64_t end) {
    segment_ = begin;
    std::int64_t chunks = 0;
    for (std::int64_t s = begin; s < end; ++chunks) {
      scratch_.chunk_begins[chunks] = s;
      s = chunk_from(s, end, forward_.positions, forward_.chunk_capacity()).end;
    }
    while (chunks-- > 0) {
      chunk_ = chunk_from(scratch_.chunk_begins[chunks], end, forward_.positions, forward_.chunk_capacity());
      for (std::int64_t s = chunk_.end - 1; s >= chunk_.begin; --s) {
        step(s);
        if (forward_.split_rows && s > chunk_.begin && forward_.active(s) != forward_.active(s - 1)) meet();
      }
      meet();
      add_weight_gradients();
      if (team_.d_x) find_input_gradients();
      meet();
      sums_begun_ = true;
    }
  }

  // Where step s begins among the rows of the chunk.
  std::int64_t row_of(std::int64_t s) const {
    return forward_.positions[chunk_.end] - forward_.positions[s + 1];
  }
  const S* gates() const {
    return forward_.tape.gates +
           (forward_.positions[chunk_.begin] - forward_.positions[segment_]) * 4 * hidden_;
  }
  // c after step s of the segment, or before its first step for s = segment_ - 1.
  const S* cells(std::int64_t s) const {
    if (s < segment_) return forward_.tape.cells;
    return forward_.tape.cells +
           (forward_.rows + forward_.positions[s] - forward_.positions[segment_]) * hidden_;
  }

  void step(std::int64_t s) {
    const Share rows = own(forward_.active(s));
    if (config_.proj_size) unproject(s, rows);
    cell(s, rows);
    if (!forward_.split_rows) meet();
    pass_on(s, rows);
    if (!forward_.split_rows) meet();
  }

  // The gradient of the cell's output from that of h, which is its projection.
  void unproject(std::int64_t s, const Share& rows) {
    const std::int64_t outputs = config_.proj_size, first = row_of(s);
    const Share mine = part(forward_.active(s));
    const Share sum_rows = forward_.split_rows ? rows : mine;
    for (std::int64_t row = sum_rows.begin; row < sum_rows.end; ++row) {
      const S* d_h = team_.d_h + row * team_.d_h_stride;
      S* to = team_.d_projected + (first + row) * outputs;
      const S* d_y = team_.d_y ? team_.d_y.at(s, row) : nullptr;
      for (std::int64_t j = 0; j < outputs; ++j) to[j] = d_y ? d_h[j] + d_y[j] : d_h[j];
    }
    if (!forward_.split_rows) meet();
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      scratch_.rows[row] = team_.d_projected + (first + row) * outputs;
      scratch_.out_rows[row] = team_.d_output + row * hidden_;
    }
    const std::int64_t count = plain_panels(config_.hidden_size, lanes_);
    product(rows, outputs, team_.weights.projection, forward_.split_rows ? all(count) : part(count),
            config_.hidden_size);
    if (!forward_.split_rows) meet();
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
    g.panels = panels;
    g.out = scratch_.out_rows + rows.begin;
    g.out_columns = columns;
    g.partial = scratch_.partial;
    g.packed = scratch_.gathered;
    model_.kernels().gemm(g);
  }

  void cell(std::int64_t s, const Share& rows) {
    if (rows.size() == 0) return;
    const std::int64_t first = row_of(s) + rows.begin;
    const std::ptrdiff_t first_cell = rows.begin * hidden_;
    CellBackwardArgs<S> a{};
    a.rows = rows.size();
    a.block_begin = blocks_.begin;
    a.block_end = blocks_.end;
    a.hidden_size = config_.hidden_size;
    a.gates = gates() + first * width_;
    a.gates_block_stride = chunk_.rows * width_;
    a.c_prev = cells_before(s, rows) + first_cell;
    a.c = cells(s) + first_cell;
    a.dh = (config_.proj_size ? team_.d_output : team_.d_h) + first_cell;
    if (team_.d_y && !config_.proj_size) {
      const Rows<const S> d_y = team_.d_y.rows(s, rows.begin, rows.end, scratch_.forward.h_rows);
      a.dy = d_y.pointers;
      a.dy_offset = d_y.offset;
    }
    if (team_.d_cells) {
      const Rows<const S> d_cells = team_.d_cells.rows(s, rows.begin, rows.end, scratch_.rows);
      a.d_cells = d_cells.pointers;
      a.d_cells_offset = d_cells.offset;
    }
    a.dc = team_.d_c + first_cell;
    a.stride = hidden_;
    a.d_panels = team_.d_panels + first * width_;
    a.d_rows = team_.d_rows + first * team_.d_rows_stride;
    a.d_rows_stride = team_.d_rows_stride;
    a.d_rows_gate_stride = hidden_;
    a.outputs = config_.proj_size ? team_.unprojected + first * width_ : nullptr;
    a.outputs_panel_stride = chunk_.rows * width_;
    model_.kernels().cell_backward(a);
  }

  // c before step s, zero where the state was reset.
  const S* cells_before(std::int64_t s, const Share& rows) {
    const S* c = cells(s - 1);
    if (!forward_.resets) return c;
    const std::int64_t unit = blocks_.begin * lanes_, units = blocks_.size() * lanes_;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      S* to = forward_.fresh_cells + row * hidden_ + unit;
      if (forward_.is_reset(s, row)) {
        std::fill_n(to, units, S(0));
      } else {
        std::copy_n(c + row * hidden_ + unit, units, to);
      }
    }
    return forward_.fresh_cells;
  }

  // The gradient of h and c before step s: of nothing, where the state was reset.
  void pass_on(std::int64_t s, const Share& rows) {
    const std::int64_t count = plain_panels(config_.output_size(), lanes_);
    const bool by_panels = !forward_.split_rows && count >= members_;
    const Share mine = forward_.split_rows || by_panels ? rows : part(forward_.active(s));
    const Share panels = by_panels ? part(count) : all(count);
    const std::int64_t first = row_of(s), unit = blocks_.begin * lanes_, units = blocks_.size() * lanes_;
    for (std::int64_t row = mine.begin; row < mine.end; ++row) {
      scratch_.rows[row] = team_.d_rows + (first + row) * team_.d_rows_stride;
      scratch_.out_rows[row] = team_.d_h + row * team_.d_h_stride;
    }
    product(mine, 4 * hidden_, team_.weights.r, panels, config_.output_size());
    if (!forward_.resets) return;
    const std::int64_t begin = panels.begin * width_,
                       end = std::min(config_.output_size(), panels.end * width_);
    for (std::int64_t row = mine.begin; row < mine.end; ++row) {
      if (forward_.is_reset(s, row))
        std::fill(scratch_.out_rows[row] + begin, scratch_.out_rows[row] + end, S(0));
    }
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      if (forward_.is_reset(s, row)) std::fill_n(team_.d_c + row * hidden_ + unit, units, S(0));
    }
  }

  // h before step s.
  const S* state_before(std::int64_t s, std::int64_t row) const {
    if (forward_.is_reset(s, row)) return forward_.zeros;
    return s == 0 ? forward_.h0[row] : forward_.y.at(s - 1, row);
  }

  // Calls visit(row of the chunk, step, row) for all of the chunk.
  template <class Visit>
  void for_each_row(const Visit& visit) const {
    for (std::int64_t s = chunk_.begin; s < chunk_.end; ++s) {
      const std::int64_t first = row_of(s), active = forward_.active(s);
      for (std::int64_t row = 0; row < active; ++row) visit(first + row, s, row);
    }
  }

  // sums += rows^T * panels, `columns` outputs wide: members own blocks, or rows if those are few.
  void add_product(std::int64_t columns, const S* panels, std::int64_t panel_count, S* sums) {
    const bool by_panels = panel_count >= members_;
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
    g.panels = panels;
    g.c = sums + rows.begin * width_;
    g.c_panel_stride = columns * width_;
    g.packed = scratch_.gathered;
    model_.kernels().gemm(g);
  }

  void add_weight_gradients() {
    const std::int64_t blocks = model_.blocks();
    for_each_row([&](std::int64_t at, std::int64_t s, std::int64_t row) {
      scratch_.rows[at] = forward_.x.at(s, row);
    });
    add_product(forward_.weights->input_size, team_.d_panels, blocks, team_.sums.w);
    for_each_row(
        [&](std::int64_t at, std::int64_t s, std::int64_t row) { scratch_.rows[at] = state_before(s, row); });
    add_product(config_.output_size(), team_.d_panels, blocks, team_.sums.r);
    const Share mine = part(blocks);
    for (std::int64_t block = mine.begin; block < (config_.bias ? mine.end : mine.begin); ++block) {
      model_.kernels().add_rows(team_.d_panels + block * chunk_.rows * width_, chunk_.rows, width_,
                                team_.sums.bias + block * width_);
    }
    if (!config_.proj_size) return;
    for (std::int64_t row = 0; row < chunk_.rows; ++row) {
      scratch_.rows[row] = team_.d_projected + row * config_.proj_size;
    }
    add_product(config_.proj_size, team_.unprojected, plain_panels(config_.hidden_size, lanes_),
                team_.sums.projection);
  }

  void find_input_gradients() {
    for_each_row([&](std::int64_t at, std::int64_t s, std::int64_t row) {
      scratch_.rows[at] = team_.d_rows + at * team_.d_rows_stride;
      scratch_.out_rows[at] = team_.d_x.at(s, row);
    });
    const std::int64_t columns = forward_.weights->input_size, count = plain_panels(columns, lanes_);
    const bool by_panels = count >= members_;
    product(by_panels ? all(chunk_.rows) : part(chunk_.rows), 4 * hidden_, team_.weights.w,
            by_panels ? part(count) : all(count), columns);
  }

  const BackwardTeam<S>& team_;
  const TeamArgs<S>& forward_;
  const BackwardScratch<S>& scratch_;
  const Model<S>& model_;
  const Config& config_;
  const int member_, members_;
  const std::int64_t lanes_, width_, hidden_;  // of a vector; of a panel; H padded to whole blocks
  const Share blocks_;
  std::int64_t segment_ = 0;  // its first step
  bool sums_begun_ = false;   // false: the sums of the weights' gradients hold nothing yet
  Chunk chunk_{};
};

}  // namespace

template <class S>
void run_member_backward(const BackwardTeam<S>& team, const BackwardScratch<S>& scratch,
                         int member) noexcept {
  MemberBackward<S>(team, scratch, member).run();
}

template void run_member_backward(const BackwardTeam<float>&, const BackwardScratch<float>&, int) noexcept;
template void run_member_backward(const BackwardTeam<double>&, const BackwardScratch<double>&, int) noexcept;

}  // namespace cellgate
