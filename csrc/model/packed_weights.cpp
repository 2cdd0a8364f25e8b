// Packs PyTorch-shaped weights into panels and back.
#include "model/packed_weights.hpp"

#include <algorithm>
#include <stdexcept>

namespace cellgate {
namespace {

template <class S>
AlignedBuffer<S> copy_of(const S* from, std::int64_t count) {
  AlignedBuffer<S> copy(static_cast<std::size_t>(count));
  std::copy_n(from, count, copy.data());
  return copy;
}

// The sum of both biases as every sum of a panel begins with it.
template <class S>
AlignedBuffer<S> packed_bias(const LayerWeights<S>& from, std::int64_t blocks, const GateRows& gate_rows) {
  const std::int64_t width = 4 * gate_rows.lanes;
  AlignedBuffer<S> bias(static_cast<std::size_t>(blocks * width));
  std::fill_n(bias.data(), blocks * width, S(0));
  const auto element = [](const S* given, std::int64_t at, double absent) {
    return given ? given[at] : S(absent);
  };
  for (std::int64_t block = 0; block < blocks; ++block) {
    gate_rows(block, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
      S* to = bias.data() + block * width + column;
      for (std::int64_t j = 0; j < count; ++j) {
        to[j] = element(from.b_ih, row + j, Absent::b_ih) + element(from.b_hh, row + j, Absent::b_hh);
      }
    });
  }
  return bias;
}

}  // namespace

template <class S>
Model<S>::Model(const Config& config, const std::vector<LayerWeights<S>>& weights, const KernelTable& table,
                WeightType type)
    : config_(config), kernels_(cellgate::kernels<S>(table, type)) {
  validate(config, sizeof(S));
  const auto count = static_cast<std::size_t>(config.num_layers * config.directions());
  if (weights.size() != count) {
    throw std::invalid_argument("weights: must have " + std::to_string(count) +
                                " entries (num_layers * directions), got " + std::to_string(weights.size()));
  }
  const std::int64_t hidden = config.hidden_size, recurrent = config.output_size();
  const GateRows gate_rows{hidden, lanes()};
  layers_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const LayerWeights<S>& from = weights[i];
    PackedLayer<S> to;
    to.input_size = config.layer_input_size(static_cast<std::int64_t>(i) / config.directions());
    to.w = pack(from.w_ih, blocks(), to.input_size, kernels_, gate_rows);
    to.r = pack(from.w_hh, blocks(), recurrent, kernels_, gate_rows);
    to.bias = packed_bias(from, blocks(), gate_rows);
    if (config.bias) {
      to.b_ih = copy_of(from.b_ih, 4 * hidden);
      to.b_hh = copy_of(from.b_hh, 4 * hidden);
    }
    if (config.proj_size) {
      to.projection =
          pack(from.w_hr, projection_panels(), hidden, kernels_, PlainRows{config.proj_size, lanes()});
    }
    layers_.push_back(std::move(to));
  }
}

template <class S>
void Model<S>::require_trainable() const {
  if (kernels_.trains()) return;
  throw std::invalid_argument(std::string("weights: must be stored as ") + name_of(weight_type_of<S>()) +
                              " to be trained, got " + name_of(kernels_.weights));
}

template <class S>
void Model<S>::unpack(std::int64_t layer, std::int64_t direction, const MutableLayerWeights<S>& to) const {
  const PackedLayer<S>& from = this->layer(layer, direction);
  const std::int64_t hidden = config_.hidden_size;
  const GateRows gate_rows{hidden, lanes()};
  cellgate::unpack(from.w.view(), 0, blocks(), from.input_size, kernels_, gate_rows, to.w_ih);
  cellgate::unpack(from.r.view(), 0, blocks(), config_.output_size(), kernels_, gate_rows, to.w_hh);
  if (config_.bias) {
    std::copy_n(from.b_ih.data(), 4 * hidden, to.b_ih);
    std::copy_n(from.b_hh.data(), 4 * hidden, to.b_hh);
  }
  if (config_.proj_size) {
    cellgate::unpack(from.projection.view(), 0, projection_panels(), hidden, kernels_,
                     PlainRows{config_.proj_size, lanes()}, to.w_hr);
  }
}

template class Model<float>;
template class Model<double>;

}  // namespace cellgate
