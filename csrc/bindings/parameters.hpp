// Names and shapes of a model's parameters. Used by model.cpp and training.cpp.
#pragma once

#include <string>

#include "bindings/convert.hpp"
#include "model/config.hpp"

namespace cellgate::python {

// Calls visit(name, shape, member of Weights, index of the layer and direction) in PyTorch's order for
// all parameters that the configuration has. Weights: LayerWeights or MutableLayerWeights.
template <class Weights, class Visit>
void for_each_parameter(const Config& c, const Visit& visit) {
  const std::int64_t gates = 4 * c.hidden_size, width = c.output_size();
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    for (std::int64_t d = 0; d < c.directions(); ++d) {
      const std::string suffix = "_l" + std::to_string(layer) + (d ? "_reverse" : "");
      const auto index = static_cast<std::size_t>(layer * c.directions() + d);
      visit("weight_ih" + suffix, Shape{gates, c.layer_input_size(layer)}, &Weights::w_ih, index);
      visit("weight_hh" + suffix, Shape{gates, width}, &Weights::w_hh, index);
      if (c.bias) visit("bias_ih" + suffix, Shape{gates}, &Weights::b_ih, index);
      if (c.bias) visit("bias_hh" + suffix, Shape{gates}, &Weights::b_hh, index);
      if (c.proj_size) visit("weight_hr" + suffix, Shape{c.proj_size, c.hidden_size}, &Weights::w_hr, index);
    }
  }
}

}  // namespace cellgate::python
