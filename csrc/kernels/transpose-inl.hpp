// Transposition of a matrix, in squares as wide as a register: how weights get into panels and
// gradients out of them. Used by kernels.cpp; calls only vec.hpp.
#pragma once

#include <utility>

#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

namespace {

// Lanes [0, N) of a with those of b that lie in the square of size H beside them: exchanges the two
// squares off the diagonal of every square of size 2 H.
template <int H, class V, std::size_t... L>
CELLGATE_INLINE void exchange(V& a, V& b, std::index_sequence<L...>) {
  constexpr int n = sizeof...(L);
  const V low = __builtin_shufflevector(a, b, (int(L) & H ? n + int(L) - H : int(L))...);
  b = __builtin_shufflevector(a, b, (int(L) & H ? n + int(L) : int(L) + H)...);
  a = low;
}

template <int H, class V, int N>
CELLGATE_INLINE void transpose_squares(V (&rows)[N]) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) {
    if (!(i & H)) exchange<H>(rows[i], rows[i + H], std::make_index_sequence<N>{});
  }
  if constexpr (H > 1) transpose_squares<H / 2>(rows);
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
      transpose_squares<lanes / 2>(square);
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
