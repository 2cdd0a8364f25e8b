// Packs PyTorch-shaped weights into panels and back.
#include "packed_weights.hpp"

#include <algorithm>
#include <stdexcept>

namespace cellgate {
namespace {

// Walks a packed matrix in memory order and calls visit(index in packed, row of source) with
// row -1 in the padding. A packed matrix is [groups, depth, 4, lanes].
// Gates: row = q * H + unit. Plain columns: row = (group * 4 + q) * lanes + lane.
struct GateRows {
  std::int64_t hidden_size, lanes;
  std::int64_t operator()(std::int64_t group, std::int64_t q, std::int64_t lane) const {
    const std::int64_t unit = group * lanes + lane;
    return unit < hidden_size ? q * hidden_size + unit : -1;
  }
};

struct PlainRows {
  std::int64_t columns, lanes;
  std::int64_t operator()(std::int64_t group, std::int64_t q, std::int64_t lane) const {
    const std::int64_t column = (group * 4 + q) * lanes + lane;
    return column < columns ? column : -1;
  }
};

// Source rows are long and contiguous, packed columns short: a tile of kTile columns is copied for
// all 4 * lanes rows of a group before the next, so both sides stay in the L1 cache.
constexpr std::int64_t kTile = 16;

template <class RowOf, class Copy>
void walk_panels(std::int64_t groups, std::int64_t depth, std::int64_t lanes, const RowOf& row_of,
                 const Copy& copy) {
  const std::int64_t width = 4 * lanes;
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t k0 = 0; k0 < depth; k0 += kTile) {
      const std::int64_t k1 = std::min(depth, k0 + kTile);
      for (std::int64_t column = 0; column < width; ++column) {
        const std::int64_t row = row_of(group, column / lanes, column % lanes);
        copy(row, k0, k1, (group * depth + k0) * width + column, width);
      }
    }
  }
}

template <class S, class RowOf>
AlignedBuffer<S> pack(const S* source, std::int64_t groups, std::int64_t depth, std::int64_t lanes,
                      const RowOf& row_of) {
  AlignedBuffer<S> packed(static_cast<std::size_t>(groups * depth * 4 * lanes));
  S* to = packed.data();
  walk_panels(groups, depth, lanes, row_of,
              [=](std::int64_t row, std::int64_t k0, std::int64_t k1, std::int64_t at, std::int64_t step) {
                for (std::int64_t k = k0; k < k1; ++k, at += step) {
                  to[at] = row < 0 || !source ? S(0) : source[row * depth + k];
                }
              });
  return packed;
}

template <class S, class RowOf>
void unpack_panels(const AlignedBuffer<S>& packed, S* target, std::int64_t groups, std::int64_t depth,
                   std::int64_t lanes, const RowOf& row_of) {
  const S* from = packed.data();
  walk_panels(groups, depth, lanes, row_of,
              [=](std::int64_t row, std::int64_t k0, std::int64_t k1, std::int64_t at, std::int64_t step) {
                if (row < 0) return;
                for (std::int64_t k = k0; k < k1; ++k, at += step) target[row * depth + k] = from[at];
              });
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
    to.w = pack(from.w_ih, blocks(), to.input_size, lanes(), gate_rows);
    to.r = pack(from.w_hh, blocks(), recurrent, lanes(), gate_rows);
    AlignedBuffer<S> sum(static_cast<std::size_t>(4 * hidden));
    if (config.bias) {
      to.b_ih = copy_of(from.b_ih, 4 * hidden);
      to.b_hh = copy_of(from.b_hh, 4 * hidden);
    }
    for (std::int64_t j = 0; j < 4 * hidden; ++j)
      sum.data()[j] = config.bias ? from.b_ih[j] + from.b_hh[j] : S(0);
    to.bias = pack(static_cast<const S*>(sum.data()), blocks(), 1, lanes(), gate_rows);
    if (config.proj_size) {
      to.projection =
          pack(from.w_hr, projection_panels(), hidden, lanes(), PlainRows{config.proj_size, lanes()});
    }
    layers_.push_back(std::move(to));
  }
}

template <class S>
void Model<S>::unpack(std::int64_t layer, std::int64_t direction, const MutableLayerWeights<S>& to) const {
  const PackedLayer<S>& from = this->layer(layer, direction);
  const std::int64_t hidden = config_.hidden_size;
  const GateRows gate_rows{hidden, lanes()};
  unpack_panels(from.w, to.w_ih, blocks(), from.input_size, lanes(), gate_rows);
  unpack_panels(from.r, to.w_hh, blocks(), config_.output_size(), lanes(), gate_rows);
  if (config_.bias) {
    std::copy_n(from.b_ih.data(), 4 * hidden, to.b_ih);
    std::copy_n(from.b_hh.data(), 4 * hidden, to.b_hh);
  }
  if (config_.proj_size) {
    unpack_panels(from.projection, to.w_hr, projection_panels(), hidden, lanes(),
                  PlainRows{config_.proj_size, lanes()});
  }
}

template class Model<float>;
template class Model<double>;

}  // namespace cellgate
