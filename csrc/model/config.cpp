// Checks of a model's sizes. Called by packed_weights.cpp.
#include "model/config.hpp"

#include <unistd.h>

#include <cmath>
#include <new>
#include <stdexcept>
#include <string>

namespace cellgate {
namespace {

void require_at_least(const char* name, std::int64_t value, std::int64_t least) {
  if (value < least) {
    throw std::invalid_argument(std::string(name) + ": must be at least " + std::to_string(least) + ", got " +
                                std::to_string(value));
  }
}

double physical_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<double>(pages) * static_cast<double>(page) : 1e18;
}

}  // namespace

void validate(const Config& c, int scalar_bytes) {
  require_at_least("input_size", c.input_size, 1);
  require_at_least("hidden_size", c.hidden_size, 1);
  require_at_least("num_layers", c.num_layers, 1);
  require_at_least("proj_size", c.proj_size, 0);
  if (c.proj_size >= c.hidden_size) {
    throw std::invalid_argument("proj_size: must be smaller than hidden_size " +
                                std::to_string(c.hidden_size) + ", got " + std::to_string(c.proj_size));
  }
  // In double, which cannot overflow: products of three 64-bit sizes stay far below 1e308.
  const auto numbers = [&](double hidden) {  // for a hidden size padded or not
    const double recurrent = static_cast<double>(c.output_size());
    const double inputs = static_cast<double>(c.input_size) + static_cast<double>(c.num_layers - 1) *
                                                                  static_cast<double>(c.directions()) *
                                                                  recurrent;
    const double layers = static_cast<double>(c.num_layers);
    const double gates = 4 * hidden * (inputs + layers * (recurrent + 3));
    return static_cast<double>(c.directions()) * (gates + layers * static_cast<double>(c.proj_size) * hidden);
  };
  const double hidden = static_cast<double>(c.hidden_size), padded = std::ceil(hidden / 16) * 16;
  const double bytes = scalar_bytes * (numbers(hidden) + numbers(padded));
  if (bytes > physical_memory_bytes()) throw std::bad_alloc();
}

}  // namespace cellgate
