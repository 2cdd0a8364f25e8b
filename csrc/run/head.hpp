// What is computed before and after the LSTM of a network, for rows of one step each: scaling of the input,
// the linear head with its activation, skip and gain. Called by network_forward, network_stream
// and frames; calls KernelTable.
#pragma once

#include "model/packed_network.hpp"
#include "threads/share.hpp"

namespace cellgate {

// z = (input_gain * x - input_mean) / input_scale of one row of I features, `stride` scalars apart in x. A
// factor of 1, a mean that is not given and a scale that is not given leave the bits alone.
template <class S>
void scale_input(const Network<S>& network, const S* x, std::ptrdiff_t stride, S* z) noexcept;

// One step more is pooled, the `count`-th: h [D * (P or H)] is added to `sum`, and `pooled`, which may be h,
// becomes what the head reads: the mean of all steps, or the last.
template <class S>
void pool_step(const Network<S>& network, const S* h, std::int64_t count, S* sum, S* pooled) noexcept;

// Rows from the LSTM, or pooled, and where their outputs go.
template <class S>
struct HeadArgs {
  std::int64_t rows;
  const S* const* h;        // [rows], each [D * (P or H)]
  const S* const* x;        // [rows], each [I], the network's input; read with a skip only
  std::ptrdiff_t x_stride;  // between the features of x
  S* const* y;              // [rows], each [O]
  S* partial;               // [rows, 4, lanes], aligned
  S* gathered;              // [rows, D * (P or H)]
};

// W h + b: each a chain from the bias over k in index order, for the outputs in `panels`. Without a head: h.
template <class S>
void head_sums(const Network<S>& network, const HeadArgs<S>& args, const Share& panels) noexcept;

// y = output_gain * (activation(y) + skip * u), u being the first features of input_gain * x.
template <class S>
void finish_head(const Network<S>& network, const HeadArgs<S>& args) noexcept;

}  // namespace cellgate
