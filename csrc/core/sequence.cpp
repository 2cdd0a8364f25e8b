// Forward pass: sorts the rows by length, plans the threads, and runs layer after layer.
#include "sequence.hpp"

#include <algorithm>
#include <numeric>

#include "layer_run.hpp"
#include "plan.hpp"

namespace cellgate {
namespace {

// All the memory of one call.
template <class S>
struct Layout {
  std::int64_t *order, *lengths;  // [B], sorted within each row group
  // [directions, B] each, in the order of `order`:
  const S **x, **h0, **c0;
  S **y, **cells, **unprojected_rows;
  const unsigned char** resets;
  S *c, *unprojected;  // [directions, B, padded H]
  S* zeros;
  S* hidden[2];                // [T, B, D * (P or H)]: what one layer hands to the next
  S* preactivation;            // [direction_teams * row_groups] of [chunk_rows, blocks * 4 * lanes]
  const S **x_rows, **h_rows;  // [threads] of [chunk_rows], [rows]
  S* partial;                  // [threads] of [rows, 4, lanes]
  S* packed;                   // [threads] of [packed_each]
  std::int64_t group_rows, chunk, packed_each;

  Layout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, const Plan& plan) {
    const Config& config = model.config();
    const std::int64_t batch = args.batch, d = config.directions(), lanes = model.lanes();
    const std::int64_t teams = plan.direction_teams * plan.row_groups, threads = plan.threads();
    group_rows = (batch + plan.row_groups - 1) / plan.row_groups;
    chunk = chunk_rows(group_rows);
    order = arena.take<std::int64_t>(batch);
    lengths = arena.take<std::int64_t>(batch);
    x = arena.take<const S*>(d * batch);
    h0 = arena.take<const S*>(d * batch);
    c0 = arena.take<const S*>(d * batch);
    y = arena.take<S*>(d * batch);
    cells = arena.take<S*>(d * batch);
    unprojected_rows = arena.take<S*>(d * batch);
    resets = arena.take<const unsigned char*>(d * batch);
    c = arena.take<S>(d * batch * model.padded_hidden());
    unprojected = arena.take<S>(config.proj_size ? d * batch * model.padded_hidden() : 0);
    zeros = arena.take<S>(model.padded_hidden());
    const std::int64_t handed_on = args.steps * batch * d * config.output_size();
    for (int i = 0; i < 2; ++i) hidden[i] = arena.take<S>(config.num_layers > i + 1 ? handed_on : 0);
    const bool hoists = args.steps > 1;
    preactivation = arena.take<S>(hoists ? teams * chunk * model.blocks() * 4 * lanes : 0);
    x_rows = arena.take<const S*>(hoists ? threads * chunk : 0);
    h_rows = arena.take<const S*>(threads * group_rows);
    partial = arena.take<S>(threads * group_rows * 4 * lanes);
    packed_each = packed_scalars(group_rows, args.steps, config);
    packed = arena.take<S>(threads * packed_each);
  }
};

template <class S>
class Forward {
 public:
  Forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch)
      : model_(model),
        config_(model.config()),
        args_(args),
        scratch_(scratch),
        lease_(threads_that_pay(work(), get_num_threads())),
        plan_(choose_plan(work(), lease_.size())),
        at_(scratch.memory.lay_out<Layout<S>>(model, args, plan_)) {
    while (scratch.barriers.size() < static_cast<std::size_t>(plan_.direction_teams * plan_.row_groups)) {
      scratch.barriers.emplace_back();
    }
  }

  void run() {
    sort_rows();
    std::fill_n(at_.zeros, model_.padded_hidden(), S(0));
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      for (std::int64_t d = 0; d < config_.directions(); ++d) point_rows(layer, d);
      auto job = [&](int thread) { run_thread(layer, thread); };
      lease_.run(plan_.threads(), job);
      for (std::int64_t d = 0; d < config_.directions(); ++d) keep_state(layer, d);
    }
    const std::int64_t directions = config_.directions();
    zero_padding(args_.y, args_.y_step, args_.y_row, directions * config_.output_size());
    if (args_.cells)
      zero_padding(args_.cells, args_.cells_step, args_.cells_row, directions * config_.hidden_size);
  }

 private:
  std::int64_t length(std::int64_t row) const { return args_.lengths ? args_.lengths[row] : args_.steps; }

  Work work() const {
    Work w{};
    for (std::int64_t row = 0; row < (args_.lengths ? args_.batch : 0); ++row) {
      w.rows += length(row) > 0;
      w.steps = std::max(w.steps, length(row));
      w.row_steps += length(row);
    }
    if (!args_.lengths) {
      w.rows = args_.batch;
      w.steps = args_.steps;
      w.row_steps = args_.batch * args_.steps;
    }
    w.directions = config_.directions();
    w.blocks = model_.blocks();
    const double hidden = static_cast<double>(model_.padded_hidden()),
                 recurrent = static_cast<double>(config_.output_size());
    w.multiplies =
        4 * hidden * (static_cast<double>(config_.layer_input_size(config_.num_layers - 1)) + recurrent) +
        static_cast<double>(config_.proj_size) * hidden;
    w.recurrent_bytes = 4 * hidden * recurrent * sizeof(S);
    w.multiplies_per_us = 5e3 * static_cast<double>(model_.lanes());  // two per cycle, most of the time
    return w;
  }

  void sort_rows() {
    const std::int64_t batch = args_.batch, groups = plan_.row_groups;
    std::int64_t* sorted = groups == 1 ? at_.order : at_.lengths;  // lengths come last
    std::iota(sorted, sorted + batch, std::int64_t{0});
    if (args_.lengths) {
      std::sort(sorted, sorted + batch, [&](std::int64_t a, std::int64_t b) {
        return length(a) != length(b) ? length(a) > length(b) : a < b;
      });
    }
    if (groups > 1) {  // dealt out in turn, so that every group has long and short ones
      std::int64_t to = 0;
      for (std::int64_t group = 0; group < groups; ++group) {
        for (std::int64_t from = group; from < batch; from += groups) at_.order[to++] = sorted[from];
      }
    }
    for (std::int64_t i = 0; i < batch; ++i) at_.lengths[i] = length(at_.order[i]);
  }

  // First row of a group in the order of at_.order.
  std::int64_t group_begin(std::int64_t group) const {
    const std::int64_t base = args_.batch / plan_.row_groups, longer = args_.batch % plan_.row_groups;
    return group * base + std::min(group, longer);
  }

  struct Plane {  // [T, B, width], last axis contiguous
    const S* base;
    std::ptrdiff_t step, row;
  };
  Plane handed_on(std::int64_t layer) const {
    const std::ptrdiff_t row = config_.directions() * config_.output_size();
    return {at_.hidden[layer % 2], args_.batch * row, row};
  }
  Plane input(std::int64_t layer) const {
    return layer == 0 ? Plane{args_.x, args_.x_step, args_.x_row} : handed_on(layer - 1);
  }
  Plane output(std::int64_t layer) const {
    return is_last(layer) ? Plane{args_.y, args_.y_step, args_.y_row} : handed_on(layer);
  }
  bool is_last(std::int64_t layer) const { return layer + 1 == config_.num_layers; }

  void point_rows(std::int64_t layer, std::int64_t d) {
    const Plane in = input(layer), out = output(layer);
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    const std::int64_t state_row = (layer * config_.directions() + d) * args_.batch;
    for (std::int64_t i = 0; i < args_.batch; ++i) {
      const std::int64_t row = at_.order[i], at = d * args_.batch + i;
      const std::int64_t first = d == 1 && at_.lengths[i] > 0 ? at_.lengths[i] - 1 : 0;
      at_.x[at] = in.base + first * in.step + row * in.row;
      at_.y[at] = const_cast<S*>(out.base) + first * out.step + row * out.row + d * width;
      at_.h0[at] = args_.h0 ? args_.h0 + (state_row + row) * width : at_.zeros;
      if (args_.c0) at_.c0[at] = args_.c0 + (state_row + row) * hidden;
      if (args_.cells)
        at_.cells[at] = args_.cells + first * args_.cells_step + row * args_.cells_row + d * hidden;
      if (args_.reset) {
        at_.resets[at] =
            args_.reset + row * args_.reset_row + (d == 1 ? at_.lengths[i] * args_.reset_step : 0);
      }
      if (config_.proj_size) at_.unprojected_rows[at] = at_.unprojected + at * model_.padded_hidden();
    }
  }

  TeamArgs<S> team(std::int64_t layer, std::int64_t d, std::int64_t group, int index) const {
    const std::int64_t begin = group_begin(group), at = d * args_.batch + begin;
    const std::ptrdiff_t sign = d == 1 ? -1 : 1;
    TeamArgs<S> t{};
    t.model = &model_;
    t.weights = &model_.layer(layer, d);
    t.reverse = d == 1;
    t.rows = group_begin(group + 1) - begin;
    t.lengths = at_.lengths + begin;
    t.x = at_.x + at;
    t.x_step = sign * input(layer).step;
    t.y = at_.y + at;
    t.y_step = sign * output(layer).step;
    t.cells = args_.cells && is_last(layer) ? at_.cells + at : nullptr;
    t.cells_step = sign * args_.cells_step;
    t.h0 = at_.h0 + at;
    t.c0 = args_.c0 ? at_.c0 + at : nullptr;
    t.resets = args_.reset ? at_.resets + at : nullptr;
    t.reset_step = sign * args_.reset_step;
    t.zeros = at_.zeros;
    t.c = at_.c + at * model_.padded_hidden();
    t.preactivation = at_.preactivation + index * at_.chunk * model_.blocks() * 4 * model_.lanes();
    t.unprojected = at_.unprojected + at * model_.padded_hidden();
    t.unprojected_rows = at_.unprojected_rows + at;
    t.barrier = &scratch_.barriers[static_cast<std::size_t>(index)];
    t.members = plan_.members;
    return t;
  }

  void run_thread(std::int64_t layer, int thread) const noexcept {
    const int index = thread / plan_.members, member = thread % plan_.members;
    const int direction_team = index / plan_.row_groups, group = index % plan_.row_groups;
    const MemberScratch<S> own{at_.x_rows + thread * at_.chunk, at_.h_rows + thread * at_.group_rows,
                               at_.partial + thread * at_.group_rows * 4 * model_.lanes(),
                               at_.packed + thread * at_.packed_each};
    for (std::int64_t d = direction_team; d < config_.directions(); d += plan_.direction_teams) {
      run_member(team(layer, d, group, index), own, member);
    }
  }

  void keep_state(std::int64_t layer, std::int64_t d) {
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    const std::int64_t state_row = (layer * config_.directions() + d) * args_.batch;
    const std::ptrdiff_t y_step = d == 1 ? -output(layer).step : output(layer).step;
    for (std::int64_t i = 0; i < args_.batch; ++i) {
      const std::int64_t row = at_.order[i], at = d * args_.batch + i, steps = at_.lengths[i];
      const S* h = steps ? at_.y[at] + (steps - 1) * y_step : at_.h0[at];
      std::copy_n(h, width, args_.h_n + (state_row + row) * width);
      std::copy_n(at_.c + at * model_.padded_hidden(), hidden, args_.c_n + (state_row + row) * hidden);
    }
  }

  void zero_padding(S* base, std::ptrdiff_t step, std::ptrdiff_t row_stride, std::int64_t width) const {
    for (std::int64_t row = 0; row < args_.batch; ++row) {
      for (std::int64_t t = length(row); t < args_.steps; ++t) {
        std::fill_n(base + t * step + row * row_stride, width, S(0));
      }
    }
  }

  const Model<S>& model_;
  const Config& config_;
  const ForwardArgs<S>& args_;
  Scratch& scratch_;
  PoolLease lease_;
  const Plan plan_;
  const Layout<S> at_;
};

}  // namespace

template <class S>
void forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch) {
  Forward<S>(model, args, scratch).run();
}

template void forward(const Model<float>&, const ForwardArgs<float>&, Scratch&);
template void forward(const Model<double>&, const ForwardArgs<double>&, Scratch&);

}  // namespace cellgate
