// The self-test of a file: what whoever made it says that the network answers. Called by bindings and capi.
#pragma once

#include "model/packed_network.hpp"

namespace cellgate {

// The largest difference between an output of the self-test, which parts() must have, and the network's; NaN
// if one of these is NaN. Throws std::bad_alloc.
template <class S>
double self_test_difference(const Network<S>& network);

}  // namespace cellgate
