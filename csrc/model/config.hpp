// The options of a model, from options.def. Filled by bindings and capi, read everywhere in core.
#pragma once

#include <algorithm>
#include <cstdint>

namespace cellgate {

struct Config {
#define CELLGATE_OPTION(type, name, given, standard, least) type name = standard;
#include "model/options.def"

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  // Width of h, and of y for each direction.
  std::int64_t output_size() const { return proj_size ? proj_size : hidden_size; }
  std::int64_t layer_input_size(std::int64_t layer) const {
    return layer == 0 ? input_size : directions() * output_size();
  }
  std::int64_t padded_hidden(std::int64_t lanes) const { return (hidden_size + lanes - 1) / lanes * lanes; }
  // Of the inputs of all layers.
  std::int64_t widest_input() const { return std::max(input_size, layer_input_size(num_layers - 1)); }
};

enum class Given { kAlways, kSometimes };

// A row of options.def.
struct OptionInfo {
  const char* name;
  Given given;
};

// Calls visit(info, member, least) for all options, in the order of the table. Options: Config or const
// Config; the type of the member, and of `least` with it, tells a size from a switch.
template <class Options, class Visit>
void for_each_option(Options& config, const Visit& visit) {
#define CELLGATE_OPTION(type, name, given, standard, least) \
  visit(OptionInfo { #name, Given::given }, config.name, type(least));
#include "model/options.def"
}

// What the parameters of a configuration amount to. In double, which holds every count that a machine has
// room for exactly, and cannot overflow whatever the sizes.
struct ParameterTotals {
  double arrays;    // in all layers and directions
  double elements;  // in all arrays
  double padded;    // the same with the hidden size rounded up to the widest vector, as they are packed
  double largest;   // in one array
};
ParameterTotals parameter_totals(const Config& config);

// Throws std::invalid_argument naming the member that is out of range, or std::bad_alloc when the
// weights, at `scalar_bytes` a number, would not fit the memory of this machine twice (once as the
// caller's arrays and once packed).
void validate(const Config& config, int scalar_bytes);

}  // namespace cellgate
