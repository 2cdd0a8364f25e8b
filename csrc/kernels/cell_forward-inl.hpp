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
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    S* c = args.c + (row + r) * args.c_stride + unit;
    const V i = sigmoid(gates.v[r][0]), f = sigmoid(gates.v[r][1]);
    const V g = tanh(gates.v[r][2]), o = sigmoid(gates.v[r][3]);
    const V cell = fma(f, load(c), i * g);
    const V out = o * tanh(cell);
    store(c, cell);
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
CELLGATE_INLINE void start_tile(Tile<S, R>& t, const cellgate::CellForwardArgs<S>& args,
                                std::int64_t row, std::int64_t block) {
  constexpr int lanes = Simd<S>::lanes;
  if (args.preactivation) {
    const std::ptrdiff_t stride = args.preactivation_stride;
    load_tile(t, args.preactivation + row * stride + block * 4 * lanes, stride);
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
    accumulate(t, args.x, args.x_offset, args.w + block * w_panel, w_panel, 0, args.input_size);
  }
  accumulate(t, args.h, args.h_offset, args.r + block * r_panel, r_panel, 0, args.recurrent_size);
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) cell_tail(t[u], args, 0, block + u);
}

template <class S>
CELLGATE_INLINE void many_rows(const cellgate::CellForwardArgs<S>& args, std::int64_t block) {
  constexpr int lanes = Simd<S>::lanes;
  const S* w = args.w + block * args.input_size * 4 * lanes;
  const S* r = args.r + block * args.recurrent_size * 4 * lanes;
  bool fresh = true;  // no partial sum is in scratch yet
  const auto segment = [&](const S* const* a, std::ptrdiff_t a_offset, const S* panel,
                           std::int64_t depth, bool ends_chain) {
    for_each_k_block<S>(depth, [&](std::int64_t k0, std::int64_t k1, bool, bool last) {
      for_each_tile(args.rows, [&](std::int64_t row, auto n) {
        constexpr int R = decltype(n)::value;
        Tile<S, R> t[1];
        S* partial = args.scratch + row * 4 * lanes;
        if (fresh) {
          start_tile(t[0], args, row, block);
        } else {
          load_tile(t[0], partial, 4 * lanes);
        }
        accumulate(t, a + row, a_offset, panel, 0, k0, k1);
        if (last && ends_chain) {
          cell_tail(t[0], args, row, block);
        } else {
          store_tile(t[0], partial, 4 * lanes);
        }
      });
      fresh = false;
    });
  };
  if (!args.preactivation) segment(args.x, args.x_offset, w, args.input_size, false);
  segment(args.h, args.h_offset, r, args.recurrent_size, true);
}

template <class S>
void cell_forward(const cellgate::CellForwardArgs<S>& args) noexcept {
  if (args.rows > kTileRows) {
    for (std::int64_t b = args.block_begin; b < args.block_end; ++b) many_rows(args, b);
    return;
  }
  with_tile_rows(args.rows, [&](auto n) {
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
