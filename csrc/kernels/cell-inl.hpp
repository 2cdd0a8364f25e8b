// The equations of the cell, forward and backward, on registers: the place where an option of the cell is
// added. Used by cell_forward-inl.hpp, cell_steps-inl.hpp and cell_backward-inl.hpp; calls
// activations-inl.hpp.
#pragma once

#include "kernels/activations-inl.hpp"
#include "kernels/vec.hpp"

namespace {

// The gates of one vector of units, or the gradients with respect to them.
template <class S>
struct Gates {
  typename Simd<S>::V i, f, g, o;
};

// i = sigmoid(z_i)   f = sigmoid(z_f)   g = tanh(z_g)   o = sigmoid(z_o)
// Chain: the activations with the shorter chain of dependent instructions, see activations-inl.hpp.
template <class S, bool Chain = false>
CELLGATE_INLINE Gates<S> activate(const typename Simd<S>::V (&z)[4]) {
  if constexpr (Chain)
    return {sigmoid_of_chain(z[0]), sigmoid_of_chain(z[1]), tanh_of_chain(z[2]), sigmoid_of_chain(z[3])};
  return {sigmoid(z[0]), sigmoid(z[1]), tanh(z[2]), sigmoid(z[3])};
}

// c = f * c_prev + i * g
template <class S>
CELLGATE_INLINE typename Simd<S>::V next_cell(const Gates<S>& gates, typename Simd<S>::V c_prev) {
  return fma(gates.f, c_prev, gates.i * gates.g);
}

// h = o * tanh(c)
template <class S, bool Chain = false>
CELLGATE_INLINE typename Simd<S>::V cell_output(typename Simd<S>::V o, typename Simd<S>::V c) {
  return o * (Chain ? tanh_of_chain(c) : tanh(c));
}

// Backward. The gradient with respect to c: `dc` from the later step and dh from the output, with
// squashed = tanh(c), which forward does not keep:
//   dc + dh * o * (1 - tanh(c)^2)
template <class S>
CELLGATE_INLINE typename Simd<S>::V cell_gradient(const Gates<S>& gates, typename Simd<S>::V squashed,
                                                  typename Simd<S>::V dh, typename Simd<S>::V dc) {
  return fma(dh * gates.o, fma(-squashed, squashed, broadcast(S(1))), dc);
}

// The gradients with respect to the gates before their activation, from dc:
//   d_i = dc * g * i (1 - i)        d_f = dc * c_prev * f (1 - f)
//   d_g = dc * i * (1 - g^2)        d_o = dh * tanh(c) * o (1 - o)
template <class S>
CELLGATE_INLINE Gates<S> gate_gradients(const Gates<S>& gates, typename Simd<S>::V c_prev,
                                        typename Simd<S>::V squashed, typename Simd<S>::V dh,
                                        typename Simd<S>::V dc) {
  const auto& [i, f, g, o] = gates;
  const typename Simd<S>::V one = broadcast(S(1));
  return {dc * g * (i * (one - i)), dc * c_prev * (f * (one - f)), dc * i * fma(-g, g, one),
          dh * squashed * (o * (one - o))};
}

// The gradient with respect to c before the step, from dc:
//   dc_prev = dc * f
template <class S>
CELLGATE_INLINE typename Simd<S>::V previous_cell_gradient(const Gates<S>& gates, typename Simd<S>::V dc) {
  return dc * gates.f;
}

}  // namespace
