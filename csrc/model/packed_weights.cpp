// Packs PyTorch-shaped weights into panels and back.
#include "model/packed_weights.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace cellgate {
namespace {

template <class S>
AlignedBuffer<S> copy_of(const S* from, std::int64_t count, const MemorySource* memory) {
  AlignedBuffer<S> copy(static_cast<std::size_t>(count), memory);
  std::copy_n(from, count, copy.data());
  return copy;
}

// Packs the vectors of all sets: sums in the order of the table, zero in what is padding.
template <class S>
void pack_vectors(const Config& config, const LayerWeights<S>& from, std::int64_t blocks, std::int64_t lanes,
                  const MemorySource* memory, PackedLayer<S>& to) {
  const std::int64_t hidden = config.hidden_size, width = 4 * lanes;
  for_each_vectors(config, [&](const VectorsInfo& info, auto member) {
    const S* source = info.present ? member(from) : nullptr;
    if (source) {
      member(to.given) = copy_of(source, info.per_unit * hidden, memory);
    } else if (std::isnan(info.absent)) {
      return;
    }
    AlignedBuffer<S>& packed = to.units.of[info.set];
    const bool first = packed.size() == 0;
    if (first) {
      packed = AlignedBuffer<S>(static_cast<std::size_t>(blocks * width), memory);
      std::fill_n(packed.data(), blocks * width, S(0));
    }
    const GateRows rows_of{hidden, lanes, info.per_unit};
    for (std::int64_t block = 0; block < blocks; ++block) {
      rows_of(block, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
        S* at = packed.data() + block * width + column;
        for (std::int64_t j = 0; j < count; ++j) {
          const S value = source ? source[row + j] : S(info.absent);
          at[j] = first ? value : at[j] + value;
        }
      });
    }
  });
}

}  // namespace

template <class S>
Model<S>::Model(const Config& config, const std::vector<LayerWeights<S>>& weights, const KernelTable& table,
                WeightType type, const MemorySource* memory)
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
    to.w = pack(from.w_ih, blocks(), to.input_size, kernels_, gate_rows, memory);
    to.r = pack(from.w_hh, blocks(), recurrent, kernels_, gate_rows, memory);
    pack_vectors(config, from, blocks(), lanes(), memory, to);
    if (config.proj_size) {
      to.projection = pack(from.w_hr, projection_panels(), hidden, kernels_,
                           PlainRows{config.proj_size, lanes()}, memory);
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
  for_each_vectors(config_, [&](const VectorsInfo& info, auto member) {
    if (info.present) std::copy_n(member(from.given).data(), info.per_unit * hidden, member(to));
  });
  if (config_.proj_size) {
    cellgate::unpack(from.projection.view(), 0, projection_panels(), hidden, kernels_,
                     PlainRows{config_.proj_size, lanes()}, to.w_hr);
  }
}

template class Model<float>;
template class Model<double>;

}  // namespace cellgate
