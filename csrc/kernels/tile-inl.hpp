// The register tile: how many rows and vectors are summed at once, and the loop over k that sums them.
// Used by gemm-inl.hpp and the cell_*-inl.hpp; calls weights-inl.hpp and vec.hpp. Every sum runs in index
// order of k: SIMD lanes and tiles split the outputs only, and a block of k that ends early leaves its
// partial sum in memory for the next to go on from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/vec.hpp"
#include "kernels/weights-inl.hpp"

#if defined(__clang__)
#define CELLGATE_UNROLL _Pragma("clang loop unroll(full)")
#define CELLGATE_UNROLL_K _Pragma("clang loop unroll_count(4)")
#else
#define CELLGATE_UNROLL _Pragma("GCC unroll 16")
#define CELLGATE_UNROLL_K _Pragma("GCC unroll 4")
#endif

// CELLGATE_COMPACT: half the code, for the C library, whose products of many rows are a few per cent slower
// with it. No bit depends on it, nor the speed of cell_steps.
#if defined(CELLGATE_COMPACT)
#define CELLGATE_UNROLL_K_UNLESS_COMPACT
#define CELLGATE_INLINE_UNLESS_COMPACT __attribute__((noinline))
#else
#define CELLGATE_UNROLL_K_UNLESS_COMPACT CELLGATE_UNROLL_K
#define CELLGATE_INLINE_UNLESS_COMPACT CELLGATE_INLINE
#endif

namespace {

// Accumulators a tile may hold: what is left of the registers after one broadcast for each row and
// one weight vector. The baseline has no fused multiply-add and needs one more for the product.
constexpr int kTileAccumulators = !kFused ? 8 : kVectorRegisters == 32 ? 24 : 12;
#if defined(CELLGATE_COMPACT)
constexpr bool kCompact = true;
#else
constexpr bool kCompact = false;
#endif
constexpr int kTileRows = kCompact && kTileAccumulators > 16 ? 4 : kTileAccumulators / 4;

// Whether S is worth the code that is there for speed alone: compact, float with fused multiply-adds is.
template <class S>
constexpr bool kWorthCode = !kCompact || (kFused && sizeof(S) == sizeof(float));

// A panel's block of k must stay in the L1 cache (at least 32 KiB on x86-64 and aarch64 CPUs) while all
// rows pass over it, beside their own slices and partial sums.
constexpr std::int64_t kBlockDepth = 16 * 1024 / (4 * kVectorBytes);

// Where registers are few, two tiles pass over shorter blocks: the first waits for each block to come from a
// farther cache, the second finds it in L1, and the processor overlaps the two if both are short. Two full
// tiles, and three, are slower with it. To find it anew: `python -m benchmarks.compare` on rows of B = 4 and
// 5 with CELLGATE_ISA=avx2 (docs/performance.md).
constexpr std::int64_t kTwoTilesDepth = kVectorRegisters == 16 ? kBlockDepth / 2 : kBlockDepth;

// Panels of more than this do not come from the L2 cache, and are prefetched. The prefetches are spread over
// the multiply-adds: in bursts they are slower. To find it anew: `python -m benchmarks.compare` on rows whose
// weights come from L2, L3 and memory (docs/performance.md).
constexpr std::int64_t kPrefetchBytes = 384 * 1024;

constexpr int kLineBytes = 64;

template <int N>
struct Int {
  static constexpr int value = N;
};

// Calls f(Int<rows>) for 1 <= rows <= Most.
template <int Most, class F>
CELLGATE_INLINE void with_tile_rows(std::int64_t rows, const F& f) {
  if constexpr (Most >= 6) {
    if (rows == 6) return f(Int<6>{});
    if (rows == 5) return f(Int<5>{});
  }
  if constexpr (Most >= 4) {
    if (rows == 4) return f(Int<4>{});
  }
  if constexpr (Most >= 3) {
    if (rows == 3) return f(Int<3>{});
  }
  if (rows == 2) return f(Int<2>{});
  return f(Int<1>{});
}

// Calls f(first row, Int<rows>) for tiles that cover [0, rows) and differ by at most one row, so
// that no tile is left with too few independent sums to hide the latency of the multiply-add.
template <int Most = kTileRows, class F>
CELLGATE_INLINE void for_each_tile(std::int64_t rows, const F& f) {
  const std::int64_t tiles = (rows + Most - 1) / Most;
  const std::int64_t longer = tiles ? rows % tiles : 0, base = tiles ? rows / tiles : 0;
  std::int64_t row = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t count = base + (tile < longer);
    with_tile_rows<Most>(count, [&](auto n) { f(row, n); });
    row += count;
  }
}

// Calls f(first k, last k, is the first block, is the last block) for the blocks that cover [0, depth)
// when `rows` rows pass over each.
template <class F>
CELLGATE_INLINE void for_each_k_block(std::int64_t depth, std::int64_t rows, const F& f) {
  const std::int64_t most = rows > kTileRows && rows < 2 * kTileRows ? kTwoTilesDepth : kBlockDepth;
  const std::int64_t blocks = depth > most ? (depth + most - 1) / most : 1;
  for (std::int64_t b = 0; b < blocks; ++b) {
    f(depth * b / blocks, depth * (b + 1) / blocks, b == 0, b + 1 == blocks);
  }
}

// R rows of Q vectors: 4, but for the last columns of a product that has few.
template <class S, int R, int Q = 4>
struct Tile {
  typename Simd<S>::V v[R][Q];
};

// A narrow tile needs more rows to have enough independent sums; registers are left for them.
constexpr int kNarrowTileRows = kTileRows < 6 && kTileAccumulators < 12 ? 4 : 6;
template <int Q>
constexpr int kRowsOfTile = Q <= 2 ? kNarrowTileRows : kTileRows;

template <class S, int R, int Q>
CELLGATE_INLINE void load_tile(Tile<S, R, Q>& t, const S* from, std::ptrdiff_t row_stride) {
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    CELLGATE_UNROLL
    for (int q = 0; q < Q; ++q) t.v[r][q] = load(from + r * row_stride + q * Simd<S>::lanes);
  }
}

template <class S, int R, int Q>
CELLGATE_INLINE void zero_tile(Tile<S, R, Q>& t) {
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    CELLGATE_UNROLL
    for (int q = 0; q < Q; ++q) t.v[r][q] = typename Simd<S>::V{};
  }
}

template <class S, int R, int Q>
CELLGATE_INLINE void store_tile(const Tile<S, R, Q>& t, S* to, std::ptrdiff_t row_stride) {
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    CELLGATE_UNROLL
    for (int q = 0; q < Q; ++q) store(to + r * row_stride + q * Simd<S>::lanes, t.v[r][q]);
  }
}

// Keeps the compiler from folding a load into each of the multiply-adds that use its value: loads,
// not multiplications, would then limit the speed.
template <class V>
CELLGATE_INLINE void keep_in_register(V& v) {
#if defined(__aarch64__)
  __asm__("" : "+w"(v));
#elif defined(__AVX512F__)
  __asm__("" : "+v"(v));
#elif defined(__x86_64__)
  __asm__("" : "+x"(v));
#else
  static_cast<void>(v);
#endif
}

// Where a tile finds a[r][k]: in rows of their own, or interleaved.
template <class S, int R>
struct SeparateRows {
  const S* row[R];
  CELLGATE_INLINE SeparateRows(const S* const* a, std::ptrdiff_t offset) {
    CELLGATE_UNROLL
    for (int r = 0; r < R; ++r) row[r] = a[r] + offset;
  }
  CELLGATE_INLINE S at(int r, std::int64_t k) const { return row[r][k]; }
};

template <class S, int R>
struct InterleavedRows {
  const S* tile;  // [depth, R]
  CELLGATE_INLINE S at(int r, std::int64_t k) const { return tile[k * R + r]; }
};

// Keeps the compiler from deriving several pointers from one, which takes it more registers than
// there are.
template <class P>
CELLGATE_INLINE void hide_origin(P& pointer) {
  __asm__("" : "+r"(pointer));
}

// t[u][r][:] += sum over k in [k_begin, k_end) of a[r][k] * panel_u[k, :], for U panels that lie
// panel_stride apart. The broadcasts come first and then one weight vector at a time: R * 4 * U
// sums, R broadcasts and one weight fit the register file, any other order spills. Narrow tiles have
// more rows than weights: there the weights come first. With Pace > 0, prefetches the memory from `ahead`
// on, Pace bytes for each k.
template <int Pace, class W, class S, int R, int Q, int U, class A>
CELLGATE_INLINE void accumulate(Tile<S, R, Q> (&t)[U], const A& a, const W* panel,
                                std::ptrdiff_t panel_stride, std::int64_t k_begin, std::int64_t k_end,
                                const char* ahead = nullptr) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const W* w[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) {
    w[u] = panel + u * panel_stride + k_begin * 4 * lanes;
    hide_origin(w[u]);
  }
  CELLGATE_UNROLL_K_UNLESS_COMPACT
  for (std::int64_t k = k_begin; k < k_end; ++k) {
    if constexpr (Pace > 0) {
      CELLGATE_UNROLL
      for (int at = 0; at < Pace; at += kLineBytes) __builtin_prefetch(ahead + at, 0, 2);
      ahead += Pace;
    }
    if constexpr (Q < 4) {
      CELLGATE_UNROLL
      for (int u = 0; u < U; ++u) {
        V weights[Q];
        CELLGATE_UNROLL
        for (int q = 0; q < Q; ++q) {
          weights[q] = load_weights<S>(w[u] + q * lanes);
          keep_in_register(weights[q]);
        }
        CELLGATE_UNROLL
        for (int r = 0; r < R; ++r) {
          const V x = broadcast(a.at(r, k));
          CELLGATE_UNROLL
          for (int q = 0; q < Q; ++q) t[u].v[r][q] = fma(x, weights[q], t[u].v[r][q]);
        }
        w[u] += 4 * lanes;
      }
      continue;
    }
    V x[R];
    CELLGATE_UNROLL
    for (int r = 0; r < R; ++r) x[r] = broadcast(a.at(r, k));
    CELLGATE_UNROLL
    for (int u = 0; u < U; ++u) {
      CELLGATE_UNROLL
      for (int q = 0; q < Q; ++q) {
        V weight = load_weights<S>(w[u] + q * lanes);
        if (R > 1) keep_in_register(weight);
        CELLGATE_UNROLL
        for (int r = 0; r < R; ++r) t[u].v[r][q] = fma(x[r], weight, t[u].v[r][q]);
      }
      w[u] += 4 * lanes;
    }
  }
}

}  // namespace
