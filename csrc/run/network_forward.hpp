// Forward pass of a network over a batch of sequences: scaling, the LSTM, pooling, the head. Called by
// bindings and capi with validated arguments; calls forward() and head.
#pragma once

#include "model/packed_network.hpp"
#include "run/forward.hpp"

namespace cellgate {

// As forward() of a model, but for what follows. y is [T, B, O]; with pooling [B, O], its step stride unread.
// Neither x nor y is compact, and there are no cells, no tape and no first state; with pooling no reset.
// Calls without h0 begin from the network's initial state, and segments too.
template <class S>
void forward(const Network<S>& network, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor);

}  // namespace cellgate
