// The next steps of one sequence, without an allocation.
#include "run/frames.hpp"

#include <algorithm>
#include <new>

#include "run/floating_mode.hpp"

namespace cellgate {
namespace {

// Up to this many inputs, the product of x is computed within each step: it does not depend on h, and takes
// less time than writing its result and reading it again.
constexpr std::int64_t kFewInputs = 4;

std::int64_t padded(std::int64_t count, std::int64_t lanes) { return (count + lanes - 1) / lanes * lanes; }

}  // namespace

template <class S>
Frames<S>::Frames(Arena& arena, const Network<S>& network)
    : network_(network),
      kernels_(network.kernels()),
      h_step_(padded(network.config().output_size(), network.lstm().lanes())),
      inputs_(network.config().input_size),
      outputs_(network.output_size()),
      layer_count_(network.config().num_layers),
      scales_(network.scales_input()),
      projects_(network.config().proj_size > 0),
      passes_(network.passes_output()) {
  const Config& config = network.config();
  const Model<S>& lstm = network.lstm();
  const std::int64_t width = 4 * lstm.lanes();
  const std::int64_t depth = std::max(config.widest_input(), config.hidden_size);
  layers_ = arena.take<Layer>(layer_count_);
  z_ = arena.take<S>(kChunk * inputs_);
  y_ = arena.take<S>(kChunk * outputs_);
  preactivation_ = arena.take<S>(kChunk * lstm.blocks() * width);
  cell_output_ = arena.take<S>(projects_ ? lstm.padded_hidden() : 0);
  pooled_ = arena.take<S>(network.pools() ? kChunk * network.features() : 0);
  sum_ = arena.take<S>(network.pools() ? network.features() : 0);
  partial_ = arena.take<S>(kChunk * width);
  gathered_ = arena.take<S>(kChunk * (depth + h_step_));
  read_rows_ = arena.take<const S*>(kChunk);
  x_rows_ = arena.take<const S*>(kChunk);
  write_rows_ = arena.take<S*>(kChunk);
  for (std::int64_t layer = 0; layer < layer_count_; ++layer) describe_layer(layer, arena);
  if (layers_) describe_head();
}

template <class S>
void Frames<S>::describe_layer(std::int64_t layer, Arena& arena) noexcept {
  const Model<S>& lstm = network_.lstm();
  S* const h = arena.take<S>((1 + kChunk) * h_step_);
  S* const c = arena.take<S>(lstm.padded_hidden());
  if (!layers_) return;
  const PackedLayer<S>& weights = lstm.layer(layer, 0);
  Layer& to = *new (layers_ + layer) Layer{};
  to.h = h;
  to.steps.blocks = lstm.blocks();
  to.steps.units = weights.units_view();
  to.steps.input_size = weights.input_size;
  to.steps.w = weights.w.view();
  to.steps.recurrent_size = network_.config().output_size();
  to.steps.r = weights.r.view();
  to.steps.h_step = h_step_;
  to.steps.c = c;
  to.product.depth = weights.input_size;
  to.product.panel_end = lstm.blocks();
  to.product.panels = weights.w.view();
  to.product.start = weights.units.of[kBias].data();
  to.product.c = preactivation_;
  to.product.gathered = gathered_;
}

template <class S>
void Frames<S>::describe_head() noexcept {
  const NetworkParts<S>& parts = network_.parts();
  finishes_ = parts.skip != 0.0 || parts.output_gain != 1.0 ||
              (parts.head && parts.head->activation != Activation::kLinear);
  head_in_steps_ = parts.head && !network_.pools() && !projects_ && outputs_ <= network_.lstm().lanes();
  if (head_in_steps_) {
    CellStepsArgs<S>& last = layers_[layer_count_ - 1].steps;
    last.outputs = outputs_;
    last.head = network_.head_panels();
    last.head_row = network_.head_row();
    last.head_start = network_.head_bias();
  }
  plain_ = layer_count_ == 1 && head_in_steps_ && !finishes_ && !scales_;
  head_.x = x_rows_;
  head_.y = write_rows_;
  head_.partial = partial_;
  head_.gathered = gathered_;
  for (std::int64_t t = 0; t < kChunk; ++t) write_rows_[t] = y_ + t * outputs_;
}

template <class S>
void Frames<S>::reset() noexcept {
  at_ = 0;
  for (std::int64_t layer = 0; layer < layer_count_; ++layer) {
    std::fill_n(layers_[layer].h, h_step_, S(0));
    std::fill_n(layers_[layer].steps.c, network_.lstm().padded_hidden(), S(0));
  }
  if (network_.initial_h()) set_state(network_.initial_h(), network_.initial_c());
  pooled_frames_ = 0;
  if (network_.pools()) std::fill_n(sum_, network_.features(), S(0));
}

template <class S>
void Frames<S>::get_state(S* h, S* c) const noexcept {
  const std::int64_t width = network_.config().output_size(), hidden = network_.config().hidden_size;
  for (std::int64_t layer = 0; layer < layer_count_; ++layer) {
    std::copy_n(layers_[layer].h + at_ * h_step_, width, h + layer * width);
    std::copy_n(layers_[layer].steps.c, hidden, c + layer * hidden);
  }
}

template <class S>
void Frames<S>::set_state(const S* h, const S* c) noexcept {
  const std::int64_t width = network_.config().output_size(), hidden = network_.config().hidden_size;
  for (std::int64_t layer = 0; layer < layer_count_; ++layer) {
    std::copy_n(h + layer * width, width, layers_[layer].h + at_ * h_step_);
    std::copy_n(c + layer * hidden, hidden, layers_[layer].steps.c);
  }
}

template <class S>
void Frames<S>::rewind() noexcept {
  for (std::int64_t layer = 0; layer < layer_count_; ++layer) {
    S* const h = layers_[layer].h;
    std::copy_n(h + at_ * h_step_, h_step_, h);
  }
  at_ = 0;
}

template <class S>
void Frames<S>::process(std::int64_t frames, const S* in, std::ptrdiff_t in_frame, std::ptrdiff_t in_feature,
                        S* out, std::ptrdiff_t out_frame, std::ptrdiff_t out_feature) noexcept {
  const FlushDenormals flush;
  if (frames == 1 && plain_ && (in_feature == 1 || inputs_ == 1) && (out_feature == 1 || outputs_ == 1)) {
    if (at_ == kChunk) rewind();
    run_steps(layers_[0], 1, true, in, 0, out, 0);
    ++at_;
    return;
  }
  for (std::int64_t done = 0; done < frames;) {
    const std::int64_t count = std::min(kChunk, frames - done);
    if (at_ + count > kChunk) rewind();
    run_chunk(count, in + done * in_frame, in_frame, in_feature, out + done * out_frame, out_frame,
              out_feature);
    at_ += count;
    done += count;
  }
}

template <class S>
const S* const* Frames<S>::rows(const S* first, std::ptrdiff_t step, std::int64_t count) noexcept {
  for (std::int64_t i = 0; i < count; ++i) read_rows_[i] = first + i * step;
  return read_rows_;
}

template <class S>
void Frames<S>::run_chunk(std::int64_t frames, const S* in, std::ptrdiff_t in_frame,
                          std::ptrdiff_t in_feature, S* out, std::ptrdiff_t out_frame,
                          std::ptrdiff_t out_feature) noexcept {
  const S* x = in;
  std::ptrdiff_t x_step = in_frame;
  if (scales_ || (in_feature != 1 && inputs_ > 1)) {
    for (std::int64_t t = 0; t < frames; ++t)
      scale_input(network_, in + t * in_frame, in_feature, z_ + t * inputs_);
    x = z_;
    x_step = inputs_;
  }
  const bool direct = head_in_steps_ && !finishes_ && (out_feature == 1 || outputs_ == 1);
  for (std::int64_t layer = 0; layer < layer_count_; ++layer) {
    run_layer(layers_[layer], network_.lstm().layer(layer, 0), frames, x, x_step, direct ? out : y_,
              direct ? out_frame : outputs_);
    x = layers_[layer].h + (at_ + 1) * h_step_;
    x_step = h_step_;
  }
  if (network_.pools()) {
    for (std::int64_t t = 0; t < frames; ++t)
      pool_step(network_, x + t * x_step, ++pooled_frames_, sum_, pooled_ + t * network_.features());
    x = pooled_;
    x_step = network_.features();
  }
  if (direct) return;
  if (passes_ && out_feature == 1) {
    for (std::int64_t t = 0; t < frames; ++t) std::copy_n(x + t * x_step, outputs_, out + t * out_frame);
    return;
  }
  if (!head_in_steps_ || finishes_) run_head(frames, x, x_step, in, in_frame, in_feature);
  for (std::int64_t t = 0; t < frames; ++t) {
    S* to = out + t * out_frame;
    const S* from = y_ + t * outputs_;
    for (std::int64_t j = 0; j < outputs_; ++j) to[j * out_feature] = from[j];
  }
}

template <class S>
void Frames<S>::run_layer(Layer& at, const PackedLayer<S>& weights, std::int64_t frames, const S* x,
                          std::ptrdiff_t x_step, S* out, std::ptrdiff_t out_step) noexcept {
  const bool with_step = !projects_ && (frames == 1 || at.steps.input_size <= kFewInputs);
  if (!with_step) {
    at.product.rows = frames;
    at.product.a = rows(x, x_step, frames);
    at.product.c_panel_stride = frames * 4 * kernels_.lanes;
    kernels_.gemm(at.product);
  }
  if (projects_) return run_projected(at, weights, frames);
  run_steps(at, frames, with_step, x, x_step, out, out_step);
}

// `with_step`: the product of x is not computed yet.
template <class S>
void Frames<S>::run_steps(Layer& at, std::int64_t frames, bool with_step, const S* x, std::ptrdiff_t x_step,
                          S* out, std::ptrdiff_t out_step) noexcept {
  at.steps.steps = frames;
  at.steps.preactivation = with_step ? nullptr : preactivation_;
  at.steps.preactivation_block_stride = at.product.c_panel_stride;
  at.steps.x = x;
  at.steps.x_step = x_step;
  at.steps.h = at.h + at_ * h_step_;
  at.steps.descending = at_ % 2 != 0;  // in the direction opposite to the step before it
  at.steps.out = out;
  at.steps.out_step = out_step;
  kernels_.cell_steps(at.steps);
}

template <class S>
void Frames<S>::run_projected(const Layer& layer, const PackedLayer<S>& weights,
                              std::int64_t frames) noexcept {
  const Model<S>& lstm = network_.lstm();
  const std::int64_t width = 4 * lstm.lanes();
  CellForwardArgs<S> a{};
  a.rows = 1;
  a.block_end = lstm.blocks();
  a.hidden_size = network_.config().hidden_size;
  a.preactivation_block_stride = frames * width;
  a.units = weights.units_view();
  a.recurrent_size = network_.config().output_size();
  a.r = weights.r.view();
  a.c_prev = a.c = layer.steps.c;
  a.c_stride = lstm.padded_hidden();
  a.partial = partial_;
  a.gathered = gathered_;
  GemmArgs<S> g{};
  g.rows = 1;
  g.depth = network_.config().hidden_size;
  g.panel_end = lstm.projection_panels();
  g.panels = weights.projection.view();
  g.out_columns = network_.config().proj_size;
  g.partial = partial_;
  g.gathered = gathered_;
  const S* const cell_row = cell_output_;
  g.a = &cell_row;
  S* const out_row = cell_output_;
  a.out = &out_row;
  for (std::int64_t t = 0; t < frames; ++t) {
    const S* const h = layer.h + (at_ + t) * h_step_;
    S* const next = layer.h + (at_ + t + 1) * h_step_;
    a.preactivation = preactivation_ + t * width;
    a.h = &h;
    g.out = &next;
    lstm.kernels().cell_forward(a);
    lstm.kernels().gemm(g);
  }
}

template <class S>
void Frames<S>::run_head(std::int64_t frames, const S* h, std::ptrdiff_t h_step, const S* in,
                         std::ptrdiff_t in_frame, std::ptrdiff_t in_feature) noexcept {
  head_.rows = frames;
  if (!head_in_steps_) {
    head_.h = rows(h, h_step, frames);
    head_sums(network_, head_, Share(network_.panels(), 0, 1));
  }
  if (!finishes_) return;
  head_.x_stride = in_feature;
  for (std::int64_t t = 0; t < frames; ++t) x_rows_[t] = in + t * in_frame;
  finish_head(network_, head_);
}

template <class S>
std::size_t frames_bytes(const Network<S>& network) {
  Arena measure;
  const Frames<S> frames(measure, network);
  return measure.used();
}

template class Frames<float>;
template class Frames<double>;
template std::size_t frames_bytes(const Network<float>&);
template std::size_t frames_bytes(const Network<double>&);

}  // namespace cellgate
