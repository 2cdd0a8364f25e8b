// The register tile and the blocked product. Used by cell_forward-inl.hpp and kernels.cpp; calls
// only vec.hpp. Every sum runs in index order of k: SIMD lanes and tiles split the outputs only,
// and a block of k that ends early leaves its partial sum in memory for the next to go on from.
#pragma once

#include "kernel_table.hpp"
#include "vec.hpp"

#if defined(__clang__)
#define CELLGATE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CELLGATE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace {

// Accumulators a tile may hold: what is left of the registers after one broadcast for each row and
// one weight vector. The baseline has no fused multiply-add and needs one more for the product.
#if defined(__FMA__) || defined(__aarch64__)
constexpr int kTileAccumulators = kVectorRegisters == 32 ? 24 : 12;
#else
constexpr int kTileAccumulators = 8;
#endif
constexpr int kTileRows = kTileAccumulators / 4;

// A panel's block of k must stay in the L1 cache (32 KiB or more on every CPU we know) while all
// rows pass over it, beside their own slices and partial sums.
constexpr std::int64_t kPanelBlockBytes = 16 * 1024;

template <int N>
struct Int {
  static constexpr int value = N;
};

// Calls f(Int<rows>) for 1 <= rows <= kTileRows.
template <class F>
CELLGATE_INLINE void with_tile_rows(std::int64_t rows, const F& f) {
  if constexpr (kTileRows >= 6) {
    if (rows == 6) return f(Int<6>{});
    if (rows == 5) return f(Int<5>{});
    if (rows == 4) return f(Int<4>{});
  }
  if constexpr (kTileRows >= 3) {
    if (rows == 3) return f(Int<3>{});
  }
  if (rows == 2) return f(Int<2>{});
  return f(Int<1>{});
}

// Calls f(first row, Int<rows>) for tiles that cover [0, rows) and differ by at most one row, so
// that no tile is left with too few independent sums to hide the latency of the multiply-add.
template <class F>
CELLGATE_INLINE void for_each_tile(std::int64_t rows, const F& f) {
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const std::int64_t longer = tiles ? rows % tiles : 0, base = tiles ? rows / tiles : 0;
  std::int64_t row = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t count = base + (tile < longer);
    with_tile_rows(count, [&](auto n) { f(row, n); });
    row += count;
  }
}

// Calls f(first k, last k, is the first block, is the last block) for blocks that cover [0, depth).
template <class S, class F>
CELLGATE_INLINE void for_each_k_block(std::int64_t depth, const F& f) {
  constexpr std::int64_t kBlock = kPanelBlockBytes / (4 * kVectorBytes);
  const std::int64_t blocks = depth > kBlock ? (depth + kBlock - 1) / kBlock : 1;
  for (std::int64_t b = 0; b < blocks; ++b) {
    f(depth * b / blocks, depth * (b + 1) / blocks, b == 0, b + 1 == blocks);
  }
}

template <class S, int R>
struct Tile {
  typename Simd<S>::V v[R][4];
};

template <class S, int R>
CELLGATE_INLINE void load_tile(Tile<S, R>& t, const S* from, std::ptrdiff_t row_stride) {
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    CELLGATE_UNROLL
    for (int q = 0; q < 4; ++q) t.v[r][q] = load(from + r * row_stride + q * Simd<S>::lanes);
  }
}

template <class S, int R>
CELLGATE_INLINE void zero_tile(Tile<S, R>& t) {
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    CELLGATE_UNROLL
    for (int q = 0; q < 4; ++q) t.v[r][q] = typename Simd<S>::V{};
  }
}

template <class S, int R>
CELLGATE_INLINE void store_tile(const Tile<S, R>& t, S* to, std::ptrdiff_t row_stride) {
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    CELLGATE_UNROLL
    for (int q = 0; q < 4; ++q) store(to + r * row_stride + q * Simd<S>::lanes, t.v[r][q]);
  }
}

// t[u][r][:] += sum over k in [k_begin, k_end) of a[r][k] * panel_u[k, :], for U panels that lie
// panel_stride apart. The broadcasts come first and then one weight vector at a time: R * 4 * U
// sums, R broadcasts and one weight fit the register file, any other order spills.
template <class S, int R, int U>
CELLGATE_INLINE void accumulate(Tile<S, R> (&t)[U], const S* const* a, std::ptrdiff_t a_offset,
                                const S* panel, std::ptrdiff_t panel_stride, std::int64_t k_begin,
                                std::int64_t k_end) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const S* row[R];
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) row[r] = a[r] + a_offset;
  const S* w = panel + k_begin * 4 * lanes;
  for (std::int64_t k = k_begin; k < k_end; ++k, w += 4 * lanes) {
    V x[R];
    CELLGATE_UNROLL
    for (int r = 0; r < R; ++r) x[r] = broadcast(row[r][k]);
    CELLGATE_UNROLL
    for (int u = 0; u < U; ++u) {
      CELLGATE_UNROLL
      for (int q = 0; q < 4; ++q) {
        const V weight = load(w + u * panel_stride + q * lanes);
        CELLGATE_UNROLL
        for (int r = 0; r < R; ++r) t[u].v[r][q] = fma(x[r], weight, t[u].v[r][q]);
      }
    }
  }
}

template <class S, int R>
CELLGATE_INLINE void store_plain(const Tile<S, R>& t, const cellgate::GemmArgs<S>& g,
                                 std::int64_t row, std::int64_t panel) {
  constexpr int lanes = Simd<S>::lanes;
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    S* out = g.out[row + r] + g.out_offset;
    CELLGATE_UNROLL
    for (int q = 0; q < 4; ++q) {
      const std::int64_t column = (panel * 4 + q) * lanes, left = g.out_columns - column;
      if (left >= lanes) {
        store(out + column, t.v[r][q]);
      } else if (left > 0) {
        store_first(out + column, t.v[r][q], left);
      }
    }
  }
}

template <class S>
void gemm(const cellgate::GemmArgs<S>& g) noexcept {
  constexpr int lanes = Simd<S>::lanes;
  for (std::int64_t p = g.panel_begin; p < g.panel_end; ++p) {
    const S* panel = g.panels + p * g.depth * 4 * lanes;
    const S* start = g.start ? g.start + p * 4 * lanes : nullptr;
    // Partial sums wait where the result goes if that has panel layout, else in scratch.
    S* partial = g.c ? g.c + p * 4 * lanes : g.scratch;
    const std::ptrdiff_t partial_stride = g.c ? g.c_stride : 4 * lanes;
    for_each_k_block<S>(g.depth, [&](std::int64_t k0, std::int64_t k1, bool first, bool last) {
      for_each_tile(g.rows, [&](std::int64_t row, auto n) {
        constexpr int R = decltype(n)::value;
        Tile<S, R> t[1];
        if (!first) {
          load_tile(t[0], partial + row * partial_stride, partial_stride);
        } else if (start) {
          load_tile(t[0], start, 0);
        } else {
          zero_tile(t[0]);
        }
        accumulate(t, g.a + row, g.a_offset, panel, 0, k0, k1);
        if (g.c || !last) {
          store_tile(t[0], partial + row * partial_stride, partial_stride);
        } else {
          store_plain(t[0], g, row, p);
        }
      });
    });
  }
}

}  // namespace
