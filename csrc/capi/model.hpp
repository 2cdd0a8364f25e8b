// Making of handles. Called by load.cpp and create.cpp.
#pragma once

#include "capi/handles.hpp"
#include "kernels/dispatch.hpp"

namespace cellgate::capi {

// What options.isa names, or the best for a model of this size.
const KernelTable& table_of(const cg_model_options& options, std::int64_t hidden_size, int scalar_bytes);

// A model with one reference, packed from `network`.
template <class S>
cg_model* make_model(const NetworkDescription<S>& network, const cg_model_options& options);

}  // namespace cellgate::capi
