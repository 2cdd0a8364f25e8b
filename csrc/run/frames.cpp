// The next steps of one sequence, in memory that is there already.
#include "run/frames.hpp"

#include <algorithm>

#include "run/floating_mode.hpp"

namespace cellgate {
namespace {

// Up to so many inputs their product is computed with each step: it does not wait for h, and takes less time
// than to write its result and read it again.
constexpr std::int64_t kFewInputs = 4;

}  // namespace

template <class S>
Frames<S>::Frames(Arena& arena, const Network<S>& network)
    : network_(network),
      h_step_((network.config().output_size() + network.lstm().lanes() - 1) / network.lstm().lanes() *
              network.lstm().lanes()) {
  const Config& config = network.config();
  const Model<S>& lstm = network.lstm();
  const std::int64_t padded = lstm.padded_hidden(), width = 4 * lstm.lanes();
  const std::int64_t depth = std::max(config.widest_input(), config.hidden_size);
  layers_ = arena.take<Layer>(config.num_layers);
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const Layer at{arena.take<S>((1 + kChunk) * h_step_), arena.take<S>(padded)};
    if (layers_) layers_[layer] = at;
  }
  z_ = arena.take<S>(kChunk * config.input_size);
  y_ = arena.take<S>(kChunk * network.output_size());
  preactivation_ = arena.take<S>(kChunk * lstm.blocks() * width);
  cell_output_ = arena.take<S>(config.proj_size ? padded : 0);
  pooled_ = arena.take<S>(network.pools() ? kChunk * network.features() : 0);
  sum_ = arena.take<S>(network.pools() ? network.features() : 0);
  partial_ = arena.take<S>(kChunk * width);
  gathered_ = arena.take<S>(kChunk * (depth + h_step_));
  read_rows_ = arena.take<const S*>(kChunk);
  x_rows_ = arena.take<const S*>(kChunk);
  write_rows_ = arena.take<S*>(kChunk);
  pooled_frames_ = arena.take<std::int64_t>(1);
}

template <class S>
void Frames<S>::reset() noexcept {
  const Config& config = network_.config();
  const std::int64_t padded = network_.lstm().padded_hidden();
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    std::fill_n(layers_[layer].h, h_step_, S(0));
    std::fill_n(layers_[layer].c, padded, S(0));
  }
  if (network_.initial_h()) set_state(network_.initial_h(), network_.initial_c());
  *pooled_frames_ = 0;
  if (network_.pools()) std::fill_n(sum_, network_.features(), S(0));
}

template <class S>
void Frames<S>::get_state(S* h, S* c) const noexcept {
  const std::int64_t width = network_.config().output_size(), hidden = network_.config().hidden_size;
  for (std::int64_t layer = 0; layer < network_.config().num_layers; ++layer) {
    std::copy_n(layers_[layer].h, width, h + layer * width);
    std::copy_n(layers_[layer].c, hidden, c + layer * hidden);
  }
}

template <class S>
void Frames<S>::set_state(const S* h, const S* c) noexcept {
  const std::int64_t width = network_.config().output_size(), hidden = network_.config().hidden_size;
  for (std::int64_t layer = 0; layer < network_.config().num_layers; ++layer) {
    std::copy_n(h + layer * width, width, layers_[layer].h);
    std::copy_n(c + layer * hidden, hidden, layers_[layer].c);
  }
}

template <class S>
void Frames<S>::process(std::int64_t frames, const S* in, std::ptrdiff_t in_frame, std::ptrdiff_t in_feature,
                        S* out, std::ptrdiff_t out_frame, std::ptrdiff_t out_feature) noexcept {
  const FlushDenormals flush;
  for (std::int64_t done = 0; done < frames; done += kChunk) {
    run_chunk(std::min(kChunk, frames - done), in + done * in_frame, in_frame, in_feature,
              out + done * out_frame, out_frame, out_feature);
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
  const Config& config = network_.config();
  const S* x = in;
  std::ptrdiff_t x_step = in_frame;
  if (network_.scales_input() || (in_feature != 1 && config.input_size > 1)) {
    for (std::int64_t t = 0; t < frames; ++t)
      scale_input(network_, in + t * in_frame, in_feature, z_ + t * config.input_size);
    x = z_;
    x_step = config.input_size;
  }
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    run_layer(layer, frames, x, x_step);
    x = layers_[layer].h + h_step_;
    x_step = h_step_;
  }
  if (network_.pools()) {
    pool(frames, x);
    x = pooled_;
    x_step = network_.features();
  }

  const std::int64_t outputs = network_.output_size();
  const bool direct = out_feature == 1 || outputs == 1;
  HeadArgs<S> head{};
  head.rows = frames;
  head.h = rows(x, x_step, frames);
  head.x = x_rows_;
  head.x_stride = in_feature;
  head.y = write_rows_;
  head.partial = partial_;
  head.gathered = gathered_;
  for (std::int64_t t = 0; t < frames; ++t) {
    x_rows_[t] = in + t * in_frame;
    write_rows_[t] = y_ + t * outputs;
  }
  head_sums(network_, head, Share(network_.panels(), 0, 1));
  finish_head(network_, head);
  for (std::int64_t t = 0; t < frames; ++t) {
    S* to = out + t * out_frame;
    const S* from = y_ + t * outputs;
    if (direct) {
      std::copy_n(from, outputs, to);
    } else {
      for (std::int64_t j = 0; j < outputs; ++j) to[j * out_feature] = from[j];
    }
  }
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer)
    std::copy_n(layers_[layer].h + frames * h_step_, config.output_size(), layers_[layer].h);
}

template <class S>
void Frames<S>::run_layer(std::int64_t layer, std::int64_t frames, const S* x,
                          std::ptrdiff_t x_step) noexcept {
  const Model<S>& lstm = network_.lstm();
  const PackedLayer<S>& weights = lstm.layer(layer, 0);
  const Layer& at = layers_[layer];
  const std::int64_t width = 4 * lstm.lanes(), projected = network_.config().proj_size;
  const bool with_step = !projected && (frames == 1 || weights.input_size <= kFewInputs);
  if (!with_step) {
    GemmArgs<S> g{};
    g.rows = frames;
    g.depth = weights.input_size;
    g.panel_end = lstm.blocks();
    g.a = rows(x, x_step, frames);
    g.panels = weights.w.view();
    g.start = weights.units.of[kBias].data();
    g.c = preactivation_;
    g.c_panel_stride = frames * width;
    g.gathered = gathered_;
    lstm.kernels().gemm(g);
  }
  if (projected) return run_projected(weights, at, frames);
  CellStepsArgs<S> a{};
  a.steps = frames;
  a.blocks = lstm.blocks();
  a.units = weights.units_view();
  if (with_step) {
    a.x = x;
    a.x_step = x_step;
    a.input_size = weights.input_size;
    a.w = weights.w.view();
  } else {
    a.preactivation = preactivation_;
    a.preactivation_block_stride = frames * width;
  }
  a.recurrent_size = network_.config().hidden_size;
  a.r = weights.r.view();
  a.h = at.h;
  a.h_step = h_step_;
  a.c = at.c;
  lstm.kernels().cell_steps(a);
}

template <class S>
void Frames<S>::run_projected(const PackedLayer<S>& weights, const Layer& at, std::int64_t frames) noexcept {
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
  a.c_prev = a.c = at.c;
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
    const S* const h = at.h + t * h_step_;
    S* const next = at.h + (t + 1) * h_step_;
    a.preactivation = preactivation_ + t * width;
    a.h = &h;
    g.out = &next;
    lstm.kernels().cell_forward(a);
    lstm.kernels().gemm(g);
  }
}

template <class S>
void Frames<S>::pool(std::int64_t frames, const S* h) noexcept {
  const std::int64_t features = network_.features();
  const bool mean = network_.parts().pooling == Pooling::kMean;
  for (std::int64_t t = 0; t < frames; ++t) {
    const S* from = h + t * h_step_;
    S* to = pooled_ + t * features;
    const S count = static_cast<S>(++*pooled_frames_);
    for (std::int64_t j = 0; j < features; ++j) {
      sum_[j] = sum_[j] + from[j];
      to[j] = mean ? sum_[j] / count : from[j];
    }
  }
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
