// Forward pass: sorts the rows by length, plans the threads, and runs layer after layer.
#include "run/forward.hpp"

#include <algorithm>

#include "run/batch.hpp"
#include "run/dropout.hpp"
#include "run/layer_forward.hpp"
#include "threads/plan.hpp"

namespace cellgate {
namespace {

// All the memory of one call.
template <class S>
struct Layout {
  Batch batch;
  // [slots, B] each, in the order of the batch; a slot is a direction, or in a wavefront a layer:
  const S **x, **h0, **c0;
  S **y, **cells, **unprojected_rows;
  const unsigned char** resets;
  S *c, *unprojected, *fresh_cells;  // [slots, B, padded H]
  S* zeros;
  S* hidden;                   // [hidden_count, valid rows, D * (P or H)]: what a layer hands to the next
  S* preactivation;            // [direction_teams] of [blocks, chunk_rows, 4, lanes]
  const S **x_rows, **h_rows;  // [threads] of [chunk_rows], [B]
  S **y_rows, **cell_rows;     // [threads] of [B]
  S* partial;                  // [threads] of [B, 4, lanes]
  S* packed;                   // [threads] of [packed_each]
  TeamArgs<S>* teams;          // [slots]
  Barrier* barriers;           // [direction_teams]
  std::int64_t chunk, x_rows_each, packed_each, hidden_each, hidden_count;

  Layout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, const Plan& plan)
      : batch(arena, args.batch, args.steps) {
    const Config& config = model.config();
    const std::int64_t rows = args.batch, lanes = model.lanes();
    const std::int64_t d = plan.wave_steps ? config.num_layers : config.directions();
    const std::int64_t threads = plan.threads();
    x = arena.take<const S*>(d * rows);
    h0 = arena.take<const S*>(d * rows);
    c0 = arena.take<const S*>(d * rows);
    y = arena.take<S*>(d * rows);
    cells = arena.take<S*>(d * rows);
    unprojected_rows = arena.take<S*>(d * rows);
    resets = arena.take<const unsigned char*>(d * rows);
    const bool keeps_all = args.tape && !args.training.checkpoint;
    chunk = chunk_rows(rows, keeps_all);
    c = arena.take<S>(keeps_all ? 0 : d * rows * model.padded_hidden());
    fresh_cells = arena.take<S>(keeps_all && args.reset ? d * rows * model.padded_hidden() : 0);
    unprojected = arena.take<S>(config.proj_size ? d * rows * model.padded_hidden() : 0);
    zeros = arena.take<S>(model.padded_hidden());
    // In turn two planes are enough; in a wavefront layers read the end of their own only when all are done.
    hidden_count = std::min<std::int64_t>(config.num_layers - 1, plan.wave_steps ? config.num_layers : 2);
    hidden_each = args.tape ? 0 : args.steps * rows * config.directions() * config.output_size();
    hidden = arena.take<S>(hidden_count * hidden_each);
    teams = arena.take<TeamArgs<S>>(d);
    barriers = arena.take<Barrier>(plan.direction_teams);
    const bool hoists = args.steps > 1 || args.tape;
    preactivation =
        arena.take<S>(hoists && !keeps_all ? plan.direction_teams * chunk * model.blocks() * 4 * lanes : 0);
    x_rows_each = hoists ? chunk : rows;
    x_rows = arena.take<const S*>(threads * x_rows_each);
    h_rows = arena.take<const S*>(threads * rows);
    y_rows = arena.take<S*>(threads * rows);
    cell_rows = arena.take<S*>(threads * rows);
    partial = arena.take<S>(threads * rows * 4 * lanes);
    packed_each = packed_scalars(rows, hoists ? chunk : 0, config);
    packed = arena.take<S>(threads * packed_each);
  }
};

template <class S>
class Forward {
 public:
  Forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor)
      : model_(model),
        config_(model.config()),
        args_(args),
        scratch_(scratch),
        work_(work_of(model, args.lengths, args.batch, args.steps, 1, !args.tape)),
        lease_(executor, threads_that_pay(work_, executor.limit()), get_split() != Split::kAuto),
        plan_(choose_plan(work_, lease_.size())),
        at_(scratch.memory.lay_out<Layout<S>>(model, args, plan_)) {}

  void run() {
    for (int team = 0; team < plan_.direction_teams; ++team) new (at_.barriers + team) Barrier;
    at_.batch.arrange(args_.lengths);
    std::fill_n(at_.zeros, model_.padded_hidden(), S(0));
    if (args_.tape) tape().clear_unwritten();
    if (plan_.wave_steps) {
      run_wavefront();
    } else {
      run_in_turn();
    }
    scratch_.passes += args_.steps;
    const std::int64_t directions = config_.directions();
    zero_padding(args_.y, directions * config_.output_size());
    if (args_.cells.base) zero_padding(args_.cells, directions * config_.hidden_size);
  }

 private:
  void run_in_turn() {
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      for (std::int64_t d = 0; d < config_.directions(); ++d) {
        prepare(layer, d, static_cast<int>(d) % plan_.direction_teams);
      }
      auto job = [&](int thread) { run_thread(thread); };
      lease_.run(plan_.threads(), job);
      for (std::int64_t d = 0; d < config_.directions(); ++d) keep_state(layer, d);
      if (args_.tape && !is_last(layer) && tape().drops()) drop(layer);
    }
  }

  void run_wavefront() {
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      prepare(layer, 0, static_cast<int>(layer % plan_.direction_teams));
    }
    auto job = [&](int thread) { run_waves(thread); };
    lease_.run(plan_.threads(), job, config_.num_layers % plan_.threads() == 0);
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) keep_state(layer, 0);
  }

  // In wave w, layer l runs part w - l of the steps, which the layer before has ended in the wave before.
  void run_waves(int thread) const noexcept {
    const MemberScratch<S> own = scratch_of(thread);
    const std::int64_t steps = at_.teams[0].steps(), layers = config_.num_layers;
    const std::int64_t parts = std::max<std::int64_t>(1, (steps + plan_.wave_steps - 1) / plan_.wave_steps);
    for (std::int64_t wave = 0; wave < parts + layers - 1; ++wave) {
      for (std::int64_t layer = thread; layer < layers; layer += plan_.threads()) {
        const std::int64_t begin = (wave - layer) * plan_.wave_steps;
        if (wave < layer || wave - layer >= parts) continue;
        run_member(at_.teams[layer], own, 0, begin, std::min(steps, begin + plan_.wave_steps));
      }
      at_.barriers[0].wait(plan_.threads());
    }
  }

  // Where the arrays of a layer and direction are.
  std::int64_t slot(std::int64_t layer, std::int64_t d) const { return plan_.wave_steps ? layer : d; }
  S* hidden(std::int64_t layer) const {
    return at_.hidden + layer % std::max<std::int64_t>(1, at_.hidden_count) * at_.hidden_each;
  }
  const Batch& batch() const { return at_.batch; }
  bool is_last(std::int64_t layer) const { return layer + 1 == config_.num_layers; }
  Tape<S> tape() const {
    return Tape<S>(model_, args_.batch, args_.steps, batch().valid(), args_.training, args_.tape);
  }

  Plane<S> packed_plane(S* base) const {
    return {base, 0, config_.directions() * config_.output_size(), batch().positions};
  }
  Plane<const S> input(std::int64_t layer) const {
    if (layer == 0) return args_.x;
    const Plane<S> plane = packed_plane(args_.tape ? tape().handed_on(layer - 1) : hidden(layer - 1));
    return {plane.base, plane.step, plane.row, plane.offsets};
  }
  Plane<S> output(std::int64_t layer) const {
    if (is_last(layer)) return args_.y;
    return packed_plane(args_.tape ? tape().hidden(layer) : hidden(layer));
  }

  void prepare(std::int64_t layer, std::int64_t d, int index) {
    point_rows(layer, d);
    at_.teams[slot(layer, d)] = team(layer, d, index);
  }

  void point_rows(std::int64_t layer, std::int64_t d) {
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    const std::int64_t state_row = (layer * config_.directions() + d) * args_.batch;
    for (std::int64_t i = 0; i < args_.batch; ++i) {
      const std::int64_t row = batch().order[i], at = slot(layer, d) * args_.batch + i;
      at_.h0[at] = args_.h0 ? args_.h0 + (state_row + row) * width : at_.zeros;
      if (args_.c0) at_.c0[at] = args_.c0 + (state_row + row) * hidden;
      if (args_.reset) {
        at_.resets[at] =
            args_.reset + row * args_.reset_row + (d == 1 ? batch().lengths[i] * args_.reset_step : 0);
      }
      if (config_.proj_size) at_.unprojected_rows[at] = at_.unprojected + at * model_.padded_hidden();
    }
  }

  // Points `rows`, those of a slot, at those of a plane.
  template <class T>
  RowSteps<T> steps_of(const Plane<T>& plane, T** first, std::int64_t d, std::int64_t column) const {
    RowSteps<T> steps;
    steps.first = first;
    steps.point(plane, batch().order, batch().lengths, args_.batch, d == 1, d * column);
    return steps;
  }

  TeamArgs<S> team(std::int64_t layer, std::int64_t d, int index) const {
    const std::int64_t at = slot(layer, d) * args_.batch;
    TeamArgs<S> t{};
    t.model = &model_;
    t.weights = &model_.layer(layer, d);
    t.reverse = d == 1;
    t.split_rows = plan_.split_rows;
    t.rows = args_.batch;
    t.lengths = batch().lengths;
    t.positions = batch().positions;
    t.x = steps_of(input(layer), at_.x + at, d, 0);
    t.y = steps_of(output(layer), at_.y + at, d, config_.output_size());
    if (args_.cells.base && is_last(layer)) {
      t.cells = steps_of(args_.cells, at_.cells + at, d, config_.hidden_size);
    }
    t.h0 = at_.h0 + at;
    t.c0 = args_.c0 ? at_.c0 + at : nullptr;
    t.resets = args_.reset ? at_.resets + at : nullptr;
    t.reset_step = d == 1 ? -args_.reset_step : args_.reset_step;
    t.zeros = at_.zeros;
    t.c = at_.c + at * model_.padded_hidden();
    t.fresh_cells = at_.fresh_cells + at * model_.padded_hidden();
    t.preactivation = at_.preactivation + index * at_.chunk * model_.blocks() * 4 * model_.lanes();
    t.unprojected = at_.unprojected + at * model_.padded_hidden();
    t.unprojected_rows = at_.unprojected_rows + at;
    if (args_.tape) t.tape = tape().layer(layer, d);
    t.barrier = at_.barriers + index;
    t.members = plan_.members;
    t.passes = scratch_.passes;
    return t;
  }

  MemberScratch<S> scratch_of(int thread) const {
    const std::int64_t rows = args_.batch;
    return {at_.x_rows + thread * at_.x_rows_each,
            at_.h_rows + thread * rows,
            at_.y_rows + thread * rows,
            at_.cell_rows + thread * rows,
            at_.partial + thread * rows * 4 * model_.lanes(),
            at_.packed + thread * at_.packed_each};
  }

  void run_thread(int thread) const noexcept {
    const int index = thread / plan_.members, member = thread % plan_.members;
    const MemberScratch<S> own = scratch_of(thread);
    for (std::int64_t d = index; d < config_.directions(); d += plan_.direction_teams) {
      run_member(at_.teams[d], own, member, 0, at_.teams[d].steps());
    }
  }

  void keep_state(std::int64_t layer, std::int64_t d) {
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    const std::int64_t state_row = (layer * config_.directions() + d) * args_.batch;
    const TeamArgs<S>& t = at_.teams[slot(layer, d)];
    for (std::int64_t i = 0; i < args_.batch; ++i) {
      const std::int64_t row = batch().order[i], steps = batch().lengths[i];
      const S* h = steps ? t.y.at(steps - 1, i) : t.h0[i];
      const S* c = t.c + i * model_.padded_hidden();
      if (t.tape.gates) {
        const std::int64_t at = steps ? args_.batch + batch().positions[steps - 1] : 0;
        c = t.tape.cells + (at + i) * model_.padded_hidden();
      }
      std::copy_n(h, width, args_.h_n + (state_row + row) * width);
      std::copy_n(c, hidden, args_.c_n + (state_row + row) * hidden);
    }
  }

  void drop(std::int64_t layer) const {
    const std::int64_t width = config_.directions() * config_.output_size();
    const Dropout<S> mask(args_.training.dropout, args_.training.seed, layer);
    const S* from = tape().hidden(layer);
    S* to = tape().handed_on(layer);
    for (std::int64_t t = 0; t < args_.steps; ++t) {
      for (std::int64_t p = batch().positions[t]; p < batch().positions[t + 1]; ++p) {
        const std::int64_t row = batch().order[p - batch().positions[t]];
        const std::int64_t first = (t * args_.batch + row) * width;
        for (std::int64_t j = 0; j < width; ++j)
          to[p * width + j] = from[p * width + j] * mask.factor(first + j);
      }
    }
  }

  void zero_padding(const Plane<S>& plane, std::int64_t width) const {
    if (plane.offsets || !args_.lengths) return;
    for (std::int64_t row = 0; row < args_.batch; ++row) {
      for (std::int64_t t = args_.lengths[row]; t < args_.steps; ++t) {
        std::fill_n(plane.at(t, 0, row), width, S(0));
      }
    }
  }

  const Model<S>& model_;
  const Config& config_;
  const ForwardArgs<S>& args_;
  Scratch& scratch_;
  const Work work_;
  Lease lease_;
  const Plan plan_;
  const Layout<S> at_;
};

}  // namespace

template <class S>
void forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor) {
  Forward<S>(model, args, scratch, executor).run();
}

template void forward(const Model<float>&, const ForwardArgs<float>&, Scratch&, Executor&);
template void forward(const Model<double>&, const ForwardArgs<double>&, Scratch&, Executor&);

}  // namespace cellgate
