// sigmoid and tanh of one register, for the tail of the cell, and of arrays. Used by cell-inl.hpp and
// kernels.cpp; calls only vec.hpp.
//
// Both reduce the argument by whole powers of two. Adding kShift rounds a quotient to the integer
// n, which stands in the low bits of the sum, offset by kShift's own low bits; shifted up into the
// exponent it is the power of two. Each ends in one division, and every step before it is exact or
// fma, so that a result is accurate down to the denormals and NaN is passed on. The only comparison is with
// the limit beyond which a function has reached its bounds. sigmoid and tanh limit x, which takes fewer
// instructions; sigmoid_of_chain and tanh_of_chain limit the result, to the same bits, which makes the
// chain of dependent instructions from x to the result two instructions shorter.
//
// Accuracy, by tests/cpp/test_activations.cpp: float32 within 2 ulp of the correctly rounded value, for
// all 2^32 arguments (stride 1); float64 within 4 ulp, on samples.
// All constants: tools/fit_activations.py, which prints them with interval and error.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

namespace {

constexpr double kLog2e = 0x1.71547652b82fep+0;
constexpr double kLn2 = 0x1.62e42fefa39efp-1;

// tanh(r) = r B(r^2) / A(r^2) on |r| <= ln2/4: relative error 0.05 * 2^-53.
constexpr double kA1 = 0x1.c7195e65eaeefp-2, kA2 = 0x1.03fc9264937e3p-6;
constexpr double kB1 = 0x1.c710244256806p-4, kB2 = 0x1.1532377b3ca22p-10;

// exp(-x) = 2^n N(r) / D(r), r = x + n ln2, |r| <= ln2/2, so sigmoid(x) = D / (D + 2^n N).
// Both terms are scaled by 2^-60, for n reaches 151 in the tail; D has it in its coefficients.
// Remez' fit, relative error 0.16 * 2^-24. The factor 1.6 puts N and D where float32 is finest,
// just below 2, and the coefficients are the float32 neighbours with the smallest worst error.
CELLGATE_INLINE f32v unlimited_sigmoid(f32v x) {
  constexpr float kShift = 0x1.8p23f + (127 - 60);
  constexpr float kLn2High = 0x1.62e4p-1f;  // 16 bits: n * kLn2High is exact without FMA too
  constexpr float kLn2Low = 0x1.7f7d1cp-20f;
  constexpr float kN0 = 0x1.99999ap+0f, kN1 = -0x1.eb8f7ep-1f, kN2 = 0x1.eb792ap-3f, kN3 = -0x1.b3e74cp-6f;
  constexpr float kD0 = 0x1.99999ap-60f, kD1 = 0x1.47a3b6p-61f, kD2 = 0x1.4744a6p-64f;

  const f32v sum = fma(x, broadcast(static_cast<float>(-kLog2e)), broadcast(kShift));
  const f32v n = sum - broadcast(kShift);
  const f32v r = fma(n, broadcast(kLn2Low), fma(n, broadcast(kLn2High), x));
  const f32v numerator =
      fma(r, fma(r, fma(r, broadcast(kN3), broadcast(kN2)), broadcast(kN1)), broadcast(kN0));
  const f32v denominator = fma(r, fma(r, broadcast(kD2), broadcast(kD1)), broadcast(kD0));
  const f32v power = bit_cast<f32v>(bit_cast<i32v>(sum) << 23);
  return denominator / fma(power, numerator, denominator);
}

// exp(2x) = 2^n exp(2r), r = x - n ln2/2. With u = tanh(r) and p = 2^n,
//   tanh(x) = ((p - 1) + (p + 1) u) / ((p + 1) + (p - 1) u),
// which for n = 0 is u itself: small arguments keep their relative accuracy, denormals included.
// For -x, u changes sign and p becomes 1 / p, which scales both sides by a power of two: tanh(-x) is
// -tanh(x) to the bit. Only the sign of zero is not kept, tanh(-0) = +0: it would take two more steps.
// Where n is large tanh is flat, so that the rounding of n ln2/2 hardly changes it. For the same reason
// kSteps may be 0.9 % less than 2 / ln2, which lets |r| exceed ln2/4 as n grows. That choice makes the
// interval of n = 0 a little wider, and n = 1, where the quotient loses most, begins a little later.
// u = r + r^3 (C1 + C2 r^2) on |r| <= 0.1749, Remez' fit, relative error 0.98 * 2^-24; the
// coefficients are the float32 neighbours with the smallest worst error.
CELLGATE_INLINE f32v unlimited_tanh(f32v x) {
  constexpr float kShift = 0x1.8p23f + 127;
  constexpr float kSteps = 0x1.6ep+1f;
  constexpr float kC1 = -0x1.554fbcp-2f, kC2 = 0x1.0c6c38p-3f;

  const f32v sum = fma(x, broadcast(kSteps), broadcast(kShift));
  const f32v n = sum - broadcast(kShift);
  const f32v r = fma(n, broadcast(static_cast<float>(-kLn2 / 2)), x);
  const f32v t = r * r;
  const f32v u = fma(r * t, fma(t, broadcast(kC2), broadcast(kC1)), r);
  const f32v power = bit_cast<f32v>(bit_cast<i32v>(sum) << 23);
  const f32v less = power - 1.0f, more = power + 1.0f;
  return fma(more, u, less) / fma(less, u, more);
}

// As in float32, with exp(-r) = (1 - u) / (1 + u), u = tanh(r / 2) = r/2 B(r^2 / 4) / A(r^2 / 4).
// n reaches 1077, the scale is 2^-500.
CELLGATE_INLINE f64v unlimited_sigmoid(f64v x) {
  constexpr double kShift = 0x1.8p52 + (1023 - 500);
  constexpr double kLn2High = 0x1.62e42fefa38p-1;  // 42 bits: n * kLn2High is exact without FMA too
  constexpr double kLn2Low = 0x1.ef35793c7673p-45;

  const f64v sum = fma(x, broadcast(-kLog2e), broadcast(kShift));
  const f64v n = sum - broadcast(kShift);
  const f64v r = fma(n, broadcast(kLn2Low), fma(n, broadcast(kLn2High), x));
  const f64v t = r * r;
  const f64v a = fma(t, fma(t, broadcast(kA2 / 16), broadcast(kA1 / 4)), broadcast(1.0));
  const f64v b = fma(t, fma(t, broadcast(kB2 / 32), broadcast(kB1 / 8)), broadcast(0.5));
  const f64v numerator = fma(-r, b, a), denominator = fma(r, b, a) * 0x1p-500;
  const f64v power = bit_cast<f64v>(bit_cast<i64v>(sum) << 52);
  return denominator / fma(power, numerator, denominator);
}

// As in float32, with u = r B / A and both sides of the quotient multiplied by A.
CELLGATE_INLINE f64v unlimited_tanh(f64v x) {
  constexpr double kShift = 0x1.8p52 + 1023;

  const f64v sum = fma(x, broadcast(2 * kLog2e), broadcast(kShift));
  const f64v n = sum - broadcast(kShift);
  const f64v r = fma(n, broadcast(-kLn2 / 2), x);
  const f64v t = r * r;
  const f64v a = fma(t, fma(t, broadcast(kA2), broadcast(kA1)), broadcast(1.0));
  const f64v rb = r * fma(t, fma(t, broadcast(kB2), broadcast(kB1)), broadcast(1.0));
  const f64v power = bit_cast<f64v>(bit_cast<i64v>(sum) << 52);
  const f64v less = power - 1.0, more = power + 1.0;
  return fma(more, rb, less * a) / fma(less, rb, more * a);
}

// The arguments from which on a function has reached its bounds, for scalars S.
template <class S>
struct Limits;
template <>
struct Limits<float> {
  static constexpr float kSigmoidLow = -105.0f, kSigmoidHigh = 40.0f, kTanh = 10.0f;
};
template <>
struct Limits<double> {
  static constexpr double kSigmoidLow = -747.0, kSigmoidHigh = 40.0, kTanh = 20.0;
};

template <class V>
using ScalarOf = std::remove_reference_t<decltype(std::declval<V>()[0])>;

template <class V>
CELLGATE_INLINE V sigmoid(V x) {
  using L = Limits<ScalarOf<V>>;
  return unlimited_sigmoid(clamp(x, broadcast(L::kSigmoidLow), broadcast(L::kSigmoidHigh)));
}
template <class V>
CELLGATE_INLINE V tanh(V x) {
  using L = Limits<ScalarOf<V>>;
  return unlimited_tanh(clamp(x, broadcast(-L::kTanh), broadcast(L::kTanh)));
}

template <class V>
CELLGATE_INLINE V sigmoid_of_chain(V x) {
  using S = ScalarOf<V>;
  const V y = unlimited_sigmoid(x), above = x > broadcast(Limits<S>::kSigmoidHigh) ? broadcast(S(1)) : y;
  return x < broadcast(Limits<S>::kSigmoidLow) ? broadcast(S(0)) : above;
}
template <class V>
CELLGATE_INLINE V tanh_of_chain(V x) {
  using S = ScalarOf<V>;
  const V y = unlimited_tanh(x), above = x > broadcast(Limits<S>::kTanh) ? broadcast(S(1)) : y;
  return x < broadcast(-Limits<S>::kTanh) ? broadcast(S(-1)) : above;
}

// out[j] = f(x[j]) for j < count; out may be x.
template <class S, class F>
CELLGATE_INLINE void map_array(const S* x, S* out, std::int64_t count, F f) {
  constexpr int lanes = Simd<S>::lanes;
  std::int64_t j = 0;
  for (; j + lanes <= count; j += lanes) store(out + j, f(load(x + j)));
  if (j < count) {
    S tail[lanes] = {};
    std::memcpy(tail, x + j, static_cast<std::size_t>(count - j) * sizeof(S));
    store_first(out + j, f(load(tail)), count - j);
  }
}

template <class S>
void sigmoid_array(const S* x, S* out, std::int64_t count) noexcept {
  map_array(x, out, count, [](auto v) { return sigmoid(v); });
}

template <class S>
void tanh_array(const S* x, S* out, std::int64_t count) noexcept {
  map_array(x, out, count, [](auto v) { return tanh(v); });
}

}  // namespace
