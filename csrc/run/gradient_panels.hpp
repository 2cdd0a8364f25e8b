// Weights turned the way that back-propagation multiplies by them, and gradients turned back into
// PyTorch's layout. Called by backward.cpp; calls only KernelTable.
#pragma once

#include "run/layer_forward.hpp"

namespace cellgate {

// All depths count whole blocks of units: 4 * padded H, gate by gate.
template <class S>
struct TransposedLayer {
  S* w;           // [panels of I columns] of depth 4 * padded H, or null: the input's gradient is not wanted
  S* r;           // [panels of P or H columns] of depth 4 * padded H
  S* projection;  // [panels of H columns] of depth P, with projection
};

// Sums over all steps, in the layout of the packed weights.
template <class S>
struct GradientPanels {
  S* w;                   // [blocks] of depth I
  S* r;                   // [blocks] of depth P or H
  UnitVectors<S*> units;  // each [blocks, 4, lanes]
  S* projection;          // [panels of H columns] of depth P
};

// Panels of a plain product with this many columns.
inline std::int64_t plain_panels(std::int64_t columns, std::int64_t lanes) {
  return (columns + 4 * lanes - 1) / (4 * lanes);
}

// One member's share. What belongs to columns beyond the last is left as it is and never stored.
template <class S>
void transpose_weights(const Model<S>& model, const PackedLayer<S>& from, const TransposedLayer<S>& to,
                       int member, int members) noexcept;

// Where a layer's gradients go, in PyTorch's layout; null where the configuration does not have them.
template <class S>
struct GradientTarget {
  MutableLayerWeights<S> to;
  bool accumulate;  // add to what is there
};

// One member's share; `room` holds lanes * max(I, P or H) scalars.
template <class S>
void unpack_gradients(const Model<S>& model, std::int64_t input_size, const GradientPanels<S>& from,
                      const GradientTarget<S>& target, S* room, int member, int members) noexcept;

}  // namespace cellgate
