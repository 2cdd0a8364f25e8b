// Run-time choice of the instruction set.
#include "kernels/dispatch.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <type_traits>

extern "C" {
#define CELLGATE_ISA(name, test) extern const cellgate::KernelTable cellgate_kernels_##name;
#include "isa_list.inc"
#undef CELLGATE_ISA
}

namespace cellgate {
namespace {

std::string quoted_names(const std::vector<const KernelTable*>& tables) {
  std::string names;
  for (const KernelTable* table : tables) names += (names.empty() ? "" : ", ") + std::string(table->name);
  return names;
}

// ASCII only, whatever the locale: names of instruction sets have no other letters.
std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

const KernelTable& named(const char* argument, const std::string& name) {
  const std::string wanted = lower_case(name);
  for (const KernelTable* table : supported_kernel_tables()) {
    if (wanted == table->name) return *table;
  }
  bool built = false;
  for (const KernelTable* table : built_kernel_tables()) built |= wanted == table->name;
  throw std::invalid_argument(std::string(argument) + ": must be one of " +
                              quoted_names(supported_kernel_tables()) + " on this CPU, got '" +
                              printable(name) +
                              (built ? "', which this CPU does not support" : "', which is not built in"));
}

}  // namespace

std::string printable(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, c >= ' ' && c <= '~' ? "%c" : "\\x%02x",
                  static_cast<unsigned char>(c));
    shown += escaped;
  }
  return shown;
}

const std::vector<const KernelTable*>& built_kernel_tables() {
  static const std::vector<const KernelTable*> tables = {
#define CELLGATE_ISA(name, test) &cellgate_kernels_##name,
#include "isa_list.inc"
#undef CELLGATE_ISA
  };
  return tables;
}

const std::vector<const KernelTable*>& supported_kernel_tables() {
  static const std::vector<const KernelTable*> tables = [] {
    std::vector<const KernelTable*> found;
#define CELLGATE_ISA(name, test) \
  if (test) found.push_back(&cellgate_kernels_##name);
#include "isa_list.inc"
#undef CELLGATE_ISA
    return found;
  }();
  return tables;
}

const KernelTable& kernel_table(const std::string& name) { return named("isa", name); }

const KernelTable& active_kernel_table() {
  static const KernelTable& table = []() -> const KernelTable& {
    const char* forced = std::getenv("CELLGATE_ISA");
    return forced && *forced ? named("CELLGATE_ISA", forced) : *supported_kernel_tables().front();
  }();
  return table;
}

const KernelTable& kernel_table_for(std::int64_t hidden_size, int scalar_bytes) {
  static const bool forced = [] {
    const char* name = std::getenv("CELLGATE_ISA");
    return name && *name;
  }();
  const KernelTable& active = active_kernel_table();
  const int lanes = scalar_bytes == 4 ? active.float32.lanes : active.float64.lanes;
  if (forced || hidden_size > lanes / 2 || !active.fused) return active;
  const KernelTable* best = &active;
  for (const KernelTable* table : supported_kernel_tables()) {
    if (table->fused && 2 * table->float32.lanes == active.float32.lanes) best = table;
  }
  return *best;
}

template <class S>
const Kernels<S>& kernels(const KernelTable& table, WeightType type) {
  switch (type) {
#define CELLGATE_WEIGHT_TYPE(name, W, Scalar) \
  case WeightType::name:                      \
    if constexpr (std::is_same_v<S, Scalar>)  \
      return table.name;                      \
    else                                      \
      break;
#include "kernels/weight_types.def"
  }
  throw std::invalid_argument(std::string("weights: ") + name_of(type) + " is not a type for a model of " +
                              name_of(weight_type_of<S>()));
}

template const Kernels<float>& kernels(const KernelTable&, WeightType);
template const Kernels<double>& kernels(const KernelTable&, WeightType);

}  // namespace cellgate
