// START HERE. Forward pass of a whole model over a batch of sequences.
// Called by bindings, network_forward and network_stream with validated arguments; calls only KernelTable.
#pragma once

#include "memory/scratch.hpp"
#include "model/packed_weights.hpp"
#include "run/plane.hpp"
#include "run/tape.hpp"
#include "threads/executor.hpp"

namespace cellgate {

// Strides count scalars (flags in reset) and may be anything, negative or zero; the last axis of x
// is contiguous. Compact planes (plane.hpp) need lengths that do not rise.
template <class S>
struct ForwardArgs {
  std::int64_t steps = 0, batch = 0;
  Plane<const S> x;       // [T, B, I]
  const S* h0 = nullptr;  // [L * D, B, P or H] contiguous; null: first_h
  const S* c0 = nullptr;  // [L * D, B, H] contiguous; null: first_c
  // [L * D, P or H] and [L * D, H]: of every row, where a segment begins and there is no h0; null: zero. Not
  // with a tape.
  const S *first_h = nullptr, *first_c = nullptr;
  const std::int64_t* lengths = nullptr;  // [B], each in [0, T]; null: all T
  const unsigned char* reset = nullptr;   // [T, B], nonzero where a new segment begins; null: nowhere
  std::ptrdiff_t reset_step = 0, reset_row = 0;
  Plane<S> y;         // [T, B, D * (P or H)], shares nothing with x, h0, c0
  S* h_n = nullptr;   // [L * D, B, P or H] contiguous, may be h0
  S* c_n = nullptr;   // [L * D, B, H] contiguous, may be c0
  Plane<S> cells;     // [T, B, D * H] of the last layer, or without a base: not wanted
  S* tape = nullptr;  // null, or Tape::size() scalars to record in
  Training training;  // read with a tape only
};

// Throws std::bad_alloc and, with a tape, as Model::require_trainable() does, before anything is written.
template <class S>
void forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor);

}  // namespace cellgate
