// Which instruction sets were built, which this CPU has, which one runs. Called by everything that
// needs a KernelTable; knows the tables only through the list that isa.cmake generates.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.hpp"

namespace cellgate {

// All tables in this build, best first.
const std::vector<const KernelTable*>& built_kernel_tables();

// Those whose instructions this CPU and operating system support, best first.
const std::vector<const KernelTable*>& supported_kernel_tables();

// A supported table by name, in upper or lower case. Throws std::invalid_argument listing the supported ones.
const KernelTable& kernel_table(const std::string& name);

// The table of this process: CELLGATE_ISA if set, else the best supported one. Chosen at the first
// call; throws std::invalid_argument when CELLGATE_ISA is unknown or unsupported.
const KernelTable& active_kernel_table();

// The one for a layer of `hidden_size` units: the active one or, where half of its vectors or more would be
// empty, one with vectors half as wide that gives the same bits. With CELLGATE_ISA set always the active one.
const KernelTable& kernel_table_for(std::int64_t hidden_size, int scalar_bytes);

// `text` with bytes other than printable ASCII as \\xhh: what an error message may quote.
std::string printable(const std::string& text);

// The functions for weights of one type. Throws std::invalid_argument unless weight_types.def has it with S.
template <class S>
const Kernels<S>& kernels(const KernelTable& table, WeightType type = weight_type_of<S>());

}  // namespace cellgate
