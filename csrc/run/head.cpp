// The linear head of a network, and the scaling around it.
#include "run/head.hpp"

#include <algorithm>

#include "run/softmax.hpp"

namespace cellgate {
namespace {

template <class S>
void activate(const Network<S>& network, Activation activation, S* y, std::int64_t count) noexcept {
  switch (activation) {
    case Activation::kLinear:
      return;
    case Activation::kSigmoid:
      return network.kernels().sigmoid(y, y, count);
    case Activation::kTanh:
      return network.kernels().tanh(y, y, count);
    case Activation::kRelu:
      for (std::int64_t j = 0; j < count; ++j) y[j] = y[j] < 0 ? S(0) : y[j];
      return;
    case Activation::kSoftmax:
      return softmax(y, count);
  }
}

}  // namespace

template <class S>
void scale_input(const Network<S>& network, const S* x, std::ptrdiff_t stride, S* z) noexcept {
  const NetworkParts<S>& parts = network.parts();
  const std::int64_t count = network.config().input_size;
  const S gain = static_cast<S>(parts.input_gain);
  for (std::int64_t j = 0; j < count; ++j) z[j] = x[j * stride];
  if (parts.input_gain != 1.0) {
    for (std::int64_t j = 0; j < count; ++j) z[j] = gain * z[j];
  }
  if (!parts.input_mean.empty()) {
    const S* mean = parts.input_mean.data();
    for (std::int64_t j = 0; j < count; ++j) z[j] = z[j] - mean[j];
  }
  if (!parts.input_scale.empty()) {
    const S* scale = parts.input_scale.data();
    for (std::int64_t j = 0; j < count; ++j) z[j] = z[j] / scale[j];
  }
}

template <class S>
void pool_step(const Network<S>& network, const S* h, std::int64_t count, S* sum, S* pooled) noexcept {
  const bool mean = network.parts().pooling == Pooling::kMean;
  const S steps = static_cast<S>(count);
  for (std::int64_t j = 0; j < network.features(); ++j) {
    sum[j] = sum[j] + h[j];
    pooled[j] = mean ? sum[j] / steps : h[j];
  }
}

template <class S>
void head_sums(const Network<S>& network, const HeadArgs<S>& args, const Share& panels) noexcept {
  if (!network.has_head()) {
    for (std::int64_t row = 0; row < args.rows; ++row)
      std::copy_n(args.h[row], network.features(), args.y[row]);
    return;
  }
  GemmArgs<S> g{};
  g.rows = args.rows;
  g.depth = network.features();
  g.panel_begin = panels.begin;
  g.panel_end = panels.end;
  g.a = args.h;
  g.panels = network.head_panels();
  g.start = network.head_bias();
  g.out = args.y;
  g.out_columns = network.output_size();
  g.partial = args.partial;
  g.gathered = args.gathered;
  if (args.rows > 0 && panels.size() > 0) network.kernels().gemm(g);
}

template <class S>
void finish_head(const Network<S>& network, const HeadArgs<S>& args) noexcept {
  const NetworkParts<S>& parts = network.parts();
  const std::int64_t count = network.output_size();
  const Activation activation = parts.head ? parts.head->activation : Activation::kLinear;
  const S skip = static_cast<S>(parts.skip), gain = static_cast<S>(parts.output_gain);
  const S input_gain = static_cast<S>(parts.input_gain);
  for (std::int64_t row = 0; row < args.rows; ++row) {
    S* y = args.y[row];
    activate(network, activation, y, count);
    if (parts.skip != 0.0) {
      for (std::int64_t j = 0; j < count; ++j)
        y[j] = y[j] + skip * (input_gain * args.x[row][j * args.x_stride]);
    }
    if (parts.output_gain != 1.0) {
      for (std::int64_t j = 0; j < count; ++j) y[j] = gain * y[j];
    }
  }
}

template void scale_input(const Network<float>&, const float*, std::ptrdiff_t, float*) noexcept;
template void scale_input(const Network<double>&, const double*, std::ptrdiff_t, double*) noexcept;
template void pool_step(const Network<float>&, const float*, std::int64_t, float*, float*) noexcept;
template void pool_step(const Network<double>&, const double*, std::int64_t, double*, double*) noexcept;
template void head_sums(const Network<float>&, const HeadArgs<float>&, const Share&) noexcept;
template void head_sums(const Network<double>&, const HeadArgs<double>&, const Share&) noexcept;
template void finish_head(const Network<float>&, const HeadArgs<float>&) noexcept;
template void finish_head(const Network<double>&, const HeadArgs<double>&) noexcept;

}  // namespace cellgate
