// What the forward and the backward pass over a model share: the plan of the threads, the batch in order,
// where the rows of each layer and direction lie, and the teams of threads that work on them.
// Base of the classes in forward.cpp and backward.cpp.
#pragma once

#include <new>

#include "run/batch.hpp"
#include "run/forward.hpp"
#include "run/layer_forward.hpp"
#include "threads/executor.hpp"
#include "threads/plan.hpp"

namespace cellgate {

// Memory of both passes. Layers and directions that run side by side or one after the other each have a
// slot: their direction, or in a wavefront their layer.
template <class S>
struct PassLayout {
  Batch batch;
  Barrier* barriers;  // [teams]
  S* zeros;           // [padded H]
  // [slots, B] each, in the order of the batch:
  const S **x, **h0, **c0;
  S **y, **cells, **unprojected_rows;
  const unsigned char** resets;
  S* unprojected;  // [slots, B, padded H], with a projection or checkpoints only
  S* fresh_cells;  // [slots, B, padded H], with a tape and resets only

  PassLayout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& call, const Plan& plan)
      : batch(arena, call.batch, call.steps) {
    const Config& config = model.config();
    const std::int64_t rows = slots(config, plan) * call.batch;
    barriers = arena.take<Barrier>(plan.teams);
    zeros = arena.take<S>(model.padded_hidden());
    for (const S*** array : {&x, &h0, &c0}) *array = arena.take<const S*>(rows);
    for (S*** array : {&y, &cells, &unprojected_rows}) *array = arena.take<S*>(rows);
    resets = arena.take<const unsigned char*>(rows);
    unprojected = arena.take<S>(keeps_cell_output(config, call) ? rows * model.padded_hidden() : 0);
    fresh_cells = arena.take<S>(call.tape && call.reset ? rows * model.padded_hidden() : 0);
  }

  // Whether the output of the cell goes into memory of its own: to be projected, or since y is there already
  // when steps are computed again.
  static bool keeps_cell_output(const Config& config, const ForwardArgs<S>& call) {
    return config.proj_size || (call.tape && call.training.checkpoint);
  }
  static std::int64_t slots(const Config& config, const Plan& plan) {
    return plan.wave_steps ? config.num_layers : config.directions();
  }
};

// `Layout` is derived from PassLayout<S> and constructed from the same arguments.
template <class S, class Layout>
class Pass {
 protected:
  // `multiplications` counts how often each weight is used in a step; `chained`: a layer may begin before
  // the one before has ended.
  Pass(const Model<S>& model, const ForwardArgs<S>& call, Scratch& scratch, Executor& executor,
       double multiplications, bool chained)
      : model_(model),
        config_(model.config()),
        call_(call),
        work_(work_of(model, call.lengths, call.batch, call.steps, multiplications, chained)),
        lease_(executor, threads_that_pay(work_, executor.limit()), get_split() != Split::kAuto),
        plan_(choose_plan(work_, lease_.size())),
        at_(scratch.memory.lay_out<Layout>(model, call, plan_)) {}

  // To be called before anything else.
  void begin() const {
    for (int team = 0; team < plan_.teams; ++team) new (at_.barriers + team) Barrier;
    batch().arrange(call_.lengths);
    std::fill_n(at_.zeros, model_.padded_hidden(), S(0));
  }

  const Batch& batch() const { return at_.batch; }
  bool is_last(std::int64_t layer) const { return layer + 1 == config_.num_layers; }
  Tape<S> tape() const {
    return Tape<S>(model_, call_.batch, call_.steps, batch().valid(), call_.training, call_.tape);
  }

  // Of the valid steps only, D * (P or H) wide.
  template <class T>
  Plane<T> compact_plane(T* base) const {
    return {base, 0, config_.directions() * config_.output_size(), batch().positions};
  }

  // One team works on a layer and direction; calls visit(thread, d, member) for each that falls to `thread`.
  template <class Visit>
  void for_each_direction(int thread, const Visit& visit) const {
    const int index = thread / plan_.members, member = thread % plan_.members;
    for (std::int64_t d = index; d < config_.directions(); d += plan_.teams) visit(d, member);
  }

  std::int64_t slot(std::int64_t layer, std::int64_t d) const { return plan_.wave_steps ? layer : d; }
  // Row of the first sequence in the states of all layers and directions.
  std::int64_t state_row(std::int64_t layer, std::int64_t d) const {
    return (layer * config_.directions() + d) * call_.batch;
  }

  // `plane` as direction d reads or writes it, its row pointers in `first` [B]; none if it has no base.
  template <class T>
  RowSteps<T> steps_of(const Plane<T>& plane, T** first, std::int64_t d, std::int64_t width) const {
    RowSteps<T> steps;
    if (!plane.base) return steps;
    steps.first = first;
    steps.point(plane, batch().order, batch().lengths, call_.batch, d == 1, d * width);
    return steps;
  }

  // The team with index `index` for a layer and direction that reads `x` and writes `y`, its row pointers
  // set. Left to the caller: where it keeps c, the gates and the cells.
  TeamArgs<S> make_team(std::int64_t layer, std::int64_t d, int index, const Plane<const S>& x,
                        const Plane<S>& y) const {
    const std::int64_t first = slot(layer, d) * call_.batch, padded = model_.padded_hidden();
    point_rows(layer, d, first);
    TeamArgs<S> t{};
    t.model = &model_;
    t.weights = &model_.layer(layer, d);
    t.reverse = d == 1;
    t.split_rows = plan_.split_rows;
    t.rows = call_.batch;
    t.lengths = batch().lengths;
    t.positions = batch().positions;
    t.x = steps_of(x, at_.x + first, d, 0);
    t.y = steps_of(y, at_.y + first, d, config_.output_size());
    t.h0 = at_.h0 + first;
    t.c0 = at_.c0 + first;
    t.resets = call_.reset ? at_.resets + first : nullptr;
    t.reset_step = d == 1 ? -call_.reset_step : call_.reset_step;
    t.first_h = first_h(layer, d);
    t.first_c = first_c(layer, d);
    t.unprojected_rows = at_.unprojected_rows + first;
    t.fresh_cells = at_.fresh_cells + first * padded;
    if (call_.tape) t.tape = tape().layer(layer, d);
    t.barrier = at_.barriers + index;
    t.members = plan_.members;
    return t;
  }

  // Copies h(i) and c(i), the state of row i of the batch in order, to where the caller wants them.
  template <class H, class C>
  void put_state(std::int64_t layer, std::int64_t d, const H& h, S* all_h, const C& c, S* all_c) const {
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    for (std::int64_t i = 0; i < call_.batch; ++i) {
      const std::int64_t row = state_row(layer, d) + batch().order[i];
      std::copy_n(h(i), width, all_h + row * width);
      std::copy_n(c(i), hidden, all_c + row * hidden);
    }
  }

  void zero_padding(const Plane<S>& plane, std::int64_t width) const {
    if (!plane.base || plane.offsets || !call_.lengths) return;
    for (std::int64_t row = 0; row < call_.batch; ++row) {
      for (std::int64_t t = call_.lengths[row]; t < call_.steps; ++t) {
        std::fill_n(plane.at(t, 0, row), width, S(0));
      }
    }
  }

  const Model<S>& model_;
  const Config& config_;
  const ForwardArgs<S>& call_;
  const Work work_;
  Lease lease_;
  const Plan plan_;
  const Layout at_;

 private:
  // Where a segment of this layer and direction begins.
  const S* first_h(std::int64_t layer, std::int64_t d) const {
    return call_.first_h ? call_.first_h + (layer * config_.directions() + d) * config_.output_size()
                         : at_.zeros;
  }
  const S* first_c(std::int64_t layer, std::int64_t d) const {
    return call_.first_c ? call_.first_c + (layer * config_.directions() + d) * config_.hidden_size : nullptr;
  }

  void point_rows(std::int64_t layer, std::int64_t d, std::int64_t first) const {
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    const bool keeps_output = Layout::keeps_cell_output(config_, call_);
    for (std::int64_t i = 0; i < call_.batch; ++i) {
      const std::int64_t row = batch().order[i], state = state_row(layer, d) + row, at = first + i;
      at_.h0[at] = call_.h0 ? call_.h0 + state * width : first_h(layer, d);
      at_.c0[at] = call_.c0 ? call_.c0 + state * hidden : first_c(layer, d);
      if (call_.reset) {
        at_.resets[at] =
            call_.reset + row * call_.reset_row + (d == 1 ? batch().lengths[i] * call_.reset_step : 0);
      }
      if (keeps_output) at_.unprojected_rows[at] = at_.unprojected + at * model_.padded_hidden();
    }
  }
};

}  // namespace cellgate
