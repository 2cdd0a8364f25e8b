// The register tile and the blocked product. Used by cell_forward-inl.hpp and kernels.cpp; calls
// only vec.hpp. Every sum runs in index order of k: SIMD lanes and tiles split the outputs only,
// and a block of k that ends early leaves its partial sum in memory for the next to go on from.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

#if defined(__clang__)
#define CELLGATE_UNROLL _Pragma("clang loop unroll(full)")
#define CELLGATE_UNROLL_K _Pragma("clang loop unroll_count(4)")
#else
#define CELLGATE_UNROLL _Pragma("GCC unroll 16")
#define CELLGATE_UNROLL_K _Pragma("GCC unroll 4")
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
constexpr std::int64_t kBlockDepth = 16 * 1024 / (4 * kVectorBytes);

// Two tiles take turns sooner where registers are few: the first of them waits for each block to come,
// the second has it at hand, and in short turns the processor works ahead from the one to the other. On
// Zen 3 with AVX2 half a block made 4 rows 7 % and 5 rows 11 % faster; two full tiles and three lose by it.
constexpr std::int64_t kTwoTilesDepth = kVectorRegisters == 16 ? kBlockDepth / 2 : kBlockDepth;

// Panels of more than this do not come from the L2 cache, and are asked for ahead of their use: 5 %
// faster on Zen 3 with 4 MiB from the L3 cache, 13 % with 16 MiB from main memory. Asked for in
// bursts rather than spread over the multiply-adds, the first would be 3 % slower.
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

// A narrow tile needs more rows to have enough independent sums, and has the registers for them.
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
// not multiplications, would then set the pace.
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
// more rows than weights, and go the other way about. With Pace > 0, asks for the memory from `ahead`
// on, Pace bytes for each k.
template <int Pace, class S, int R, int Q, int U, class A>
CELLGATE_INLINE void accumulate(Tile<S, R, Q> (&t)[U], const A& a, const S* panel,
                                std::ptrdiff_t panel_stride, std::int64_t k_begin, std::int64_t k_end,
                                const char* ahead = nullptr) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const S* w[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) {
    w[u] = panel + u * panel_stride + k_begin * 4 * lanes;
    hide_origin(w[u]);
  }
  CELLGATE_UNROLL_K
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
          weights[q] = load(w[u] + q * lanes);
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
        V weight = load(w[u] + q * lanes);
        if (R > 1) keep_in_register(weight);
        CELLGATE_UNROLL
        for (int r = 0; r < R; ++r) t[u].v[r][q] = fma(x[r], weight, t[u].v[r][q]);
      }
      w[u] += 4 * lanes;
    }
  }
}

// A product of many rows with a range of panels. The rows are read again for each panel. If they
// are more than a good part of the L1 cache, and the panels many, they are first brought together in
// `room`: rows far apart, most of all by a power of two, displace each other and the panel.
template <class S, int Most = kTileRows>
struct Product {
  const S* const* a;
  std::ptrdiff_t a_offset;
  std::int64_t rows, depth;
  const S* panels;
  bool prefetches;
  const S* packed;  // [rows, depth] in tiles of [depth, R], or null: read `a` where it is

  CELLGATE_INLINE Product(const S* const* a_, std::ptrdiff_t offset, std::int64_t rows_, const S* panels_,
                          std::int64_t depth_, std::int64_t panel_count, S* room, bool transposed = false)
      : a(a_),
        a_offset(offset),
        rows(rows_),
        depth(depth_),
        panels(panels_),
        prefetches(panel_count * depth_ * 4 * kVectorBytes > kPrefetchBytes),
        packed(nullptr) {
    constexpr std::int64_t kRowBytes = 16 * 1024, kManyRowBytes = 256 * 1024;
    const std::int64_t bytes = rows * depth * static_cast<std::int64_t>(sizeof(S));
    if (transposed) {
      bring_together(room, [&](std::int64_t row, auto n, std::int64_t k, S* to) {
        const S* from = a[k] + a_offset + row;
        CELLGATE_UNROLL
        for (int r = 0; r < decltype(n)::value; ++r) to[r] = from[r];
      });
    } else if ((panel_count >= 32 && bytes > kRowBytes) || (panel_count >= 8 && bytes > kManyRowBytes)) {
      bring_together(room, [&](std::int64_t row, auto n, std::int64_t k, S* to) {
        CELLGATE_UNROLL
        for (int r = 0; r < decltype(n)::value; ++r) to[r] = a[row + r][a_offset + k];
      });
    }
  }

  // Calls copy(first row, Int<rows>, k, where the scalars of these rows go) for every tile and k.
  template <class Copy>
  CELLGATE_INLINE void bring_together(S* room, const Copy& copy) {
    for_each_tile<Most>(rows, [&](std::int64_t row, auto n) {
      S* to = room + row * depth;
      for (std::int64_t k = 0; k < depth; ++k, to += decltype(n)::value) copy(row, n, k, to);
    });
    packed = room;
  }

  const S* panel(std::int64_t p) const { return panels + p * depth * 4 * Simd<S>::lanes; }

  // The rows of tile t with one block of k of panel p, after which `next` follows.
  template <int R, int Q>
  CELLGATE_INLINE void add_to(Tile<S, R, Q>& t, std::int64_t row, std::int64_t p, std::int64_t k_begin,
                              std::int64_t k_end, const S* next) const {
    if (packed) {
      add_rows_to(t, InterleavedRows<S, R>{packed + row * depth}, row, p, k_begin, k_end, next);
    } else {
      add_rows_to(t, SeparateRows<S, R>(a + row, a_offset), row, p, k_begin, k_end, next);
    }
  }

 private:
  template <int R, int Q, class A>
  CELLGATE_INLINE void add_rows_to(Tile<S, R, Q>& t, const A& from, std::int64_t row, std::int64_t p,
                                   std::int64_t k_begin, std::int64_t k_end, const S* next) const {
    Tile<S, R, Q> one[1] = {t};
    if (prefetches && Q == 4) {
      // This tile's share of the block of k that follows: spread over all tiles, it is there in time
      // whatever it comes from.
      constexpr std::ptrdiff_t width = 4 * kVectorBytes;
      const char* block =
          reinterpret_cast<const char*>(k_end < depth ? panel(p) + k_end * 4 * Simd<S>::lanes : next);
      const char* share = block + (k_end - k_begin) * width * row / rows;
      const std::ptrdiff_t pace = (width * R + rows - 1) / rows;
      if (pace <= kLineBytes / 2) {
        accumulate<kLineBytes / 2>(one, from, panel(p), 0, k_begin, k_end, share);
      } else if (pace <= kLineBytes) {
        accumulate<kLineBytes>(one, from, panel(p), 0, k_begin, k_end, share);
      } else {
        accumulate<width>(one, from, panel(p), 0, k_begin, k_end, share);
      }
    } else {
      accumulate<0>(one, from, panel(p), 0, k_begin, k_end);
    }
    t = one[0];
  }
};

template <class S, int R, int Q>
CELLGATE_INLINE void store_plain(const Tile<S, R, Q>& t, const cellgate::GemmArgs<S>& g, std::int64_t row,
                                 std::int64_t panel) {
  constexpr int lanes = Simd<S>::lanes;
  CELLGATE_UNROLL
  for (int r = 0; r < R; ++r) {
    S* out = g.out[row + r] + g.out_offset;
    CELLGATE_UNROLL
    for (int q = 0; q < Q; ++q) {
      const std::int64_t column = (panel * 4 + q) * lanes, left = g.out_columns - column;
      if (left >= lanes) {
        store(out + column, t.v[r][q]);
      } else if (left > 0) {
        store_first(out + column, t.v[r][q], left);
      }
    }
  }
}

// The panels [begin, end), of which the first Q vectors are wanted.
template <class S, int Q>
void gemm_panels(const cellgate::GemmArgs<S>& g, std::int64_t begin, std::int64_t end) noexcept {
  constexpr int lanes = Simd<S>::lanes, kRows = kRowsOfTile<Q>;
  const Product<S, kRows> product(g.a, g.a_offset, g.rows, g.panels, g.depth, end - begin, g.packed,
                                  g.transposed);
  for (std::int64_t p = begin; p < end; ++p) {
    const S* start = g.start ? g.start + p * 4 * lanes : nullptr;
    // Partial sums wait where the result goes if that has panel layout.
    S* partial = g.c ? g.c + p * g.c_panel_stride : g.partial;
    for_each_k_block(g.depth, g.rows, [&](std::int64_t k0, std::int64_t k1, bool first, bool last) {
      for_each_tile<kRows>(g.rows, [&](std::int64_t row, auto n) {
        Tile<S, decltype(n)::value, Q> t;
        S* at = partial + row * 4 * lanes;
        if (!first || g.accumulate) {
          load_tile(t, at, 4 * lanes);
        } else if (start) {
          load_tile(t, start, 0);
        } else {
          zero_tile(t);
        }
        product.add_to(t, row, p, k0, k1, product.panel(p + 1 < end ? p + 1 : p));
        if (g.c || !last) {
          store_tile(t, at, 4 * lanes);
        } else {
          store_plain(t, g, row, p);
        }
      });
    });
  }
}

template <class S>
void gemm(const cellgate::GemmArgs<S>& g) noexcept {
  // Columns that nobody wants cost as much as others: the last panel is computed as narrow as it is.
  constexpr std::int64_t lanes = Simd<S>::lanes;
  const std::int64_t whole = g.c ? g.panel_end : g.out_columns / (4 * lanes);
  const std::int64_t vectors = g.c ? 0 : (g.out_columns - whole * 4 * lanes + lanes - 1) / lanes;
  const std::int64_t wide_end = vectors > 2 || whole > g.panel_end ? g.panel_end : whole;
  if (g.panel_begin < wide_end) gemm_panels<S, 4>(g, g.panel_begin, wide_end);
  if (wide_end < g.panel_end) {
    const std::int64_t begin = wide_end > g.panel_begin ? wide_end : g.panel_begin;
    if (vectors == 1) {
      gemm_panels<S, 1>(g, begin, g.panel_end);
    } else {
      gemm_panels<S, 2>(g, begin, g.panel_end);
    }
  }
}

}  // namespace
