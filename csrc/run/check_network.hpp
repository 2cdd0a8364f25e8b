// Checks of the arguments of a network, beside those of its LSTM in check.hpp, and in the same manner. Called
// by bindings and capi.
#pragma once

#include "model/packed_network.hpp"
#include "run/check.hpp"

namespace cellgate {

// The arrays among a network's parts. Null pointers: not given.
struct PartsViews {
  const ArrayView *head_weight = nullptr, *head_bias = nullptr;   // [O, D * (P or H)], [O]
  const ArrayView *input_mean = nullptr, *input_scale = nullptr;  // [I]
  const ArrayView *initial_h = nullptr, *initial_c = nullptr;     // [L * D, P or H], [L * D, H]
  const ArrayView *test_input = nullptr, *test_output = nullptr;  // [T, I], [T, O]
};

// Types and shapes; initial_h and initial_c are both given or neither is, and the self-test's likewise. For
// values, and for what is no array, see validate() in model/network.hpp.
void check_parts(const Config& config, int scalar_bytes, const PartsViews& given);

// As check_call() of a model; no batch_sizes, and with pooling no reset.
template <class S>
CheckedCall check_call(const Network<S>& network, const CallViews& given);

// Of y: laid out like x, or with pooling [B, O], [O] for a sequence without a batch.
template <class S>
Shape output_shape(const Network<S>& network, const CallLayout& layout);
// y as forward() takes it, from an array of that shape with strides in bytes.
template <class S>
Plane<S> output_plane(const Network<S>& network, const CallLayout& layout, S* y,
                      const std::ptrdiff_t* strides);

// As check_stream() of a model.
template <class S>
void check_stream(const Network<S>& network, std::int64_t batch);
// As check_run() of a model.
template <class S>
CallLayout check_run(const Network<S>& network, std::int64_t batch, bool batch_first, const ArrayView& x);

// What a stream has pooled, to go on from: how many steps of each sequence [B], and their sums
// [B, D * (P or H)]. Returns the numbers of steps.
template <class S>
std::vector<std::int64_t> check_pooled(const Network<S>& network, std::int64_t batch, const ArrayView& steps,
                                       const ArrayView& sums);

}  // namespace cellgate
