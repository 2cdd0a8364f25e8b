// One time step of back-propagation: from the gradient of the cell's output to that of the gates
// before their activation. Used by kernels.cpp; calls tile-inl.hpp and cell-inl.hpp.
#pragma once

#include "kernels/cell-inl.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/tile-inl.hpp"
#include "kernels/vec.hpp"

namespace {

// One vector of a row that ends after `left` more scalars, at least one.
template <class S>
CELLGATE_INLINE typename Simd<S>::V load_row(const S* row, std::int64_t left) {
  return left >= Simd<S>::lanes ? load(row) : load_first(row, left);
}

// v with zero in the lanes from `count` on, whatever was in them.
template <class S>
CELLGATE_INLINE typename Simd<S>::V first_lanes(typename Simd<S>::V v, std::int64_t count) {
  using V = typename Simd<S>::V;
  using I = typename Simd<S>::I;
  I kept = {};
  for (std::int64_t lane = 0; lane < count; ++lane) kept[lane] = -1;
  return bit_cast<V>(bit_cast<I>(v) & kept);
}

template <class S>
void cell_backward(const cellgate::CellBackwardArgs<S>& args) noexcept {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const std::ptrdiff_t padded = args.d_rows_gate_stride;
  for (std::int64_t block = args.block_begin; block < args.block_end; ++block) {
    const std::int64_t unit = block * lanes, left = args.hidden_size - unit;
    const S* gates = args.gates + block * args.gates_block_stride;
    S* panels = args.d_panels + block * args.gates_block_stride;
    S* unprojected = args.unprojected
                         ? args.unprojected + block / 4 * args.unprojected_panel_stride + block % 4 * lanes
                         : nullptr;
    for (std::int64_t row = 0; row < args.rows; ++row) {
      const std::ptrdiff_t at = row * args.stride + unit;
      const Gates<S> kept = {load(gates), load(gates + lanes), load(gates + 2 * lanes),
                             load(gates + 3 * lanes)};
      V dh = load(args.dh + at), dc = load(args.dc + at);
      if (args.dy) dh += load_row(args.dy[row] + args.dy_offset + unit, left);
      if (args.d_cells) dc += load_row(args.d_cells[row] + args.d_cells_offset + unit, left);
      const V squashed = tanh(load(args.c + at));
      dc = cell_gradient(kept, squashed, dh, dc);
      Gates<S> d = gate_gradients(kept, load(args.c_prev + at), squashed, dh, dc);
      if (left < lanes) {  // units that do not exist are NaN if x is infinite, and NaN * 0 would be NaN
        for (V* gate : {&d.i, &d.f, &d.g, &d.o}) *gate = first_lanes<S>(*gate, left);
      }
      store(args.dc + at, previous_cell_gradient(kept, dc));
      store(panels, d.i);
      store(panels + lanes, d.f);
      store(panels + 2 * lanes, d.g);
      store(panels + 3 * lanes, d.o);
      S* row_out = args.d_rows + row * args.d_rows_stride + unit;
      store(row_out, d.i);
      store(row_out + padded, d.f);
      store(row_out + 2 * padded, d.g);
      store(row_out + 3 * padded, d.o);
      if (unprojected) {
        store(unprojected, kept.o * squashed);
        unprojected += 4 * lanes;
      }
      gates += 4 * lanes;
      panels += 4 * lanes;
    }
  }
}

// Four vectors at a time, so that one addition does not wait for the one before.
template <class S>
void add_rows(const S* rows, std::int64_t count, std::int64_t width, S* sum) noexcept {
  constexpr int lanes = Simd<S>::lanes;
  for (std::int64_t column = 0; column < width; column += 4 * lanes) {
    typename Simd<S>::V total[4];
    CELLGATE_UNROLL
    for (int q = 0; q < 4; ++q) total[q] = load(sum + column + q * lanes);
    for (std::int64_t row = 0; row < count; ++row) {
      CELLGATE_UNROLL
      for (int q = 0; q < 4; ++q) total[q] += load(rows + row * width + column + q * lanes);
    }
    CELLGATE_UNROLL
    for (int q = 0; q < 4; ++q) store(sum + column + q * lanes, total[q]);
  }
}

}  // namespace
