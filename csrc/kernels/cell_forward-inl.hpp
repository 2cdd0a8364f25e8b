// One time step: gates, cell and output of some blocks of hidden units, the tail applied while the
// gates are still in registers. Used by kernels.cpp and cell_steps-inl.hpp; calls gemm-inl.hpp
// and cell-inl.hpp.
#pragma once

#include "kernels/cell-inl.hpp"
#include "kernels/gemm-inl.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

namespace {

// From the sums of the gates to the output, in two passes over the rows: in one pass each row would be one
// long chain of dependent instructions, and the processor's window holds too few rows to overlap them. Each
// half is short enough to overlap with the same half of the next rows.
template <class S, int R>
CELLGATE_INLINE_UNLESS_COMPACT void cell_tail(const Tile<S, R>& sums,
                                              const cellgate::CellForwardArgs<S>& args, std::int64_t row,
                                              std::int64_t block) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const std::int64_t unit = block * lanes, left = args.hidden_size - unit;
  S* kept = args.gates ? args.gates + block * args.preactivation_block_stride + row * 4 * lanes : nullptr;
  const std::ptrdiff_t first = row * args.c_stride + unit;
  V cell[R], o[R];
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const Gates<S> gates = activate<S>(sums.v[r]);
    o[r] = gates.o;
    cell[r] = next_cell(gates, load(args.c_prev + first + r * args.c_stride));
    store(args.c + first + r * args.c_stride, cell[r]);
    if (kept) {
      store(kept, gates.i);
      store(kept + lanes, gates.f);
      store(kept + 2 * lanes, gates.g);
      store(kept + 3 * lanes, gates.o);
      kept += 4 * lanes;
    }
  }
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const V out = cell_output<S>(o[r], cell[r]);
    S* out_at = args.out[row + r] + args.out_offset + unit;
    S* cells_at = args.cells ? args.cells[row + r] + args.cells_offset + unit : nullptr;
    if (left >= lanes) {
      store(out_at, out);
      if (cells_at) store(cells_at, cell[r]);
    } else {
      store_first(out_at, out, left);
      if (cells_at) store_first(cells_at, cell[r], left);
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
    load_tile(t, args.units.of[cellgate::kBias] + block * 4 * lanes, 0);
  }
}

// Adds x W^T or h R^T of U blocks and R rows, all that there are; `panel` is that of the first block. With
// three or more panels side by side the hardware's prefetchers are the fastest; with fewer, the last panel
// is prefetched here, one page ahead, which at its end is in the panel that is read after it.
template <class W, class S, int R, int U>
CELLGATE_INLINE void add_part(Tile<S, R> (&t)[U], const SeparateRows<S, R>& rows, const W* panel,
                              std::int64_t depth, bool prefetches, const W* next) {
  constexpr std::ptrdiff_t width = 4 * Simd<S>::lanes * sizeof(W);
  constexpr std::int64_t k_ahead = 4096 / width;
  const std::ptrdiff_t stride = depth * 4 * Simd<S>::lanes;
  if (!kWorthCode<S> || U > 2 || !prefetches || depth <= k_ahead) {
    accumulate<0>(t, rows, panel, stride, 0, depth);
    return;
  }
  const char* here = reinterpret_cast<const char*>(panel + stride * (U - 1));
  accumulate<width>(t, rows, panel, stride, 0, depth - k_ahead, here + k_ahead * width);
  accumulate<width>(t, rows, panel, stride, depth - k_ahead, depth, reinterpret_cast<const char*>(next));
}

// U blocks at once for the R rows there are: enough independent sums to keep the multipliers busy
// when one block has too few. Weights are read once, so blocks of k would gain nothing. After these
// blocks come those from `next_block` on.
template <class W, class S, int R, int U>
CELLGATE_INLINE void few_rows(const cellgate::CellForwardArgs<S>& args, std::int64_t block,
                              std::int64_t next_block) {
  constexpr int lanes = Simd<S>::lanes;
  const std::ptrdiff_t w_panel = args.input_size * 4 * lanes, r_panel = args.recurrent_size * 4 * lanes;
  const W *w = static_cast<const W*>(args.w.data), *r = static_cast<const W*>(args.r.data);
  const std::int64_t blocks = args.block_end - args.block_begin;
  Tile<S, R> t[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) start_tile(t[u], args, 0, block + u);
  const bool with_x = !args.preactivation;
  const bool prefetches =
      blocks * (r_panel + (with_x ? w_panel : 0)) * static_cast<std::int64_t>(sizeof(W)) > kPrefetchBytes;
  if (with_x) {
    add_part(t, SeparateRows<S, R>(args.x, args.x_offset), w + block * w_panel, args.input_size, prefetches,
             r + block * r_panel);
  }
  const W* next = with_x ? w + next_block * w_panel : r + next_block * r_panel;
  add_part(t, SeparateRows<S, R>(args.h, args.h_offset), r + block * r_panel, args.recurrent_size, prefetches,
           next);
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) cell_tail(t[u], args, 0, block + u);
}

// Adds one part of the sums, x W^T or h R^T, for one block of units and all rows. With `first_part` they
// begin as start_tile says, else with args.partial; with `last_part` the cell follows, else they are stored
// in args.partial. `next` is the panel that is read after this one.
template <class W, class S>
CELLGATE_INLINE void many_rows(const cellgate::CellForwardArgs<S>& args, const Product<W, S>& product,
                               std::int64_t block, const W* next, bool first_part, bool last_part) {
  constexpr int lanes = Simd<S>::lanes;
  for_each_k_block(product.depth, args.rows, [&](std::int64_t k0, std::int64_t k1, bool first, bool last) {
    for_each_tile(args.rows, [&](std::int64_t row, auto n) {
      Tile<S, decltype(n)::value> t;
      S* partial = args.partial + row * 4 * lanes;
      if (first && first_part) {
        start_tile(t, args, row, block);
      } else {
        load_tile(t, partial, 4 * lanes);
      }
      product.add_to(t, row, block, k0, k1, next);
      if (last && last_part) {
        cell_tail(t, args, row, block);
      } else {
        store_tile(t, partial, 4 * lanes);
      }
    });
  });
}

template <class W, class S>
__attribute__((noinline)) void cell_forward(const cellgate::CellForwardArgs<S>& args) noexcept {
  if (args.rows > kTileRows) {
    const std::int64_t blocks = args.block_end - args.block_begin;
    const bool with_x = !args.preactivation;
    const Product<W, S> x(args.x, args.x_offset, args.rows, static_cast<const W*>(args.w.data),
                          args.input_size, with_x ? blocks : 0, args.gathered);
    const Product<W, S> h(args.h, args.h_offset, args.rows, static_cast<const W*>(args.r.data),
                          args.recurrent_size, blocks, args.gathered + args.rows * args.input_size);
    const auto block = [&](std::int64_t i) {
      return args.descending ? args.block_end - 1 - i : args.block_begin + i;
    };
    for (std::int64_t i = 0; i < blocks; ++i) {
      const std::int64_t b = block(i), next = block(i + 1 < blocks ? i + 1 : i);
      if (with_x) many_rows(args, x, b, h.panel(b), true, false);
      many_rows(args, h, b, (with_x ? x : h).panel(next), !with_x, true);
    }
    return;
  }
  with_tile_rows<kTileRows>(args.rows, [&](auto n) {
    constexpr int R = decltype(n)::value;
    constexpr int kFit = kWorthCode<S> ? kTileAccumulators / (4 * R) : 1, U = kFit > 4 ? 4 : kFit;
    // Groups of nearly equal size: a last group of one block would have too few independent sums.
    const std::int64_t blocks = args.block_end - args.block_begin, groups = (blocks + U - 1) / U;
    const auto begin_of = [&](std::int64_t i) {
      const std::int64_t group = args.descending ? groups - 1 - i : i;
      return args.block_begin + blocks * group / groups;
    };
    for (std::int64_t i = 0; i < groups; ++i) {
      const std::int64_t group = args.descending ? groups - 1 - i : i, b = begin_of(i);
      const std::int64_t count = args.block_begin + blocks * (group + 1) / groups - b;
      const std::int64_t next = begin_of(i + 1 < groups ? i + 1 : i);
      if constexpr (U >= 4) {
        if (count == 4) few_rows<W, S, R, 4>(args, b, next);
      }
      if constexpr (U >= 3) {
        if (count == 3) few_rows<W, S, R, 3>(args, b, next);
      }
      if constexpr (U >= 2) {
        if (count == 2) few_rows<W, S, R, 2>(args, b, next);
      }
      if (count == 1) few_rows<W, S, R, 1>(args, b, next);
    }
  });
}

}  // namespace
