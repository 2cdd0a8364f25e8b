// SIMD vectors of the instruction set this file is compiled for. Bottom of the flow: used by the
// *-inl.hpp kernels, includes nothing of the project. Built on the GCC/Clang vector extensions;
// intrinsics appear only where the language has no operator (the explicit fused multiply-add).
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kVectorRegisters = 32;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kVectorBytes = 32;
constexpr int kVectorRegisters = 16;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16;
constexpr int kVectorRegisters = 32;
#else
constexpr int kVectorBytes = 16;
constexpr int kVectorRegisters = 16;
#endif

// Whether fma() below rounds once.
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool kFused = true;
#else
constexpr bool kFused = false;
#endif

// One register of scalars S, of the signed integers as wide as S (what comparisons give), and the
// same register at an address aligned for S alone.
template <class S>
struct Simd;

template <>
struct Simd<float> {
  typedef float V __attribute__((vector_size(kVectorBytes)));
  typedef std::int32_t I __attribute__((vector_size(kVectorBytes)));
  typedef float Unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  static constexpr int lanes = kVectorBytes / 4;
};

template <>
struct Simd<double> {
  typedef double V __attribute__((vector_size(kVectorBytes)));
  typedef std::int64_t I __attribute__((vector_size(kVectorBytes)));
  typedef double Unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  static constexpr int lanes = kVectorBytes / 8;
};

using f32v = Simd<float>::V;
using f64v = Simd<double>::V;
using i32v = Simd<float>::I;
using i64v = Simd<double>::I;

#define CELLGATE_INLINE inline __attribute__((always_inline))

template <class S>
CELLGATE_INLINE typename Simd<S>::V load(const S* p) {
  return *reinterpret_cast<const typename Simd<S>::Unaligned*>(p);
}

template <class S>
CELLGATE_INLINE void store(S* p, typename Simd<S>::V v) {
  *reinterpret_cast<typename Simd<S>::Unaligned*>(p) = v;
}

// Writes the first `count` lanes only (0 <= count <= lanes); nothing beyond is touched.
template <class S>
CELLGATE_INLINE void store_first(S* p, typename Simd<S>::V v, std::int64_t count) {
  for (std::int64_t lane = 0; lane < count; ++lane) p[lane] = v[lane];
}

// Reads the first `count` lanes only, the others are zero; nothing beyond is touched.
template <class S>
CELLGATE_INLINE typename Simd<S>::V load_first(const S* p, std::int64_t count) {
  typename Simd<S>::V v = {};
  for (std::int64_t lane = 0; lane < count; ++lane) v[lane] = p[lane];
  return v;
}

template <class S>
CELLGATE_INLINE typename Simd<S>::V broadcast(S x) {
  return x - typename Simd<S>::V{};  // x - (+0) is x for every x, NaN and -0 included
}

// a * b + c, rounded once on every instruction set that has the instruction; the x86-64 baseline
// has none and rounds twice, which is why its bits may differ from those of the other ISAs.
CELLGATE_INLINE f32v fma(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

CELLGATE_INLINE f64v fma(f64v a, f64v b, f64v c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f64(c, a, b);
#else
  return a * b + c;
#endif
}

// x limited to [low, high]; NaN stays NaN (x86 min and max return their second operand then). Here
// because GCC turns the comparison and choice written with operators into two instructions a side.
CELLGATE_INLINE f32v clamp(f32v x, f32v low, f32v high) {
#if defined(__AVX512F__)
  constexpr __mmask16 all = 0xffff;  // the forms without a mask give false warnings in GCC 12
  return _mm512_maskz_max_ps(all, low, _mm512_maskz_min_ps(all, high, x));
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_max_ps(low, _mm256_min_ps(high, x));
#elif defined(__x86_64__)
  return _mm_max_ps(low, _mm_min_ps(high, x));
#elif defined(__aarch64__)
  return vmaxq_f32(low, vminq_f32(high, x));
#else
  x = x > high ? high : x;
  return x < low ? low : x;
#endif
}

CELLGATE_INLINE f64v clamp(f64v x, f64v low, f64v high) {
#if defined(__AVX512F__)
  constexpr __mmask8 all = 0xff;
  return _mm512_maskz_max_pd(all, low, _mm512_maskz_min_pd(all, high, x));
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_max_pd(low, _mm256_min_pd(high, x));
#elif defined(__x86_64__)
  return _mm_max_pd(low, _mm_min_pd(high, x));
#elif defined(__aarch64__)
  return vmaxq_f64(low, vminq_f64(high, x));
#else
  x = x > high ? high : x;
  return x < low ? low : x;
#endif
}

// The bits of a register read as another type of the same size.
template <class To, class From>
CELLGATE_INLINE To bit_cast(From v) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  return (To)v;
}

}  // namespace
