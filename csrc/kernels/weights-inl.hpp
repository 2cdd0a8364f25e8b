// The innermost load of each type that weights are stored as, and how rows of weights get into panels and
// back. Used by tile-inl.hpp and kernels.cpp; calls transpose-inl.hpp. A new type W is a file like this one,
// with load_weights, pack and unpack for it, and a row in weight_types.def.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/transpose-inl.hpp"
#include "kernels/vec.hpp"

namespace {

// Whether the columns of a panel of W have scales.
template <class W>
constexpr bool kScaled = false;

// A vector of weights, as they are multiplied.
template <class S>
CELLGATE_INLINE typename Simd<S>::V load_weights(const S* p) {
  return load(p);
}

// W = S: weights are stored as they come.
template <class W, class S>
void pack(const cellgate::PackArgs<S>& args) noexcept {
  static_assert(sizeof(W) == sizeof(S), "this type needs a pack of its own");
  constexpr std::int64_t width = 4 * Simd<S>::lanes;
  S* to = static_cast<S*>(args.panel) + args.column;
  transpose<S>({args.rows, args.depth, args.from, args.depth, to, width});
}

template <class W, class S>
void unpack(const cellgate::UnpackArgs<S>& args) noexcept {
  static_assert(sizeof(W) == sizeof(S), "this type needs an unpack of its own");
  constexpr std::int64_t width = 4 * Simd<S>::lanes;
  const S* from = static_cast<const S*>(args.panel) + args.column;
  transpose<S>({args.depth, args.rows, from, width, args.to, args.depth});
}

}  // namespace
