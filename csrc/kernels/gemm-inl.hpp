// The product of rows with panels, blocked for the caches. Used by cell_forward-inl.hpp and kernels.cpp;
// calls tile-inl.hpp.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/tile-inl.hpp"

namespace {

// A product of many rows with a range of panels. The rows are read again for each panel. If they fill much of
// the L1 cache, and the panels are many, they are first gathered in `room`: rows whose addresses lie far
// apart, above all by a power of two, displace each other and the panel.
template <class W, class S, int Most = kTileRows>
struct Product {
  // One k of a panel.
  static constexpr std::ptrdiff_t kPanelBytes = 4 * Simd<S>::lanes * sizeof(W);

  const S* const* a;
  std::ptrdiff_t a_offset;
  std::int64_t rows, depth;
  const W* panels;
  bool prefetches;
  const S* gathered;  // [rows, depth] in tiles of [depth, R], or null: read `a` where it is

  CELLGATE_INLINE Product(const S* const* a_, std::ptrdiff_t offset, std::int64_t rows_, const W* panels_,
                          std::int64_t depth_, std::int64_t panel_count, S* room, bool transposed = false)
      : a(a_),
        a_offset(offset),
        rows(rows_),
        depth(depth_),
        panels(panels_),
        prefetches(panel_count * depth_ * kPanelBytes > kPrefetchBytes),
        gathered(nullptr) {
    constexpr std::int64_t kRowBytes = 16 * 1024, kManyRowBytes = 256 * 1024;
    const std::int64_t bytes = rows * depth * static_cast<std::int64_t>(sizeof(S));
    if (transposed) {
      gather(room, [&](std::int64_t row, auto n, std::int64_t k, S* to) {
        const S* from = a[k] + a_offset + row;
        CELLGATE_UNROLL
        for (int r = 0; r < decltype(n)::value; ++r) to[r] = from[r];
      });
    } else if ((panel_count >= 32 && bytes > kRowBytes) || (panel_count >= 8 && bytes > kManyRowBytes)) {
      gather(room, [&](std::int64_t row, auto n, std::int64_t k, S* to) {
        CELLGATE_UNROLL
        for (int r = 0; r < decltype(n)::value; ++r) to[r] = a[row + r][a_offset + k];
      });
    }
  }

  // Calls copy(first row, Int<rows>, k, where the scalars of these rows go) for every tile and k.
  template <class Copy>
  CELLGATE_INLINE void gather(S* room, const Copy& copy) {
    for_each_tile<Most>(rows, [&](std::int64_t row, auto n) {
      S* to = room + row * depth;
      for (std::int64_t k = 0; k < depth; ++k, to += decltype(n)::value) copy(row, n, k, to);
    });
    gathered = room;
  }

  const W* panel(std::int64_t p) const { return panels + p * depth * 4 * Simd<S>::lanes; }

  // The rows of tile t with one block of k of panel p, after which `next` follows.
  template <int R, int Q>
  CELLGATE_INLINE void add_to(Tile<S, R, Q>& t, std::int64_t row, std::int64_t p, std::int64_t k_begin,
                              std::int64_t k_end, const W* next) const {
    if (gathered) {
      add_rows_to(t, InterleavedRows<S, R>{gathered + row * depth}, row, p, k_begin, k_end, next);
    } else {
      add_rows_to(t, SeparateRows<S, R>(a + row, a_offset), row, p, k_begin, k_end, next);
    }
  }

 private:
  template <int R, int Q, class A>
  CELLGATE_INLINE void add_rows_to(Tile<S, R, Q>& t, const A& from, std::int64_t row, std::int64_t p,
                                   std::int64_t k_begin, std::int64_t k_end, const W* next) const {
    Tile<S, R, Q> one[1] = {t};
    if (kWorthCode<S> && prefetches && Q == 4) {
      // Prefetches this tile's share of the block of k that follows.
      constexpr std::ptrdiff_t width = kPanelBytes;
      const char* block =
          reinterpret_cast<const char*>(k_end < depth ? panel(p) + k_end * 4 * Simd<S>::lanes : next);
      const char* share = block + (k_end - k_begin) * width * row / rows;
      const std::ptrdiff_t pace = (width * R + rows - 1) / rows;
      if (kCompact) {
        accumulate<kLineBytes>(one, from, panel(p), 0, k_begin, k_end, share);
      } else if (pace <= kLineBytes / 2) {
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
template <class W, class S, int Q>
void gemm_panels(const cellgate::GemmArgs<S>& g, std::int64_t begin, std::int64_t end) noexcept {
  constexpr int lanes = Simd<S>::lanes, kRows = kRowsOfTile<Q>;
  const Product<W, S, kRows> product(g.a, g.a_offset, g.rows, static_cast<const W*>(g.panels.data), g.depth,
                                     end - begin, g.gathered, g.transposed);
  for (std::int64_t p = begin; p < end; ++p) {
    const S* start = g.start ? g.start + p * 4 * lanes : nullptr;
    // Between blocks of k the sums are kept where the result goes, if that has panel layout.
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

template <class W, class S>
void gemm(const cellgate::GemmArgs<S>& g) noexcept {
  // Columns beyond out_columns cost as much as others: of the last panel, only the vectors wanted are
  // computed.
  constexpr std::int64_t lanes = Simd<S>::lanes;
  const std::int64_t whole = g.c ? g.panel_end : g.out_columns / (4 * lanes);
  const std::int64_t vectors = g.c ? 0 : (g.out_columns - whole * 4 * lanes + lanes - 1) / lanes;
  // Compact, a panel of one vector alone is worth code of its own, in float: heads with one output have it.
  constexpr std::int64_t most_narrow = !kCompact ? 2 : kWorthCode<S> ? 1 : 0;
  const std::int64_t wide_end = vectors > most_narrow || whole > g.panel_end ? g.panel_end : whole;
  if (g.panel_begin < wide_end) gemm_panels<W, S, 4>(g, g.panel_begin, wide_end);
  if (wide_end < g.panel_end) {
    [[maybe_unused]] const std::int64_t begin = wide_end > g.panel_begin ? wide_end : g.panel_begin;
    if constexpr (most_narrow >= 1) {
      if (vectors == 1) return gemm_panels<W, S, 1>(g, begin, g.panel_end);
    }
    if constexpr (most_narrow >= 2) gemm_panels<W, S, 2>(g, begin, g.panel_end);
  }
}

}  // namespace
