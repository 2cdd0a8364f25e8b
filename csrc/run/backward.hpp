// Back-propagation through time of a whole model, from what forward() recorded on a tape.
// Called by bindings with validated arguments; calls only KernelTable.
#pragma once

#include <vector>

#include "run/forward.hpp"

namespace cellgate {

// All gradients are computed from zero: of initial state and parameters always, of x if wanted.
template <class S>
struct BackwardArgs {
  const ForwardArgs<S>* forward = nullptr;         // as recorded; y and the tape are read, nothing is written
  Plane<const S> d_y;                              // [T, B, D * (P or H)], or without a base: zero
  Plane<const S> d_cells;                          // [T, B, D * H], or without a base: zero
  const S* d_h_n = nullptr;                        // [L * D, B, P or H] contiguous, or null: zero
  const S* d_c_n = nullptr;                        // [L * D, B, H] contiguous, or null: zero
  Plane<S> d_x;                                    // [T, B, I], or without a base: not wanted
  S* d_h0 = nullptr;                               // [L * D, B, P or H] contiguous
  S* d_c0 = nullptr;                               // [L * D, B, H] contiguous
  std::vector<MutableLayerWeights<S>> parameters;  // [L * D], in the order of Model's weights
  bool accumulate = false;                         // add to what is in `parameters`
};

// Throws std::bad_alloc, and as Model::require_trainable() does, before anything is written.
template <class S>
void backward(const Model<S>& model, const BackwardArgs<S>& args, Scratch& scratch, Executor& executor);

}  // namespace cellgate
