// The weights of a model in the layout kernels read (see kernel_table.hpp), packed once and never
// changed after: any number of calls, streams and threads share one. Built by bindings and capi.
#pragma once

#include <vector>

#include "kernels/dispatch.hpp"
#include "memory/workspace.hpp"
#include "model/panels.hpp"
#include "model/weights.hpp"

namespace cellgate {

// The vectors of units as given, [per_unit * H]: a sum of them cannot be taken apart again.
template <class S>
struct GivenVectors {
#define CELLGATE_VECTORS(member, set, name, shape, condition, absent) AlignedBuffer<S> member;
#include "model/parameters.def"
};

template <class S>
struct PackedLayer {
  std::int64_t input_size = 0;
  Panels w;                             // [blocks] of depth input_size
  Panels r;                             // [blocks] of depth P or H
  UnitVectors<AlignedBuffer<S>> units;  // each [blocks, 4, lanes], or empty; the bias always
  GivenVectors<S> given;
  Panels projection;  // [panels of P columns] of depth H

  UnitVectors<const S*> units_view() const {
    UnitVectors<const S*> view;
    for (int set = 0; set < kUnitSets; ++set) view.of[set] = units.of[set].data();
    return view;
  }
};

template <class S>
class Model {
 public:
  using Scalar = S;

  // `weights` has one entry for each layer and direction, ordered as PyTorch's parameters:
  // layer 0 forward, layer 0 reverse, layer 1 forward, ... They are stored as `type`, which must be a type
  // for S, in memory of `memory`, which must outlive this. Throws as validate() and kernels() do.
  Model(const Config& config, const std::vector<LayerWeights<S>>& weights, const KernelTable& table,
        WeightType type = weight_type_of<S>(), const MemorySource* memory = nullptr);
  // On the instruction set of this process.
  Model(const Config& config, const std::vector<LayerWeights<S>>& weights)
      : Model(config, weights, kernel_table_for(config.hidden_size, sizeof(S))) {}

  const Config& config() const { return config_; }
  const Kernels<S>& kernels() const { return kernels_; }
  const PackedLayer<S>& layer(std::int64_t layer, std::int64_t direction) const {
    return layers_[static_cast<std::size_t>(layer * config_.directions() + direction)];
  }
  std::int64_t lanes() const { return kernels_.lanes; }
  std::int64_t blocks() const { return (config_.hidden_size + lanes() - 1) / lanes(); }
  std::int64_t padded_hidden() const { return config_.padded_hidden(lanes()); }
  std::int64_t projection_panels() const { return (config_.proj_size + 4 * lanes() - 1) / (4 * lanes()); }

  // Throws std::invalid_argument unless weights are stored as S: gradients are of the weights as they are
  // stored, and the kernels of training read panels of S. forward() with a tape and backward() call this.
  void require_trainable() const;

  // Writes the weights of one layer and direction back in PyTorch's layout, bit for bit as given where they
  // are stored as S. Members of `to` that the configuration does not have are not touched.
  void unpack(std::int64_t layer, std::int64_t direction, const MutableLayerWeights<S>& to) const;

 private:
  Config config_;
  const Kernels<S>& kernels_;
  std::vector<PackedLayer<S>> layers_;
};

}  // namespace cellgate
