// START HERE. Forward pass of a whole model over a batch of sequences.
// Called by bindings, stream and capi with validated arguments; calls only KernelTable.
#pragma once

#include <deque>

#include "packed_weights.hpp"
#include "threads.hpp"
#include "workspace.hpp"

namespace cellgate {

// Strides count scalars (flags in reset) and may be anything, negative or zero; the last axis of x
// is contiguous.
template <class S>
struct ForwardArgs {
  std::int64_t steps = 0, batch = 0;
  const S* x = nullptr;  // [T, B, I]
  std::ptrdiff_t x_step = 0, x_row = 0;
  const S* h0 = nullptr;                  // [L * D, B, P or H] contiguous; null: zero
  const S* c0 = nullptr;                  // [L * D, B, H] contiguous; null: zero
  const std::int64_t* lengths = nullptr;  // [B], each in [0, T]; null: all T
  const unsigned char* reset = nullptr;   // [T, B], nonzero where a new segment begins; null: nowhere
  std::ptrdiff_t reset_step = 0, reset_row = 0;
  S* y = nullptr;  // [T, B, D * (P or H)], last axis contiguous, shares nothing with x, h0, c0
  std::ptrdiff_t y_step = 0, y_row = 0;
  S* h_n = nullptr;    // [L * D, B, P or H] contiguous, may be h0
  S* c_n = nullptr;    // [L * D, B, H] contiguous, may be c0
  S* cells = nullptr;  // [T, B, D * H] of the last layer, last axis contiguous, or null
  std::ptrdiff_t cells_step = 0, cells_row = 0;
};

// Everything a call needs besides its arguments; keep one to make later calls allocate nothing.
struct Scratch {
  Workspace memory;
  std::deque<Barrier> barriers;  // one for each team
};

// Throws std::bad_alloc before anything is written; nothing else.
template <class S>
void forward(const Model<S>& model, const ForwardArgs<S>& args, Scratch& scratch);

}  // namespace cellgate
