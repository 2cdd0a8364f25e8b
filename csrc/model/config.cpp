// Checks and counts that need a model's sizes only. Called by packed_weights.cpp and bindings.
#include "model/config.hpp"

#include <unistd.h>

#include <cmath>
#include <new>
#include <stdexcept>
#include <string>

#include "model/weights.hpp"

namespace cellgate {
namespace {

void require_at_least(const char* name, std::int64_t value, std::int64_t least) {
  if (value < least) {
    throw std::invalid_argument(std::string(name) + ": must be at least " + std::to_string(least) + ", got " +
                                std::to_string(value));
  }
}

void require_at_least(const char*, bool, bool) {}  // a switch has no range

struct Sizes {
  double input, hidden, proj;
};

// Adds up what `layers` layers like this one have, in all directions.
void add(const Config& config, const Sizes& sizes, double layers, ParameterTotals& totals) {
  const double copies = layers * static_cast<double>(config.directions());
  for_each_parameter_of_layer<LayerWeights<float>>(
      config, sizes.input, sizes.hidden, sizes.proj,
      [&](const char*, const ParameterShape<double>& shape, auto) {
        totals.arrays += copies;
        totals.elements += copies * shape.elements();
        if (copies > 0) totals.largest = std::max(totals.largest, shape.elements());
      });
}

// The first layer, which reads x, and the others, which read the layer before.
ParameterTotals totals_with(const Config& config, double hidden) {
  const double input = static_cast<double>(config.input_size), proj = static_cast<double>(config.proj_size);
  const double between = static_cast<double>(config.directions()) * (config.proj_size ? proj : hidden);
  ParameterTotals totals{};
  add(config, {input, hidden, proj}, 1, totals);
  add(config, {between, hidden, proj}, static_cast<double>(config.num_layers) - 1, totals);
  return totals;
}

double physical_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<double>(pages) * static_cast<double>(page) : 1e18;
}

}  // namespace

ParameterTotals parameter_totals(const Config& config) {
  constexpr double kWidestVector = 16;  // scalars
  const double hidden = static_cast<double>(config.hidden_size);
  ParameterTotals totals = totals_with(config, hidden);
  totals.padded = totals_with(config, std::ceil(hidden / kWidestVector) * kWidestVector).elements;
  return totals;
}

void validate(const Config& config, int scalar_bytes) {
  for_each_option(config, [](const OptionInfo& option, auto value, auto least) {
    require_at_least(option.name, value, least);
  });
  if (config.proj_size >= config.hidden_size) {
    throw std::invalid_argument("proj_size: must be smaller than hidden_size " +
                                std::to_string(config.hidden_size) + ", got " +
                                std::to_string(config.proj_size));
  }
  const ParameterTotals totals = parameter_totals(config);
  if (scalar_bytes * (totals.elements + totals.padded) > physical_memory_bytes()) throw std::bad_alloc();
}

}  // namespace cellgate
