// One time step: gates, cell and output of some blocks of hidden units, the tail applied while the
// gates are still in registers. Used by kernels.cpp; calls gemm-inl.hpp and activations-inl.hpp.
#pragma once

#include "kernels/activations-inl.hpp"
#include "kernels/gemm-inl.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

namespace {

// c = sigmoid(f) * c + sigmoid(i) * tanh(g);  out = sigmoid(o) * tanh(c). In two passes over the rows:
// from gates to output is one long chain of dependent instructions, and a processor sees too few rows
// ahead to fill the time; each half is short enough to overlap with that of the rows after it.
template <class S, int R>
CELLGATE_INLINE void cell_tail(const Tile<S, R>& gates, const cellgate::CellForwardArgs<S>& args,
                               std::int64_t row, std::int64_t block) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const std::int64_t unit = block * lanes, left = args.hidden_size - unit;
  S* kept = args.gates ? args.gates + block * args.preactivation_block_stride + row * 4 * lanes : nullptr;
  const std::ptrdiff_t first = row * args.c_stride + unit;
  V cell[R], o[R];
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const V i = sigmoid(gates.v[r][0]), f = sigmoid(gates.v[r][1]), g = tanh(gates.v[r][2]);
    o[r] = sigmoid(gates.v[r][3]);
    cell[r] = fma(f, load(args.c_prev + first + r * args.c_stride), i * g);
    store(args.c + first + r * args.c_stride, cell[r]);
    if (kept) {
      store(kept, i);
      store(kept + lanes, f);
      store(kept + 2 * lanes, g);
      store(kept + 3 * lanes, o[r]);
      kept += 4 * lanes;
    }
  }
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const V out = o[r] * tanh(cell[r]);
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
    load_tile(t, args.bias + block * 4 * lanes, 0);
  }
}

// x W^T or h R^T of U blocks, `panel` that of the first, for the R rows there are. Three or more panels
// side by side are what prefetchers of the hardware do best with; of fewer, the last is asked for from
// here, a page ahead and at the end in the panel that comes next.
template <class S, int R, int U>
CELLGATE_INLINE void add_part(Tile<S, R> (&t)[U], const SeparateRows<S, R>& rows, const S* panel,
                              std::int64_t depth, bool prefetches, const S* next) {
  constexpr std::ptrdiff_t width = 4 * kVectorBytes;
  constexpr std::int64_t k_ahead = 4096 / width;
  const std::ptrdiff_t stride = depth * 4 * Simd<S>::lanes;
  if (U > 2 || !prefetches || depth <= k_ahead) {
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
template <class S, int R, int U>
CELLGATE_INLINE void few_rows(const cellgate::CellForwardArgs<S>& args, std::int64_t block,
                              std::int64_t next_block) {
  constexpr int lanes = Simd<S>::lanes;
  const std::ptrdiff_t w_panel = args.input_size * 4 * lanes, r_panel = args.recurrent_size * 4 * lanes;
  const std::int64_t blocks = args.block_end - args.block_begin;
  Tile<S, R> t[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) start_tile(t[u], args, 0, block + u);
  const bool with_x = !args.preactivation;
  const bool prefetches =
      blocks * (r_panel + (with_x ? w_panel : 0)) * static_cast<std::int64_t>(sizeof(S)) > kPrefetchBytes;
  if (with_x) {
    add_part(t, SeparateRows<S, R>(args.x, args.x_offset), args.w + block * w_panel, args.input_size,
             prefetches, args.r + block * r_panel);
  }
  const S* next = with_x ? args.w + next_block * w_panel : args.r + next_block * r_panel;
  add_part(t, SeparateRows<S, R>(args.h, args.h_offset), args.r + block * r_panel, args.recurrent_size,
           prefetches, next);
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) cell_tail(t[u], args, 0, block + u);
}

// Adds one part of the sums, x W^T or h R^T, for one block of units and all rows. The sums start
// anew if `first` and wait in args.partial at the end unless `last`, when the cell follows. `next` is
// the panel that is read after this one.
template <class S>
CELLGATE_INLINE void many_rows(const cellgate::CellForwardArgs<S>& args, const Product<S>& product,
                               std::int64_t block, const S* next, bool first_part, bool last_part) {
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

template <class S>
void cell_forward(const cellgate::CellForwardArgs<S>& args) noexcept {
  if (args.rows > kTileRows) {
    const std::int64_t blocks = args.block_end - args.block_begin;
    const bool with_x = !args.preactivation;
    const Product<S> x(args.x, args.x_offset, args.rows, args.w, args.input_size, with_x ? blocks : 0,
                       args.packed);
    const Product<S> h(args.h, args.h_offset, args.rows, args.r, args.recurrent_size, blocks,
                       args.packed + args.rows * args.input_size);
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
    constexpr int kFit = kTileAccumulators / (4 * R), U = kFit > 4 ? 4 : kFit;
    // Groups of nearly equal size: a last group of one block would wait for its own sums.
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
        if (count == 4) few_rows<S, R, 4>(args, b, next);
      }
      if constexpr (U >= 3) {
        if (count == 3) few_rows<S, R, 3>(args, b, next);
      }
      if constexpr (U >= 2) {
        if (count == 2) few_rows<S, R, 2>(args, b, next);
      }
      if (count == 1) few_rows<S, R, 1>(args, b, next);
    }
  });
}

}  // namespace
