// Forward pass: sorts the rows by length, plans the threads, and runs layer after layer.
#include "run/forward.hpp"

#include <algorithm>

#include "run/dropout.hpp"
#include "run/pass.hpp"

namespace cellgate {
namespace {

// All the memory of one call.
template <class S>
struct ForwardLayout : PassLayout<S> {
  S* c;                // [slots, B, padded H]
  S* handed_on;        // [handed_on_count, valid rows, D * (P or H)]: what a layer gives to the next
  S* preactivation;    // [teams] of [blocks, chunk rows, 4, lanes]
  TeamArgs<S>* teams;  // [slots]
  // [threads] of [x_rows_each], [B], [B], [B], [B, 4, lanes] and [gathered_each]:
  const S **x_rows, **h_rows;
  S **y_rows, **cell_rows;
  S *partial, *gathered;
  std::int64_t chunk, x_rows_each, gathered_each, handed_on_each, handed_on_count;

  ForwardLayout(Arena& arena, const Model<S>& model, const ForwardArgs<S>& args, const Plan& plan)
      : PassLayout<S>(arena, model, args, plan) {
    const Config& config = model.config();
    const std::int64_t rows = args.batch, lanes = model.lanes(), slots = this->slots(config, plan);
    const bool keeps_all = args.tape && !args.training.checkpoint;
    chunk = chunk_rows(rows, keeps_all);
    c = arena.take<S>(keeps_all ? 0 : slots * rows * model.padded_hidden());
    // Layer after layer, two planes are enough, used alternately; in a wavefront each layer has its own,
    // whose last rows are read when all layers are done.
    handed_on_count = std::min<std::int64_t>(config.num_layers - 1, plan.wave_steps ? config.num_layers : 2);
    handed_on_each = args.tape ? 0 : args.steps * rows * config.directions() * config.output_size();
    handed_on = arena.take<S>(handed_on_count * handed_on_each);
    teams = arena.take<TeamArgs<S>>(slots);
    const bool hoists = args.steps > 1 || args.tape;
    preactivation = arena.take<S>(hoists && !keeps_all ? plan.teams * chunk * model.blocks() * 4 * lanes : 0);
    const std::int64_t threads = plan.threads();
    x_rows_each = hoists ? chunk : rows;
    x_rows = arena.take<const S*>(threads * x_rows_each);
    h_rows = arena.take<const S*>(threads * rows);
    y_rows = arena.take<S*>(threads * rows);
    cell_rows = arena.take<S*>(threads * rows);
    partial = arena.take<S>(threads * rows * 4 * lanes);
    gathered_each = gathered_scalars(rows, hoists ? chunk : 0, config);
    gathered = arena.take<S>(threads * gathered_each);
  }
};

template <class S>
class Forward : Pass<S, ForwardLayout<S>> {
  using Base = Pass<S, ForwardLayout<S>>;
  using Base::at_, Base::batch, Base::call_, Base::config_, Base::is_last, Base::lease_, Base::model_,
      Base::plan_, Base::slot, Base::tape;

 public:
  Forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor)
      : Base(model, args, scratch, executor, 1, !args.tape), scratch_(scratch) {}

  void run() {
    this->begin();
    if (call_.tape) tape().clear_unwritten();
    if (plan_.wave_steps) {
      run_wavefront();
    } else {
      run_in_turn();
    }
    scratch_.steps += call_.steps;
    this->zero_padding(call_.y, config_.directions() * config_.output_size());
    this->zero_padding(call_.cells, config_.directions() * config_.hidden_size);
  }

 private:
  void run_in_turn() {
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      for (std::int64_t d = 0; d < config_.directions(); ++d) {
        at_.teams[d] = team(layer, d, static_cast<int>(d) % plan_.teams);
      }
      auto job = [&](int thread) {
        const MemberScratch<S> own = scratch_of(thread);
        this->for_each_direction(thread, [&](std::int64_t d, int member) {
          run_member(at_.teams[d], own, member, 0, at_.teams[d].steps());
        });
      };
      lease_.run(plan_.threads(), job);
      for (std::int64_t d = 0; d < config_.directions(); ++d) keep_state(layer, d);
      if (call_.tape && !is_last(layer) && tape().drops()) drop(layer);
    }
  }

  void run_wavefront() {
    for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
      at_.teams[layer] = team(layer, 0, static_cast<int>(layer % plan_.teams));
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

  S* handed_on(std::int64_t layer) const {
    return at_.handed_on + layer % std::max<std::int64_t>(1, at_.handed_on_count) * at_.handed_on_each;
  }
  Plane<const S> input(std::int64_t layer) const {
    if (layer == 0) return call_.x;
    return this->template compact_plane<const S>(call_.tape ? tape().handed_on(layer - 1)
                                                            : handed_on(layer - 1));
  }
  Plane<S> output(std::int64_t layer) const {
    if (is_last(layer)) return call_.y;
    return this->template compact_plane<S>(call_.tape ? tape().output(layer) : handed_on(layer));
  }

  TeamArgs<S> team(std::int64_t layer, std::int64_t d, int index) const {
    const std::int64_t first = slot(layer, d) * call_.batch;
    TeamArgs<S> t = this->make_team(layer, d, index, input(layer), output(layer));
    if (is_last(layer)) t.cells = this->steps_of(call_.cells, at_.cells + first, d, config_.hidden_size);
    t.c = at_.c + first * model_.padded_hidden();
    t.preactivation = at_.preactivation + index * at_.chunk * model_.blocks() * 4 * model_.lanes();
    t.steps_before = scratch_.steps;
    return t;
  }

  MemberScratch<S> scratch_of(int thread) const {
    const std::int64_t rows = call_.batch;
    return {at_.x_rows + thread * at_.x_rows_each,
            at_.h_rows + thread * rows,
            at_.y_rows + thread * rows,
            at_.cell_rows + thread * rows,
            at_.partial + thread * rows * 4 * model_.lanes(),
            at_.gathered + thread * at_.gathered_each};
  }

  void keep_state(std::int64_t layer, std::int64_t d) const {
    const TeamArgs<S>& t = at_.teams[slot(layer, d)];
    const auto h = [&](std::int64_t i) {
      const std::int64_t steps = batch().lengths[i];
      return steps ? t.y.at(steps - 1, i) : t.h0[i];
    };
    const auto c = [&](std::int64_t i) -> const S* {
      const std::int64_t padded = model_.padded_hidden(), steps = batch().lengths[i];
      if (!t.tape.gates) return t.c + i * padded;
      const std::int64_t at = steps ? call_.batch + batch().positions[steps - 1] : 0;
      return t.tape.cells + (at + i) * padded;
    };
    this->put_state(layer, d, h, call_.h_n, c, call_.c_n);
  }

  void drop(std::int64_t layer) const {
    const std::int64_t width = config_.directions() * config_.output_size();
    const Dropout<S> mask(call_.training.dropout, call_.training.seed, layer);
    const S* from = tape().output(layer);
    S* to = tape().handed_on(layer);
    for (std::int64_t t = 0; t < call_.steps; ++t) {
      for (std::int64_t p = batch().positions[t]; p < batch().positions[t + 1]; ++p) {
        const std::int64_t row = batch().order[p - batch().positions[t]];
        const std::int64_t first = (t * call_.batch + row) * width;
        for (std::int64_t j = 0; j < width; ++j)
          to[p * width + j] = from[p * width + j] * mask.factor(first + j);
      }
    }
  }

  Scratch& scratch_;
};

}  // namespace

template <class S>
void forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor) {
  if (args.tape) model.require_trainable();
  Forward<S>(model, args, scratch, executor).run();
}

template void forward(const Model<float>&, const ForwardArgs<float>&, Scratch&, Executor&);
template void forward(const Model<double>&, const ForwardArgs<double>&, Scratch&, Executor&);

}  // namespace cellgate
