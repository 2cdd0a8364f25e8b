// Weights as callers have them, and the walk over their names and shapes, from parameters.def.
// Used by packed_weights, bindings and capi.
#pragma once

#include <cstddef>
#include <limits>
#include <string>

#include "kernels/kernel_table.hpp"
#include "model/config.hpp"

namespace cellgate {

// One layer and direction in PyTorch's layout, all row-major; shapes are those of parameters.def. Null where
// the configuration has no such parameter.
template <class S>
struct LayerWeights {
#define CELLGATE_PARAMETER(member, name, shape, condition, absent) const S* member = nullptr;
#include "model/parameters.def"
};

template <class S>
struct MutableLayerWeights {
#define CELLGATE_PARAMETER(member, name, shape, condition, absent) S* member = nullptr;
#include "model/parameters.def"
};

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

// A row of parameters.def that is vectors of units.
struct VectorsInfo {
  UnitSet set;
  std::int64_t per_unit;  // numbers
  bool present;
  double absent;  // what every element counts as if it is not present
};

// Calls visit(info, member) for all of them, present or not. member(of) is the member of any struct that
// parameters.def makes.
template <class Visit>
void for_each_vectors(const Config& c, const Visit& visit) {
  constexpr std::int64_t H = 1;
#define CELLGATE_VECTORS(member, set, name, shape, condition, absent) \
  visit(VectorsInfo{set, shape, condition, absent}, [](auto& of) -> auto& { return of.member; });
#include "model/parameters.def"
}

// Whether the configuration has a parameter in this set, and so a gradient with respect to it.
inline bool has_vectors(const Config& config, int set) {
  bool found = false;
  for_each_vectors(
      config, [&](const VectorsInfo& info, auto) { found = found || (info.set == set && info.present); });
  return found;
}

// N: std::int64_t, or double where sizes may be absurd.
template <class N>
struct ParameterShape {
  int rank;
  N sizes[2];

  N elements() const { return rank == 2 ? sizes[0] * sizes[1] : sizes[0]; }
};

// Calls visit(name without the layer, shape, member of Weights) for what one layer and direction has, given
// the sizes that the letters of parameters.def stand for. Weights: LayerWeights or MutableLayerWeights.
template <class Weights, class N, class Visit>
void for_each_parameter_of_layer(const Config& c, N I, N H, N P, const Visit& visit) {
  const auto shape_of = [](auto... sizes) { return ParameterShape<N>{sizeof...(sizes), {sizes...}}; };
  const N Y = c.proj_size ? P : H;
#define CELLGATE_PARAMETER(member, name, shape, condition, absent) \
  if (condition) visit(name, shape_of shape, &Weights::member);
#include "model/parameters.def"
}

// Calls visit(name, shape, member of Weights, index of the layer and direction) in PyTorch's order for
// all parameters of all layers and directions.
template <class Weights, class Visit>
void for_each_parameter(const Config& c, const Visit& visit) {
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    for (std::int64_t d = 0; d < c.directions(); ++d) {
      const std::string suffix = "_l" + std::to_string(layer) + (d ? "_reverse" : "");
      const auto index = static_cast<std::size_t>(layer * c.directions() + d);
      for_each_parameter_of_layer<Weights, std::int64_t>(
          c, c.layer_input_size(layer), c.hidden_size, c.proj_size,
          [&](const char* name, const ParameterShape<std::int64_t>& shape, auto member) {
            visit(name + suffix, shape, member, index);
          });
    }
  }
}

}  // namespace cellgate
