// Sizes of a model. Filled by bindings and capi, read everywhere in core.
#pragma once

#include <algorithm>
#include <cstdint>

namespace cellgate {

struct Config {
  std::int64_t input_size = 1;
  std::int64_t hidden_size = 1;
  std::int64_t num_layers = 1;
  bool bias = true;
  bool bidirectional = false;
  std::int64_t proj_size = 0;  // 0: no projection

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  // Width of h, and of y for each direction.
  std::int64_t output_size() const { return proj_size ? proj_size : hidden_size; }
  std::int64_t layer_input_size(std::int64_t layer) const {
    return layer == 0 ? input_size : directions() * output_size();
  }
  // Of the inputs of all layers.
  std::int64_t widest_input() const { return std::max(input_size, layer_input_size(num_layers - 1)); }
};

// Throws std::invalid_argument naming the member that is out of range, or std::bad_alloc when the
// weights, at `scalar_bytes` a number, would not fit the memory of this machine twice (once as the
// caller's arrays and once packed).
void validate(const Config& config, int scalar_bytes);

}  // namespace cellgate
