// Packs PyTorch-shaped weights into panels and back.
#include "model/packed_weights.hpp"

#include <algorithm>
#include <stdexcept>

namespace cellgate {
namespace {

// A matrix of PyTorch's, [rows, depth], beside its panels, [groups][depth][4 * lanes]: calls
// visit(first row, columns of the panel where it stands, rows) for every run of rows that lie side by
// side in both. Gates: group g has units [g * lanes, ...) of gate q in its columns q * lanes. Plain:
// group g has rows [g * 4 * lanes, ...).
struct GateRows {
  std::int64_t hidden_size, lanes;
  template <class Visit>
  void operator()(std::int64_t group, const Visit& visit) const {
    const std::int64_t unit = group * lanes, count = std::min(lanes, hidden_size - unit);
    for (std::int64_t q = 0; q < 4; ++q) visit(q * hidden_size + unit, q * lanes, count);
  }
};

struct PlainRows {
  std::int64_t columns, lanes;
  template <class Visit>
  void operator()(std::int64_t group, const Visit& visit) const {
    const std::int64_t row = group * 4 * lanes;
    visit(row, 0, std::min(4 * lanes, columns - row));
  }
};

template <class S, class RowsOf>
AlignedBuffer<S> pack(const S* source, std::int64_t groups, std::int64_t depth, const Kernels<S>& kernels,
                      const RowsOf& rows_of) {
  const std::int64_t width = 4 * kernels.lanes;
  AlignedBuffer<S> packed(static_cast<std::size_t>(groups * depth * width));
  for (std::int64_t group = 0; group < groups; ++group) {
    S* panel = packed.data() + group * depth * width;
    if (group + 1 == groups) std::fill_n(panel, depth * width, S(0));  // it may have padding
    rows_of(group, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
      TransposeArgs<S> t{};
      t.rows = count;
      t.columns = depth;
      t.from = source + row * depth;
      t.from_stride = depth;
      t.to = panel + column;
      t.to_stride = width;
      kernels.transpose(t);
    });
  }
  return packed;
}

template <class S, class RowsOf>
void unpack_panels(const AlignedBuffer<S>& packed, S* target, std::int64_t groups, std::int64_t depth,
                   const Kernels<S>& kernels, const RowsOf& rows_of) {
  const std::int64_t width = 4 * kernels.lanes;
  for (std::int64_t group = 0; group < groups; ++group) {
    rows_of(group, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
      TransposeArgs<S> t{};
      t.rows = depth;
      t.columns = count;
      t.from = packed.data() + group * depth * width + column;
      t.from_stride = width;
      t.to = target + row * depth;
      t.to_stride = depth;
      kernels.transpose(t);
    });
  }
}

template <class S>
AlignedBuffer<S> copy_of(const S* from, std::int64_t count) {
  AlignedBuffer<S> copy(static_cast<std::size_t>(count));
  std::copy_n(from, count, copy.data());
  return copy;
}

}  // namespace

template <class S>
Model<S>::Model(const Config& config, const std::vector<LayerWeights<S>>& weights, const KernelTable& table)
    : config_(config), kernels_(cellgate::kernels<S>(table)) {
  validate(config, sizeof(S));
  const auto cells = static_cast<std::size_t>(config.num_layers * config.directions());
  if (weights.size() != cells) {
    throw std::invalid_argument("weights: must have " + std::to_string(cells) +
                                " entries (num_layers * directions), got " + std::to_string(weights.size()));
  }
  const std::int64_t hidden = config.hidden_size, recurrent = config.output_size();
  const GateRows gate_rows{hidden, lanes()};
  layers_.reserve(cells);
  for (std::size_t i = 0; i < cells; ++i) {
    const LayerWeights<S>& from = weights[i];
    PackedLayer<S> to;
    to.input_size = config.layer_input_size(static_cast<std::int64_t>(i) / config.directions());
    to.w = pack(from.w_ih, blocks(), to.input_size, kernels_, gate_rows);
    to.r = pack(from.w_hh, blocks(), recurrent, kernels_, gate_rows);
    AlignedBuffer<S> sum(static_cast<std::size_t>(4 * hidden));
    if (config.bias) {
      to.b_ih = copy_of(from.b_ih, 4 * hidden);
      to.b_hh = copy_of(from.b_hh, 4 * hidden);
    }
    for (std::int64_t j = 0; j < 4 * hidden; ++j)
      sum.data()[j] = config.bias ? from.b_ih[j] + from.b_hh[j] : S(0);
    to.bias = pack(static_cast<const S*>(sum.data()), blocks(), 1, kernels_, gate_rows);
    if (config.proj_size) {
      to.projection =
          pack(from.w_hr, projection_panels(), hidden, kernels_, PlainRows{config.proj_size, lanes()});
    }
    layers_.push_back(std::move(to));
  }
}

template <class S>
void Model<S>::unpack(std::int64_t layer, std::int64_t direction, const MutableLayerWeights<S>& to) const {
  const PackedLayer<S>& from = this->layer(layer, direction);
  const std::int64_t hidden = config_.hidden_size;
  const GateRows gate_rows{hidden, lanes()};
  unpack_panels(from.w, to.w_ih, blocks(), from.input_size, kernels_, gate_rows);
  unpack_panels(from.r, to.w_hh, blocks(), config_.output_size(), kernels_, gate_rows);
  if (config_.bias) {
    std::copy_n(from.b_ih.data(), 4 * hidden, to.b_ih);
    std::copy_n(from.b_hh.data(), 4 * hidden, to.b_hh);
  }
  if (config_.proj_size) {
    unpack_panels(from.projection, to.w_hr, projection_panels(), hidden, kernels_,
                  PlainRows{config_.proj_size, lanes()});
  }
}

template class Model<float>;
template class Model<double>;

}  // namespace cellgate
