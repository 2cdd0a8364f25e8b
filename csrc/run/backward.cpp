// Backward pass: layer after layer from the last, both directions side by side where threads allow.
#include "run/backward.hpp"

#include <algorithm>

#include "run/dropout.hpp"
#include "run/floating_mode.hpp"
#include "run/layer_backward.hpp"
#include "run/pass.hpp"

namespace cellgate {
namespace {

// The arrays of one direction.
template <class S>
struct DirectionLayout {
  const S **d_y = nullptr, **d_cells = nullptr;  // [B]
  S** d_x = nullptr;                             // [B]
  // As in BackwardTeam:
  S *d_h = nullptr, *d_c = nullptr, *d_output = nullptr;
  S *d_panels = nullptr, *d_rows = nullptr, *d_projected = nullptr, *unprojected = nullptr;
  S *segment_gates = nullptr, *segment_cells = nullptr;  // with checkpoints
  TransposedLayer<S> weights{};
  GradientPanels<S> sums{};
  S* d_input = nullptr;  // [valid rows, I of the layer]: the reverse direction's part, added at the end
  std::int64_t d_rows_stride = 0, sums_size = 0;

  DirectionLayout() = default;
  DirectionLayout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, std::int64_t d) {
    const Config& config = model.config();
    const std::int64_t rows = args.batch, chunk = chunk_rows(rows, true), padded = model.padded_hidden();
    const std::int64_t lanes = model.lanes(), width = 4 * lanes, recurrent = config.output_size();
    const std::int64_t input = config.widest_input();
    for (const S*** array : {&d_y, &d_cells}) *array = arena.take<const S*>(rows);
    d_x = arena.take<S*>(rows);
    d_h = arena.take<S>(rows * padded);
    d_c = arena.take<S>(rows * padded);
    d_output = arena.take<S>(config.proj_size ? rows * padded : 0);
    // Not a power of two apart, or the rows of a tile would displace each other from the L1 cache.
    d_rows_stride = 4 * padded + kAlignment / static_cast<std::int64_t>(sizeof(S));
    d_panels = arena.take<S>(chunk * 4 * padded);
    d_rows = arena.take<S>(chunk * d_rows_stride);
    d_projected = arena.take<S>(chunk * config.proj_size);
    const std::int64_t output_panels = plain_panels(config.hidden_size, lanes);
    unprojected = arena.take<S>(config.proj_size ? output_panels * chunk * width : 0);

    const std::int64_t k = std::min(args.training.checkpoint, args.steps);
    segment_gates = arena.take<S>(k * rows * 4 * padded);
    segment_cells = arena.take<S>(k ? (k + 1) * rows * padded : 0);

    weights.w = arena.take<S>(plain_panels(input, lanes) * 4 * padded * width);
    weights.r = arena.take<S>(plain_panels(recurrent, lanes) * 4 * padded * width);
    weights.projection = arena.take<S>(config.proj_size * output_panels * width);
    // In one piece, to be cleared at once.
    const std::int64_t w = 4 * padded * input, r = 4 * padded * recurrent;
    const std::int64_t projection = config.proj_size * output_panels * width;
    sums_size = w + r + 4 * padded + projection;
    sums.w = arena.take<S>(sums_size);
    sums.r = sums.w + w;
    sums.bias = sums.r + r;
    sums.projection = sums.bias + 4 * padded;
    d_input = arena.take<S>(d == 1 ? args.steps * rows * input : 0);
  }
};

template <class S>
struct BackwardLayout : PassLayout<S> {
  DirectionLayout<S> directions[2];
  S* d_handed_on[2];  // [valid rows, D * (P or H)]: gradient of what one layer gives to the next
  // [threads] of [chunk rows], or as many as `..._each` says:
  std::int64_t* chunk_begins;
  const S **x_rows, **h_rows, **rows;
  S **y_rows, **out_rows;
  S *partial, *gathered, *room;
  std::int64_t gathered_each, room_each;

  BackwardLayout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, const Plan& plan)
      : PassLayout<S>(arena, model, args, plan) {
    const Config& config = model.config();
    for (std::int64_t d = 0; d < config.directions(); ++d) {
      directions[d] = DirectionLayout<S>(arena, model, args, d);
    }
    const std::int64_t chunk = chunk_rows(args.batch, true), threads = plan.threads(), lanes = model.lanes();
    const std::int64_t handed_on = args.steps * args.batch * config.directions() * config.output_size();
    for (int i = 0; i < 2; ++i) d_handed_on[i] = arena.take<S>(config.num_layers > i + 1 ? handed_on : 0);
    chunk_begins = arena.take<std::int64_t>(threads * (args.steps + 1));
    for (const S*** array : {&x_rows, &h_rows, &rows}) *array = arena.take<const S*>(threads * chunk);
    for (S*** array : {&y_rows, &out_rows}) *array = arena.take<S*>(threads * chunk);
    partial = arena.take<S>(threads * chunk * 4 * lanes);
    gathered_each = std::max(gathered_scalars(args.batch, chunk, config),
                             gathered_scalars_backward(args.batch, model.padded_hidden(), config));
    gathered = arena.take<S>(threads * gathered_each);
    room_each = lanes * std::max(config.widest_input(), config.output_size());
    room = arena.take<S>(threads * room_each);
  }
};

template <class S>
class Backward : Pass<S, BackwardLayout<S>> {
  using Base = Pass<S, BackwardLayout<S>>;
  using Base::at_, Base::batch, Base::call_, Base::config_, Base::lease_, Base::model_, Base::plan_,
      Base::steps_of, Base::tape;

 public:
  Backward(const Model<S>& model, const BackwardArgs<S>& args, Scratch& scratch, Executor& executor)
      : Base(model, *args.forward, scratch, executor, 2, false), args_(args) {}

  void run() {
    this->begin();
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
    this->zero_padding(args_.d_x, config_.input_size);
  }

 private:
  bool is_last() const { return Base::is_last(layer_); }
  bool wants_input() const { return layer_ > 0 || args_.d_x.base; }
  bool drops() const { return layer_ > 0 && tape().drops(); }
  std::int64_t input_size() const { return config_.layer_input_size(layer_); }
  Plane<const S> input() const {
    return layer_ == 0 ? call_.x : this->template compact_plane<const S>(tape().handed_on(layer_ - 1));
  }
  Plane<S> output() const {
    return is_last() ? call_.y : this->template compact_plane<S>(tape().output(layer_));
  }
  Plane<const S> d_output() const {
    return is_last() ? args_.d_y : this->template compact_plane<const S>(at_.d_handed_on[layer_ % 2]);
  }
  Plane<S> d_input() const {
    return layer_ == 0 ? args_.d_x : this->template compact_plane<S>(at_.d_handed_on[(layer_ - 1) % 2]);
  }
  Plane<S> d_input_of(std::int64_t d) const {
    return d == 0 ? d_input() : Plane<S>{at_.directions[1].d_input, 0, input_size(), batch().positions};
  }

  // Everything that a direction of this layer begins with.
  void start(std::int64_t d) {
    const DirectionLayout<S>& own = at_.directions[d];
    const std::int64_t width = config_.output_size(), hidden = config_.hidden_size,
                       padded = model_.padded_hidden();
    std::fill_n(own.d_h, call_.batch * padded, S(0));
    std::fill_n(own.d_c, call_.batch * padded, S(0));
    if (config_.proj_size) std::fill_n(own.d_output, call_.batch * padded, S(0));
    for (std::int64_t i = 0; i < call_.batch; ++i) {
      const std::int64_t row = this->state_row(layer_, d) + batch().order[i];
      if (args_.d_h_n) std::copy_n(args_.d_h_n + row * width, width, own.d_h + i * padded);
      if (args_.d_c_n) std::copy_n(args_.d_c_n + row * hidden, hidden, own.d_c + i * padded);
    }
    teams_[d] = team(d);
  }

  BackwardTeam<S> team(std::int64_t d) const {
    const DirectionLayout<S>& own = at_.directions[d];
    BackwardTeam<S> t{};
    t.forward = this->make_team(layer_, d, static_cast<int>(d) % plan_.teams, input(), output());
    if (call_.training.checkpoint) {
      t.forward.tape.gates = own.segment_gates;
      t.forward.tape.cells = own.segment_cells;
    }
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
    t.unprojected = own.unprojected;
    t.sums = own.sums;
    return t;
  }

  void run_thread(int thread) const noexcept {
    const FlushDenormals flush;
    const std::int64_t chunk = chunk_rows(call_.batch, true), first = thread * chunk;
    S* gathered = at_.gathered + thread * at_.gathered_each;
    S* partial = at_.partial + first * 4 * model_.lanes();
    const BackwardScratch<S> own{
        {at_.x_rows + first, at_.h_rows + first, at_.y_rows + first, nullptr, partial, gathered},
        at_.chunk_begins + thread * (call_.steps + 1),
        at_.rows + first,
        at_.out_rows + first,
        partial,
        gathered};
    this->for_each_direction(thread, [&](std::int64_t d, int member) {
      const BackwardTeam<S>& t = teams_[d];
      if (member == 0 && t.forward.steps() > 0) std::fill_n(t.sums.bias, 4 * model_.padded_hidden(), S(0));
      if (member == 0 && t.forward.steps() == 0) {
        std::fill_n(t.sums.w, at_.directions[d].sums_size, S(0));
      }
      transpose_weights(model_, *t.forward.weights, t.weights, member, plan_.members);
      t.forward.barrier->wait(plan_.members);
      run_member_backward(t, own, member);
      const auto at = static_cast<std::size_t>(layer_ * config_.directions() + d);
      unpack_gradients(model_, input_size(), t.sums,
                       GradientTarget<S>{args_.parameters[at], args_.accumulate},
                       at_.room + thread * at_.room_each, member, plan_.members);
    });
  }

  void keep_state(std::int64_t d) const {
    const DirectionLayout<S>& own = at_.directions[d];
    const std::int64_t padded = model_.padded_hidden();
    this->put_state(
        layer_, d, [&](std::int64_t i) { return own.d_h + i * padded; }, args_.d_h0,
        [&](std::int64_t i) { return own.d_c + i * padded; }, args_.d_c0);
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

  const BackwardArgs<S>& args_;
  BackwardTeam<S> teams_[2];
  std::int64_t layer_ = 0;
};

}  // namespace

template <class S>
void backward(const Model<S>& model, const BackwardArgs<S>& args, Scratch& scratch, Executor& executor) {
  model.require_trainable();
  Backward<S>(model, args, scratch, executor).run();
}

template void backward(const Model<float>&, const BackwardArgs<float>&, Scratch&, Executor&);
template void backward(const Model<double>&, const BackwardArgs<double>&, Scratch&, Executor&);

}  // namespace cellgate
