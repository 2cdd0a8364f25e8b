// The equations of the cell, forward and backward, on registers: the place where an option of the cell is
// added. Used by cell_forward-inl.hpp and cell_backward-inl.hpp; calls activations-inl.hpp.
#pragma once

#include "kernels/activations-inl.hpp"
#include "kernels/vec.hpp"

namespace {

// Of a vector of units, after their activation.
template <class S>
struct Gates {
  typename Simd<S>::V i, f, g, o;
};

// i = sigmoid(z_i)   f = sigmoid(z_f)   g = tanh(z_g)   o = sigmoid(z_o)
template <class S>
CELLGATE_INLINE Gates<S> activate(const typename Simd<S>::V (&z)[4]) {
  return {sigmoid(z[0]), sigmoid(z[1]), tanh(z[2]), sigmoid(z[3])};
}

// c = f * c_prev + i * g
template <class S>
CELLGATE_INLINE typename Simd<S>::V next_cell(const Gates<S>& gates, typename Simd<S>::V c_prev) {
  return fma(gates.f, c_prev, gates.i * gates.g);
}

// h = o * tanh(c)
template <class S>
CELLGATE_INLINE typename Simd<S>::V cell_output(typename Simd<S>::V o, typename Simd<S>::V c) {
  return o * tanh(c);
}

template <class S>
struct CellGradients {
  Gates<S> gates;                        // by the gates before their activation
  typename Simd<S>::V c_prev, squashed;  // by c before the step; tanh(c), which forward did not keep
};

// dc += dh * o * (1 - tanh(c)^2)
// d_i = dc * g * i (1 - i)        d_f = dc * c_prev * f (1 - f)
// d_g = dc * i * (1 - g^2)        d_o = dh * tanh(c) * o (1 - o)
// dc_prev = dc * f
template <class S>
CELLGATE_INLINE CellGradients<S> cell_gradients(const Gates<S>& gates, typename Simd<S>::V c_prev,
                                                typename Simd<S>::V c, typename Simd<S>::V dh,
                                                typename Simd<S>::V dc) {
  using V = typename Simd<S>::V;
  const auto& [i, f, g, o] = gates;
  const V one = broadcast(S(1)), squashed = tanh(c);
  dc = fma(dh * o, fma(-squashed, squashed, one), dc);
  return {{dc * g * (i * (one - i)), dc * c_prev * (f * (one - f)), dc * i * fma(-g, g, one),
           dh * squashed * (o * (one - o))},
          dc * f,
          squashed};
}

}  // namespace
