// The time loop of one team member.
#include "run/layer_forward.hpp"

#include <algorithm>

#include "run/floating_mode.hpp"

namespace cellgate {
namespace {

// Up to this many rows, reading the weights takes longer than multiplying them, and going over them backward
// at every second step pays (kernel_table.hpp). To find it anew:
// `python -m benchmarks.compare` with streaming and batched.
constexpr std::int64_t kFewRows = 8;

template <class S>
class ForwardMember : Member<S> {
  using Base = Member<S>;
  using Base::blocks_, Base::config_, Base::meet, Base::model_, Base::own, Base::padded_, Base::team_,
      Base::unit_begin_, Base::units_, Base::width_;

 public:
  ForwardMember(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member)
      : Base(team, member), scratch_(scratch), panels_(this->own_of_units(model_.projection_panels())) {}

  // Steps [begin, end). With `rerun` y and cells are there from the first time and stay as they are.
  void run(std::int64_t begin, std::int64_t end, bool rerun) {
    rerun_ = rerun;
    begin_ = begin;
    if (begin == 0 || rerun) start_cells();
    if (begin == end) return;
    if (team_.split_rows) meet();
    const bool hoists = recording() || end - begin > 1;
    for (std::int64_t s = begin; s < end;) {
      const Chunk chunk =
          hoists ? chunk_from(s, end, team_.positions, team_.chunk_capacity()) : Chunk{s, s + 1, 0};
      const bool alone = computes_alone(chunk, begin);
      S* preactivation = nullptr;
      std::int64_t rows = chunk.rows;  // that lie together in it
      if (hoists) {
        preactivation = recording()
                            ? team_.tape.gates + (team_.positions[s] - team_.positions[begin]) * 4 * padded_
                            : team_.preactivation;
        if (alone) {
          const Share own_rows = own(team_.active(s));
          preactivation += own_rows.begin * (team_.chunk_capacity() / team_.active(s)) * 4 * padded_;
          rows = (chunk.end - s) * own_rows.size();
          if (rows > 0) start_own_rows(chunk, own_rows, preactivation);
        } else {
          if (team_.split_rows && s != begin) meet();  // the others may still read the chunk before
          start_chunk(chunk, preactivation);
          if (team_.split_rows) meet();
        }
      }
      for (; s < chunk.end; ++s) {
        // Members that own rows need to wait for each other only where the ownership changes.
        if (team_.split_rows && s > begin && team_.active(s) != team_.active(s - 1)) meet();
        S* at = preactivation;
        if (alone) {
          at += (chunk.end - 1 - s) * own(team_.active(s)).size() * width_;
        } else if (at) {
          at += (team_.positions[chunk.end] - team_.positions[s + 1] + own(team_.active(s)).begin) * width_;
        }
        step(s, at, rows * width_);
      }
    }
  }

 private:
  bool recording() const { return team_.tape.gates != nullptr; }
  // c before the first step of this run.
  S* first_cells() const { return recording() ? team_.tape.cells : team_.c; }

  void start_cells() {
    const Share rows = own(team_.rows);
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      S* c = first_cells() + row * padded_ + unit_begin_;
      if (rerun_) {
        const S* kept = team_.tape.kept + begin_ / team_.tape.segment * team_.rows * padded_;
        std::copy_n(kept + row * padded_ + unit_begin_, units_, c);
        continue;
      }
      begin_cells(team_.c0[row], c);
    }
  }
  // This member's units of one row, from the whole row [H]; null: zero.
  void begin_cells(const S* from, S* c) const {
    const std::int64_t given =
        from ? std::clamp<std::int64_t>(config_.hidden_size - unit_begin_, 0, units_) : 0;
    if (given) std::copy_n(from + unit_begin_, given, c);
    std::fill(c + given, c + units_, S(0));
  }

  // Whether each member needs nothing of this chunk but its own rows, and has room for them to itself:
  // if rows are split and all steps up to here have the same. Then no member waits for another at all.
  bool computes_alone(const Chunk& chunk, std::int64_t begin) const {
    return team_.split_rows && !recording() && team_.preactivation && chunk.rows > 0 &&
           team_.active(begin) == team_.active(chunk.end - 1);
  }

  // bias + x W^T of the chunk: of this member's units, or of its share of the rows.
  void start_chunk(const Chunk& chunk, S* preactivation) {
    std::int64_t at = chunk.rows;
    for (std::int64_t s = chunk.begin; s < chunk.end; ++s) {
      at -= team_.active(s);
      for (std::int64_t row = 0; row < team_.active(s); ++row) scratch_.x_rows[at + row] = team_.x.at(s, row);
    }
    const Share rows = own(chunk.rows);
    start_rows(scratch_.x_rows + rows.begin, rows.size(), preactivation + rows.begin * width_, chunk.rows);
  }

  // The same of the rows in `own_rows` alone, which lie together.
  void start_own_rows(const Chunk& chunk, const Share& own_rows, S* preactivation) {
    std::int64_t at = 0;
    for (std::int64_t s = chunk.end; s-- > chunk.begin;) {
      for (std::int64_t row = own_rows.begin; row < own_rows.end; ++row) {
        scratch_.x_rows[at++] = team_.x.at(s, row);
      }
    }
    start_rows(scratch_.x_rows, at, preactivation, at);
  }

  // `rows` rows of a panel with room for `stride_rows`.
  void start_rows(const S* const* x_rows, std::int64_t rows, S* preactivation, std::int64_t stride_rows) {
    GemmArgs<S> g{};
    g.rows = rows;
    g.depth = team_.weights->input_size;
    g.panel_begin = blocks_.begin;
    g.panel_end = blocks_.end;
    g.a = x_rows;
    g.panels = team_.weights->w.view();
    g.start = team_.weights->units.of[kBias].data();
    g.c = preactivation;
    g.c_panel_stride = stride_rows * width_;
    g.gathered = scratch_.gathered;
    model_.kernels().gemm(g);
  }

  // h before step s of `rows`.
  Rows<const S> find_state(std::int64_t s, const Share& rows) {
    if (s > 0 && !team_.resets) {
      const Rows<S> h = team_.y.rows(s - 1, rows.begin, rows.end, const_cast<S**>(scratch_.h_rows));
      return {h.pointers, h.offset};
    }
    if (!team_.resets) return {team_.h0 + rows.begin, 0};
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      scratch_.h_rows[row] = team_.is_reset(s, row) ? team_.first_h
                             : s == 0               ? team_.h0[row]
                                                    : team_.y.at(s - 1, row);
    }
    return {scratch_.h_rows + rows.begin, 0};
  }

  // c before step s, [rows of the step, padded H], zero where the state is reset.
  const S* find_cells(std::int64_t s, const Share& rows) {
    S* c = recording() && s > begin_ ? recorded_cells(s - 1) : first_cells();
    if (team_.tape.kept && !rerun_ && s % team_.tape.segment == 0) {
      S* kept = team_.tape.kept + s / team_.tape.segment * team_.rows * padded_;
      copy_cells(c, rows, kept);
    }
    bool any = false;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) any = any || team_.is_reset(s, row);
    if (!any) return c;
    if (recording()) {
      copy_cells(c, rows, team_.fresh_cells);
      c = team_.fresh_cells;
    }
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      if (team_.is_reset(s, row)) begin_cells(team_.first_c, c + row * padded_ + unit_begin_);
    }
    return c;
  }
  void copy_cells(const S* from, const Share& rows, S* to) const {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      std::copy_n(from + row * padded_ + unit_begin_, units_, to + row * padded_ + unit_begin_);
    }
  }
  S* recorded_cells(std::int64_t s) const {
    return team_.tape.cells + (team_.rows + team_.positions[s] - team_.positions[begin_]) * padded_;
  }

  // `preactivation` is that of this member's first row of the step, or null.
  void step(std::int64_t s, S* preactivation, std::ptrdiff_t block_stride) {
    const bool projects = config_.proj_size > 0;
    const Share rows = own(team_.active(s));
    const Rows<const S> h = find_state(s, rows);
    const std::ptrdiff_t first_cell = rows.begin * padded_;
    CellForwardArgs<S> a{};
    a.rows = rows.size();
    a.block_begin = blocks_.begin;
    a.block_end = blocks_.end;
    a.descending = rows.size() <= kFewRows && (team_.steps_before + s) % 2 != 0;
    a.hidden_size = config_.hidden_size;
    a.preactivation = preactivation;
    a.preactivation_block_stride = block_stride;
    a.units = team_.weights->units_view();
    if (!preactivation) {
      const Rows<const S> x = team_.x.rows(s, rows.begin, rows.end, scratch_.x_rows);
      a.x = x.pointers;
      a.x_offset = x.offset;
      a.input_size = team_.weights->input_size;
      a.w = team_.weights->w.view();
    }
    a.h = h.pointers;
    a.h_offset = h.offset;
    a.recurrent_size = config_.output_size();
    a.r = team_.weights->r.view();
    a.c_prev = find_cells(s, rows) + first_cell;
    a.c = (recording() ? recorded_cells(s) : team_.c) + first_cell;
    a.c_stride = padded_;
    a.gates = recording() ? preactivation : nullptr;
    const Rows<S> y = team_.y.rows(s, rows.begin, rows.end, scratch_.y_rows);
    a.out = projects || rerun_ ? team_.unprojected_rows + rows.begin : y.pointers;
    a.out_offset = projects || rerun_ ? 0 : y.offset;
    if (team_.cells && !rerun_) {
      const Rows<S> cells = team_.cells.rows(s, rows.begin, rows.end, scratch_.cell_rows);
      a.cells = cells.pointers;
      a.cells_offset = cells.offset;
    }
    a.partial = scratch_.partial;
    a.gathered = scratch_.gathered;
    if (a.rows > 0) model_.kernels().cell_forward(a);
    if (!team_.split_rows && !rerun_) meet();
    if (projects && !rerun_) project(rows, y);
  }

  // h of this step from the output of the cell.
  void project(const Share& rows, const Rows<S>& y) {
    GemmArgs<S> g{};
    g.rows = rows.size();
    g.depth = config_.hidden_size;
    g.panel_begin = panels_.begin;
    g.panel_end = panels_.end;
    g.a = team_.unprojected_rows + rows.begin;
    g.panels = team_.weights->projection.view();
    g.out = y.pointers;
    g.out_offset = y.offset;
    g.out_columns = config_.proj_size;
    g.partial = scratch_.partial;
    g.gathered = scratch_.gathered;
    model_.kernels().gemm(g);
    if (!team_.split_rows) meet();
  }

  const MemberScratch<S>& scratch_;
  const Share panels_;  // of the projection
  std::int64_t begin_ = 0;
  bool rerun_ = false;
};

}  // namespace

template <class S>
void run_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member, std::int64_t begin,
                std::int64_t end) noexcept {
  const FlushDenormals flush;
  ForwardMember<S>(team, scratch, member).run(begin, end, false);
}

template <class S>
void rerun_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member, std::int64_t begin,
                  std::int64_t end) noexcept {
  ForwardMember<S>(team, scratch, member).run(begin, end, true);
}

template void run_member(const TeamArgs<float>&, const MemberScratch<float>&, int, std::int64_t,
                         std::int64_t) noexcept;
template void run_member(const TeamArgs<double>&, const MemberScratch<double>&, int, std::int64_t,
                         std::int64_t) noexcept;
template void rerun_member(const TeamArgs<float>&, const MemberScratch<float>&, int, std::int64_t,
                           std::int64_t) noexcept;
template void rerun_member(const TeamArgs<double>&, const MemberScratch<double>&, int, std::int64_t,
                           std::int64_t) noexcept;

}  // namespace cellgate
