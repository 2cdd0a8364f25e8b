// One time step: gates, cell and output of some blocks of hidden units, the tail applied while the
// gates are still in registers. Used by kernels.cpp; calls gemm-inl.hpp and activations-inl.hpp.
#pragma once

#include "activations-inl.hpp"
#include "gemm-inl.hpp"
#include "kernel_table.hpp"
#include "vec.hpp"

namespace {

// c = sigmoid(f) * c + sigmoid(i) * tanh(g);  out = sigmoid(o) * tanh(c)
template <class S, int R>
CELLGATE_INLINE void cell_tail(const Tile<S, R>& gates, const cellgate::CellForwardArgs<S>& args,
                               std::int64_t row, std::int64_t block) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const std::int64_t unit = block * lanes, left = args.hidden_size - unit;
  S* kept = args.gates ? args.gates + block * args.preactivation_block_stride + row * 4 * lanes : nullptr;
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const std::ptrdiff_t at = (row + r) * args.c_stride + unit;
    const V i = sigmoid(gates.v[r][0]), f = sigmoid(gates.v[r][1]);
    const V g = tanh(gates.v[r][2]), o = sigmoid(gates.v[r][3]);
    const V cell = fma(f, load(args.c_prev + at), i * g);
    const V out = o * tanh(cell);
    store(args.c + at, cell);
    if (kept) {
      store(kept, i);
      store(kept + lanes, f);
      store(kept + 2 * lanes, g);
      store(kept + 3 * lanes, o);
      kept += 4 * lanes;
    }
    S* out_at = args.out[row + r] + args.out_offset + unit;
    S* cells_at = args.cells ? args.cells[row + r] + args.cells_offset + unit : nullptr;
    if (left >= lanes) {
      store(out_at, out);
      if (cells_at) store(cells_at, cell);
    } else {
      store_first(out_at, out, left);
      if (cells_at) store_first(cells_at, cell, left);
    }
  }
}

// The value every sum of a tile begins with.
template <class S, int R>
CELLGATE_INLINE void start_tile(Tile<S, R>& t, const cellgate::CellForwardArgs<S>& args, std::int64_t row,
                                std::int64_t block) {
  constexpr int lanes = Simd<S>::lanes;
  if (args.preactivation) {
    load_tile(t, args.preactivation + block * args.preactivation_block_stride + row * 4 * lanes, 4 * lanes);
  } else {
    load_tile(t, args.bias + block * 4 * lanes, 0);
  }
}

// U blocks at once for the R rows there are: enough independent sums to keep the multipliers busy
// when one block has too few. Weights are read once, so blocks of k would gain nothing.
template <class S, int R, int U>
CELLGATE_INLINE void few_rows(const cellgate::CellForwardArgs<S>& args, std::int64_t block) {
  constexpr int lanes = Simd<S>::lanes;
  const std::ptrdiff_t w_panel = args.input_size * 4 * lanes, r_panel = args.recurrent_size * 4 * lanes;
  Tile<S, R> t[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) start_tile(t[u], args, 0, block + u);
  if (!args.preactivation) {
    accumulate<false>(t, SeparateRows<S, R>(args.x, args.x_offset), args.w + block * w_panel, w_panel, 0,
                      args.input_size);
  }
  accumulate<false>(t, SeparateRows<S, R>(args.h, args.h_offset), args.r + block * r_panel, r_panel, 0,
                    args.recurrent_size);
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) cell_tail(t[u], args, 0, block + u);
}

// Adds one part of the sums, x W^T or h R^T, for one block of units and all rows. The sums start
// anew if `first` and wait in args.partial at the end unless `last`, when the cell follows.
template <class S>
CELLGATE_INLINE void many_rows(const cellgate::CellForwardArgs<S>& args, const Product<S>& product,
                               std::int64_t block, bool first_part, bool last_part) {
  constexpr int lanes = Simd<S>::lanes;
  for_each_k_block(product.depth, [&](std::int64_t k0, std::int64_t k1, bool first, bool last) {
    for_each_tile(args.rows, [&](std::int64_t row, auto n) {
      Tile<S, decltype(n)::value> t;
      S* partial = args.partial + row * 4 * lanes;
      if (first && first_part) {
        start_tile(t, args, row, block);
      } else {
        load_tile(t, partial, 4 * lanes);
      }
      product.add_to(t, row, block, k0, k1);
      if (last && last_part) {
        cell_tail(t, args, row, block);
      } else {
        store_tile(t, partial, 4 * lanes);
      }
    });
  });
}

template <class S>
void cell_forward(const cellgate::CellForwardArgs<S>& args) noexcept {
  if (args.rows > kTileRows) {
    const std::int64_t blocks = args.block_end - args.block_begin;
    const bool with_x = !args.preactivation;
    const Product<S> x(args.x, args.x_offset, args.rows, args.w, args.input_size, with_x ? blocks : 0,
                       args.packed);
    const Product<S> h(args.h, args.h_offset, args.rows, args.r, args.recurrent_size, blocks,
                       args.packed + args.rows * args.input_size);
    for (std::int64_t b = args.block_begin; b < args.block_end; ++b) {
      if (with_x) many_rows(args, x, b, true, false);
      many_rows(args, h, b, !with_x, true);
    }
    return;
  }
  with_tile_rows<kTileRows>(args.rows, [&](auto n) {
    constexpr int R = decltype(n)::value;
    constexpr int kFit = kTileAccumulators / (4 * R), U = kFit > 4 ? 4 : kFit;
    // Groups of nearly equal size: a last group of one block would wait for its own sums.
    const std::int64_t blocks = args.block_end - args.block_begin, groups = (blocks + U - 1) / U;
    for (std::int64_t group = 0, b = args.block_begin; group < groups; ++group) {
      const std::int64_t count = blocks * (group + 1) / groups - blocks * group / groups;
      if constexpr (U >= 4) {
        if (count == 4) few_rows<S, R, 4>(args, b);
      }
      if constexpr (U >= 3) {
        if (count == 3) few_rows<S, R, 3>(args, b);
      }
      if constexpr (U >= 2) {
        if (count == 2) few_rows<S, R, 2>(args, b);
      }
      if (count == 1) few_rows<S, R, 1>(args, b);
      b += count;
    }
  });
}

}  // namespace
