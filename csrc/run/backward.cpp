// Backward pass: layer after layer from the last, both directions side by side where threads allow.
#include "run/backward.hpp"

#include <algorithm>

#include "run/batch.hpp"
#include "run/dropout.hpp"
#include "run/floating_mode.hpp"
#include "run/layer_backward.hpp"
#include "threads/plan.hpp"

namespace cellgate {
namespace {

// The arrays of one direction.
template <class S>
struct DirectionLayout {
  const S **x = nullptr, **h0 = nullptr, **d_y = nullptr, **d_cells = nullptr;  // [B]
  S **y = nullptr, **d_x = nullptr, **unprojected_rows = nullptr;               // [B]
  const unsigned char** resets = nullptr;                                       // [B]
  S *d_h = nullptr, *d_c = nullptr, *d_output = nullptr, *unprojected = nullptr, *fresh_cells = nullptr;
  S *d_panels = nullptr, *d_rows = nullptr, *d_projected = nullptr, *outputs = nullptr;
  S *segment_gates = nullptr, *segment_cells = nullptr;  // with checkpoints
  TransposedLayer<S> weights{};
  GradientPanels<S> sums{};
  S* d_input = nullptr;  // [valid rows, I of the layer]: the reverse direction's part, added at the end
  std::int64_t d_rows_stride = 0, sums_size = 0;

  DirectionLayout() = default;
  DirectionLayout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, std::int64_t d) {
    const Config& config = model.config();
    const std::int64_t rows = args.batch, chunk = chunk_rows(rows, true), hidden = model.padded_hidden();
    const std::int64_t lanes = model.lanes(), width = 4 * lanes, recurrent = config.output_size();
    const std::int64_t input = std::max(config.input_size, config.layer_input_size(config.num_layers - 1));
    for (const S*** array : {&x, &h0, &d_y, &d_cells}) *array = arena.take<const S*>(rows);
    for (S*** array : {&y, &d_x, &unprojected_rows}) *array = arena.take<S*>(rows);
    resets = arena.take<const unsigned char*>(rows);
    d_h = arena.take<S>(rows * hidden);
    d_c = arena.take<S>(rows * hidden);
    d_output = arena.take<S>(config.proj_size ? rows * hidden : 0);
    fresh_cells = arena.take<S>(args.reset ? rows * hidden : 0);
    // Not a power of two apart, or the rows of a tile would displace each other from the L1 cache.
    d_rows_stride = 4 * hidden + kAlignment / static_cast<std::int64_t>(sizeof(S));
    d_panels = arena.take<S>(chunk * 4 * hidden);
    d_rows = arena.take<S>(chunk * d_rows_stride);
    d_projected = arena.take<S>(chunk * config.proj_size);
    const std::int64_t output_panels = plain_panels(config.hidden_size, lanes);
    outputs = arena.take<S>(config.proj_size ? output_panels * chunk * width : 0);

    const std::int64_t k = std::min(args.training.checkpoint, args.steps);
    unprojected = arena.take<S>(k ? rows * hidden : 0);
    segment_gates = arena.take<S>(k * rows * 4 * hidden);
    segment_cells = arena.take<S>(k ? (k + 1) * rows * hidden : 0);

    weights.w = arena.take<S>(plain_panels(input, lanes) * 4 * hidden * width);
    weights.r = arena.take<S>(plain_panels(recurrent, lanes) * 4 * hidden * width);
    weights.projection = arena.take<S>(config.proj_size * output_panels * width);
    // In one piece, to be cleared at once.
    const std::int64_t w = 4 * hidden * input, r = 4 * hidden * recurrent;
    const std::int64_t projection = config.proj_size * output_panels * width;
    sums_size = w + r + 4 * hidden + projection;
    sums.w = arena.take<S>(sums_size);
    sums.r = sums.w + w;
    sums.bias = sums.r + r;
    sums.projection = sums.bias + 4 * hidden;
    d_input = arena.take<S>(d == 1 ? args.steps * rows * input : 0);
  }
};

template <class S>
struct BackwardLayout {
  Batch batch;
  DirectionLayout<S> forward, reverse;
  Barrier* barriers;  // [direction_teams]
  S* zeros;
  S* d_hidden[2];  // [valid rows, D * (P or H)]: gradient of what one layer hands to the next
  // [threads] of [chunk_rows] or [B]:
  std::int64_t* chunk_begins;
  const S **x_rows, **h_rows, **rows;
  S **y_rows, **out_rows;
  S *partial, *packed, *room;
  std::int64_t packed_each, room_each;

  BackwardLayout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, const Plan& plan)
      : batch(arena, args.batch, args.steps), forward(arena, model, args, 0) {
    if (model.config().bidirectional) reverse = DirectionLayout<S>(arena, model, args, 1);
    const Config& config = model.config();
    const std::int64_t chunk = chunk_rows(args.batch, true), threads = plan.threads(), lanes = model.lanes();
    const std::int64_t input = std::max(config.input_size, config.layer_input_size(config.num_layers - 1));
    barriers = arena.take<Barrier>(plan.direction_teams);
    zeros = arena.take<S>(model.padded_hidden());
    const std::int64_t handed_on = args.steps * args.batch * config.directions() * config.output_size();
    for (int i = 0; i < 2; ++i) d_hidden[i] = arena.take<S>(config.num_layers > i + 1 ? handed_on : 0);
    chunk_begins = arena.take<std::int64_t>(threads * (args.steps + 1));
    for (const S*** array : {&x_rows, &h_rows, &rows}) *array = arena.take<const S*>(threads * chunk);
    for (S*** array : {&y_rows, &out_rows}) *array = arena.take<S*>(threads * chunk);
    partial = arena.take<S>(threads * chunk * 4 * lanes);
    packed_each = std::max(packed_scalars(args.batch, chunk, config),
                           packed_scalars_backward(args.batch, model.padded_hidden(), config));
    packed = arena.take<S>(threads * packed_each);
    room_each = lanes * std::max(input, config.output_size());
    room = arena.take<S>(threads * room_each);
  }
};

template <class S>
class Backward {
 public:
  Backward(const Model<S>& model, const BackwardArgs<S>& args, Scratch& scratch, Executor& executor)
      : model_(model),
        config_(model.config()),
        args_(args),
        call_(*args.forward),

        work_(work_of(model, call_.lengths, call_.batch, call_.steps, 2)),
        lease_(executor, threads_that_pay(work_, executor.limit()), get_split() != Split::kAuto),
        plan_(choose_plan(work_, lease_.size())),
        at_(scratch.memory.lay_out<BackwardLayout<S>>(model, call_, plan_)) {}

  void run() {
    for (int team = 0; team < plan_.direction_teams; ++team) new (at_.barriers + team) Barrier;
    batch().arrange(call_.lengths);
    std::fill_n(at_.zeros, model_.padded_hidden(), S(0));
    for (std::int64_t layer = config_.num_layers - 1; layer >= 0; --layer) {
      layer_ = layer;
      for (std::int64_t d = 0; d < config_.directions(); ++d) start(d);
      auto job = [&](int thread) { run_thread(thread); };
      lease_.run(plan_.threads(), job);
      for (std::int64_t d = 0; d < config_.directions(); ++d) keep_state(d);
      if (wants_input() && (drops() || config_.bidirectional)) {
        auto finish = [&](int thread) { finish_input(Share(call_.steps, thread, plan_.threads())); };
        lease_.run(plan_.threads(), finish);
      }
    }
    if (args_.d_x.base) zero_padding();
  }

 private:
  const Batch& batch() const { return at_.batch; }
  const DirectionLayout<S>& direction(std::int64_t d) const { return d ? at_.reverse : at_.forward; }
  bool is_last() const { return layer_ + 1 == config_.num_layers; }
  bool wants_input() const { return layer_ > 0 || args_.d_x.base; }
  bool drops() const { return layer_ > 0 && tape().drops(); }
  std::int64_t input_size() const { return config_.layer_input_size(layer_); }
  Tape<S> tape() const {
    return Tape<S>(model_, call_.batch, call_.steps, batch().valid(), call_.training, call_.tape);
  }
  template <class T>
  Plane<T> packed_plane(T* base) const {
    return {base, 0, config_.directions() * config_.output_size(), batch().positions};
  }
  static Plane<const S> read_only(const Plane<S>& p) { return {p.base, p.step, p.row, p.offsets}; }
  Plane<const S> input() const {
    return layer_ == 0 ? call_.x : packed_plane<const S>(tape().handed_on(layer_ - 1));
  }
  Plane<S> output() const { return is_last() ? call_.y : packed_plane<S>(tape().hidden(layer_)); }
  Plane<const S> d_output() const {
    return is_last() ? args_.d_y : packed_plane<const S>(at_.d_hidden[layer_ % 2]);
  }
  Plane<S> d_input() const {
    return layer_ == 0 ? args_.d_x : packed_plane<S>(at_.d_hidden[(layer_ - 1) % 2]);
  }
  Plane<S> d_input_of(std::int64_t d) const {
    return d == 0 ? d_input() : Plane<S>{at_.reverse.d_input, 0, input_size(), batch().positions};
  }

  template <class T>
  RowSteps<T> steps_of(const Plane<T>& plane, T** first, std::int64_t d, std::int64_t column) const {
    RowSteps<T> steps;
    if (!plane.base) return steps;
    steps.first = first;
    steps.point(plane, batch().order, batch().lengths, call_.batch, d == 1, d * column);
    return steps;
  }

  // Everything that a direction of this layer begins with.
  void start(std::int64_t d) {
    const DirectionLayout<S>& own = direction(d);
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size,
                       padded = model_.padded_hidden();
    const std::int64_t state_row = (layer_ * config_.directions() + d) * call_.batch;
    std::fill_n(own.d_h, call_.batch * padded, S(0));
    std::fill_n(own.d_c, call_.batch * padded, S(0));
    if (config_.proj_size) std::fill_n(own.d_output, call_.batch * padded, S(0));
    for (std::int64_t i = 0; i < call_.batch; ++i) {
      const std::int64_t row = batch().order[i];
      own.h0[i] = call_.h0 ? call_.h0 + (state_row + row) * width : at_.zeros;
      if (args_.d_h_n) std::copy_n(args_.d_h_n + (state_row + row) * width, width, own.d_h + i * padded);
      if (args_.d_c_n) std::copy_n(args_.d_c_n + (state_row + row) * hidden, hidden, own.d_c + i * padded);
      if (call_.reset) {
        own.resets[i] =
            call_.reset + row * call_.reset_row + (d == 1 ? batch().lengths[i] * call_.reset_step : 0);
      }
      own.unprojected_rows[i] = own.unprojected + i * padded;
    }
    teams_[d] = team(d);
  }

  TeamArgs<S> forward_team(std::int64_t d) const {
    const DirectionLayout<S>& own = direction(d);
    TeamArgs<S> t{};
    t.model = &model_;
    t.weights = &model_.layer(layer_, d);
    t.reverse = d == 1;
    t.split_rows = plan_.split_rows;
    t.rows = call_.batch;
    t.lengths = batch().lengths;
    t.positions = batch().positions;
    t.x = steps_of(input(), own.x, d, 0);
    t.y = steps_of(output(), own.y, d, config_.output_size());
    t.h0 = own.h0;
    t.resets = call_.reset ? own.resets : nullptr;
    t.reset_step = d == 1 ? -call_.reset_step : call_.reset_step;
    t.zeros = at_.zeros;
    t.unprojected = own.unprojected;
    t.unprojected_rows = own.unprojected_rows;
    t.fresh_cells = own.fresh_cells;
    t.tape = tape().layer(layer_, d);
    if (call_.training.checkpoint) {
      t.tape.gates = own.segment_gates;
      t.tape.cells = own.segment_cells;
    }
    t.barrier = at_.barriers + d % plan_.direction_teams;
    t.members = plan_.members;
    return t;
  }

  BackwardTeam<S> team(std::int64_t d) const {
    const DirectionLayout<S>& own = direction(d);
    BackwardTeam<S> t{};
    t.forward = forward_team(d);
    t.weights = own.weights;
    if (!wants_input()) t.weights.w = nullptr;
    t.d_y = steps_of(d_output(), own.d_y, d, config_.output_size());
    if (is_last()) t.d_cells = steps_of(args_.d_cells, own.d_cells, d, config_.hidden_size);
    if (wants_input()) t.d_x = steps_of(d_input_of(d), own.d_x, d, 0);
    t.d_h = own.d_h;
    t.d_c = own.d_c;
    t.d_h_stride = model_.padded_hidden();
    t.d_output = own.d_output;
    t.d_panels = own.d_panels;
    t.d_rows = own.d_rows;
    t.d_rows_stride = own.d_rows_stride;
    t.d_projected = own.d_projected;
    t.outputs = own.outputs;
    t.sums = own.sums;
    return t;
  }

  void run_thread(int thread) const noexcept {
    const FlushDenormals flush;
    const int index = thread / plan_.members, member = thread % plan_.members;
    const std::int64_t chunk = chunk_rows(call_.batch, true), first = thread * chunk;
    S* packed = at_.packed + thread * at_.packed_each;
    S* partial = at_.partial + first * 4 * model_.lanes();
    const BackwardScratch<S> own{
        {at_.x_rows + first, at_.h_rows + first, at_.y_rows + first, nullptr, partial, packed},
        at_.chunk_begins + thread * (call_.steps + 1),
        at_.rows + first,
        at_.out_rows + first,
        partial,
        packed};
    for (std::int64_t d = index; d < config_.directions(); d += plan_.direction_teams) {
      const BackwardTeam<S>& t = teams_[d];
      if (member == 0 && t.forward.steps() > 0) std::fill_n(t.sums.bias, 4 * model_.padded_hidden(), S(0));
      if (member == 0 && t.forward.steps() == 0) std::fill_n(t.sums.w, direction(d).sums_size, S(0));
      transpose_weights(model_, *t.forward.weights, t.weights, member, plan_.members);
      t.forward.barrier->wait(plan_.members);
      run_member_backward(t, own, member);
      const auto at = static_cast<std::size_t>(layer_ * config_.directions() + d);
      unpack_gradients(model_, input_size(), t.sums,
                       GradientTarget<S>{args_.parameters[at], args_.accumulate},
                       at_.room + thread * at_.room_each, member, plan_.members);
    }
  }

  void keep_state(std::int64_t d) {
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size;
    const std::int64_t state_row = (layer_ * config_.directions() + d) * call_.batch;
    for (std::int64_t i = 0; i < call_.batch; ++i) {
      const std::int64_t row = batch().order[i], padded = model_.padded_hidden();
      std::copy_n(direction(d).d_h + i * padded, width, args_.d_h0 + (state_row + row) * width);
      std::copy_n(direction(d).d_c + i * padded, hidden, args_.d_c0 + (state_row + row) * hidden);
    }
  }

  // Adds the reverse direction's part of the input's gradient, and undoes dropout.
  void finish_input(const Share& steps) const noexcept {
    const FlushDenormals flush;
    const std::int64_t width = input_size();
    const Dropout<S> mask(call_.training.dropout, call_.training.seed, layer_ - 1);
    const Plane<S> to = d_input(), from = d_input_of(1);
    const bool dropped = drops();
    for (std::int64_t t = steps.begin; t < steps.end; ++t) {
      for (std::int64_t i = 0; i < batch().positions[t + 1] - batch().positions[t]; ++i) {
        const std::int64_t row = batch().order[i], first = (t * call_.batch + row) * width;
        S* sum = to.at(t, i, row);
        const S* other = config_.bidirectional ? from.at(t, i, row) : nullptr;
        for (std::int64_t j = 0; j < width; ++j) {
          if (other) sum[j] += other[j];
          if (dropped) sum[j] *= mask.factor(first + j);
        }
      }
    }
  }

  void zero_padding() const {
    if (args_.d_x.offsets || !call_.lengths) return;
    for (std::int64_t row = 0; row < call_.batch; ++row) {
      for (std::int64_t t = call_.lengths[row]; t < call_.steps; ++t) {
        std::fill_n(args_.d_x.at(t, 0, row), config_.input_size, S(0));
      }
    }
  }

  const Model<S>& model_;
  const Config& config_;
  const BackwardArgs<S>& args_;
  const ForwardArgs<S>& call_;
  const Work work_;
  Lease lease_;
  const Plan plan_;
  const BackwardLayout<S> at_;
  BackwardTeam<S> teams_[2];
  std::int64_t layer_ = 0;
};

}  // namespace

template <class S>
void backward(const Model<S>& model, const BackwardArgs<S>& args, Scratch& scratch, Executor& executor) {
  Backward<S>(model, args, scratch, executor).run();
}

template void backward(const Model<float>&, const BackwardArgs<float>&, Scratch&, Executor&);
template void backward(const Model<double>&, const BackwardArgs<double>&, Scratch&, Executor&);

}  // namespace cellgate
