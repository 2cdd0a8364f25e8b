// Making of handles. Called by load.cpp and create.cpp.
#pragma once

#include "capi/handles.hpp"
#include "kernels/dispatch.hpp"

namespace cellgate::capi {

const KernelTable& table_of(const cg_model_options& options);

// A model with one reference, packed from `network`.
template <class S>
cg_model* make_model(const NetworkDescription<S>& network, const cg_model_options& options);

}  // namespace cellgate::capi
