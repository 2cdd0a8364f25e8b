// Transposition of a matrix, in squares as wide as a register: how weights get into panels and
// gradients out of them. Used by kernels.cpp; calls only vec.hpp.
#pragma once

#include <utility>

#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

namespace {

// Lanes Index... of a and b side by side. GCC has the function that Clang has from version 12 on.
template <class S, int... Index>
CELLGATE_INLINE typename Simd<S>::V shuffle(typename Simd<S>::V a, typename Simd<S>::V b) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, Index...);
#else
  return __builtin_shuffle(a, b, typename Simd<S>::I{Index...});
#endif
}

// Exchanges the two squares off the diagonal of every square of size 2 H, of which a and b are rows.
template <class S, int H, int... L>
CELLGATE_INLINE void exchange(typename Simd<S>::V& a, typename Simd<S>::V& b,
                              std::integer_sequence<int, L...>) {
  constexpr int n = sizeof...(L);
  const typename Simd<S>::V low = shuffle<S, (L & H ? n + L - H : L)...>(a, b);
  b = shuffle<S, (L & H ? n + L : L + H)...>(a, b);
  a = low;
}

template <class S, int H, int N>
CELLGATE_INLINE void transpose_squares(typename Simd<S>::V (&rows)[N]) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) {
    if (!(i & H)) exchange<S, H>(rows[i], rows[i + H], std::make_integer_sequence<int, N>{});
  }
  if constexpr (H > 1) transpose_squares<S, H / 2>(rows);
}

template <class S>
void transpose(const cellgate::TransposeArgs<S>& args) noexcept {
  constexpr int lanes = Simd<S>::lanes;
  const std::int64_t whole_rows = args.rows / lanes * lanes, whole_columns = args.columns / lanes * lanes;
  for (std::int64_t row = 0; row < whole_rows; row += lanes) {
    for (std::int64_t column = 0; column < whole_columns; column += lanes) {
      typename Simd<S>::V square[lanes];
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) square[r] = load(args.from + (row + r) * args.from_stride + column);
      transpose_squares<S, lanes / 2>(square);
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) store(args.to + (column + r) * args.to_stride + row, square[r]);
    }
  }
  for (std::int64_t row = 0; row < args.rows; ++row) {
    for (std::int64_t column = row < whole_rows ? whole_columns : 0; column < args.columns; ++column) {
      args.to[column * args.to_stride + row] = args.from[row * args.from_stride + column];
    }
  }
}

}  // namespace
