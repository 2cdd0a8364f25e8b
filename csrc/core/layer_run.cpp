// The time loop of one team member.
#include "layer_run.hpp"

#include <algorithm>

#include "floating_mode.hpp"

namespace cellgate {
namespace {

// Rows that still run at step s; s only grows.
class ActiveRows {
 public:
  ActiveRows(const std::int64_t* lengths, std::int64_t rows) : lengths_(lengths), rows_(rows) {}
  std::int64_t at(std::int64_t step) {
    while (rows_ > 0 && lengths_[rows_ - 1] <= step) --rows_;
    return rows_;
  }

 private:
  const std::int64_t* lengths_;
  std::int64_t rows_;
};

// The member's share of `count` units of work.
struct Share {
  Share(std::int64_t count, int member, int members)
      : begin(count * member / members), end(count * (member + 1) / members) {}
  std::int64_t begin, end;
};

template <class S>
class MemberRun {
 public:
  MemberRun(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member)
      : team_(team),
        scratch_(scratch),
        model_(*team.model),
        config_(model_.config()),
        lanes_(model_.lanes()),
        width_(4 * lanes_),
        blocks_(model_.blocks(), member, team.members),
        panels_(model_.projection_panels(), member, team.members) {}

  void run() {
    start_cells();
    const std::int64_t steps = team_.rows ? team_.lengths[0] : 0;
    ActiveRows planned(team_.lengths, team_.rows), active(team_.lengths, team_.rows);
    for (std::int64_t s = 0; s < steps;) {
      const std::int64_t end = steps == 1 ? 1 : project_chunk(s, steps, planned);
      const S* preactivation = steps == 1 ? nullptr : team_.preactivation;
      for (; s < end; ++s) {
        const std::int64_t rows = active.at(s);
        step(s, rows, preactivation);
        if (preactivation) preactivation += rows * width_;
      }
    }
  }

 private:
  std::int64_t unit_begin() const { return blocks_.begin * lanes_; }
  std::int64_t units() const { return (blocks_.end - blocks_.begin) * lanes_; }

  void start_cells() {
    const std::int64_t given =
        team_.c0 ? std::clamp<std::int64_t>(config_.hidden_size - unit_begin(), 0, units()) : 0;
    for (std::int64_t row = 0; row < team_.rows; ++row) {
      S* c = team_.c + row * model_.padded_hidden() + unit_begin();
      if (given) std::copy_n(team_.c0[row] + unit_begin(), given, c);
      std::fill(c + given, c + units(), S(0));
    }
  }

  // bias + x W^T of this member's units for whole steps from `begin` on; returns where they end.
  std::int64_t project_chunk(std::int64_t begin, std::int64_t steps, ActiveRows& planned) {
    const std::int64_t capacity = chunk_rows(team_.rows);
    std::int64_t rows = 0, s = begin;
    for (; s < steps; ++s) {
      const std::int64_t active = planned.at(s);
      if (rows + active > capacity) break;
      for (std::int64_t row = 0; row < active; ++row)
        scratch_.x_rows[rows++] = team_.x[row] + s * team_.x_step;
    }
    GemmArgs<S> g{};
    g.rows = rows;
    g.depth = team_.weights->input_size;
    g.panel_begin = blocks_.begin;
    g.panel_end = blocks_.end;
    g.a = scratch_.x_rows;
    g.panels = team_.weights->w.data();
    g.start = team_.weights->bias.data();
    g.c = team_.preactivation;
    g.c_panel_stride = capacity * width_;
    g.packed = scratch_.packed;
    model_.kernels().gemm(g);
    return s;
  }

  // A reset at time t cuts between t - 1 and t. Going forward it is read before step t; in reverse,
  // where t is processed before t - 1, `resets` is set up so that it is read before that step, and
  // before the first there is nothing to cut.
  bool is_reset(std::int64_t s, std::int64_t row) const {
    return !(team_.reverse && s == 0) && team_.resets[row][s * team_.reset_step];
  }

  // Points args.h at the state before step s.
  void find_state(std::int64_t s, CellForwardArgs<S>& args) {
    args.h = s == 0 ? team_.h0 : team_.y;
    args.h_offset = s == 0 ? 0 : (s - 1) * team_.y_step;
    if (!team_.resets) return;
    for (std::int64_t row = 0; row < args.rows; ++row) {
      scratch_.h_rows[row] = args.h[row] + args.h_offset;
      if (!is_reset(s, row)) continue;
      scratch_.h_rows[row] = team_.zeros;
      std::fill_n(team_.c + row * model_.padded_hidden() + unit_begin(), units(), S(0));
    }
    args.h = scratch_.h_rows;
    args.h_offset = 0;
  }

  void step(std::int64_t s, std::int64_t rows, const S* preactivation) {
    const bool projects = config_.proj_size > 0;
    CellForwardArgs<S> a{};
    a.rows = rows;
    a.block_begin = blocks_.begin;
    a.block_end = blocks_.end;
    a.hidden_size = config_.hidden_size;
    a.preactivation = preactivation;
    a.preactivation_block_stride = chunk_rows(team_.rows) * width_;
    a.bias = team_.weights->bias.data();
    a.x = team_.x;
    a.x_offset = s * team_.x_step;
    a.input_size = preactivation ? 0 : team_.weights->input_size;
    a.w = team_.weights->w.data();
    find_state(s, a);
    a.recurrent_size = config_.output_size();
    a.r = team_.weights->r.data();
    a.c = team_.c;
    a.c_stride = model_.padded_hidden();
    a.out = projects ? team_.unprojected_rows : team_.y;
    a.out_offset = projects ? 0 : s * team_.y_step;
    a.cells = team_.cells;
    a.cells_offset = s * team_.cells_step;
    a.partial = scratch_.partial;
    a.packed = scratch_.packed;
    model_.kernels().cell_forward(a);
    team_.barrier->wait(team_.members);
    if (!projects) return;

    GemmArgs<S> g{};
    g.rows = rows;
    g.depth = config_.hidden_size;
    g.panel_begin = panels_.begin;
    g.panel_end = panels_.end;
    g.a = team_.unprojected_rows;
    g.panels = team_.weights->projection.data();
    g.out = team_.y;
    g.out_offset = s * team_.y_step;
    g.out_columns = config_.proj_size;
    g.partial = scratch_.partial;
    g.packed = scratch_.packed;
    model_.kernels().gemm(g);
    team_.barrier->wait(team_.members);
  }

  const TeamArgs<S>& team_;
  const MemberScratch<S>& scratch_;
  const Model<S>& model_;
  const Config& config_;
  const std::int64_t lanes_, width_;  // of a vector and of a panel
  const Share blocks_, panels_;
};

}  // namespace

template <class S>
void run_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member) noexcept {
  const FlushDenormals flush;
  MemberRun<S>(team, scratch, member).run();
}

template void run_member(const TeamArgs<float>&, const MemberScratch<float>&, int) noexcept;
template void run_member(const TeamArgs<double>&, const MemberScratch<double>&, int) noexcept;

}  // namespace cellgate
