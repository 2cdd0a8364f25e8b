// Many time steps of one sequence in one call: what a stream without other sequences beside it runs. A step
// is one chain of dependent instructions, so what counts is how few stand between the h of one step and the
// products of the next. Used by kernels.cpp; calls cell-inl.hpp and tile-inl.hpp.
#pragma once

#include "kernels/cell-inl.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/tile-inl.hpp"
#include "kernels/vec.hpp"

namespace {

// Blocks of units that are summed side by side, each in four registers.
constexpr int kStepBlocks = kTileAccumulators / 4 > 4 ? 4 : kTileAccumulators / 4;

// One step of U blocks from `block` on: h is read, the units of these blocks are written to `next`.
template <class W, class S, int U>
CELLGATE_INLINE void step_blocks(const cellgate::CellStepsArgs<S>& args, std::int64_t step,
                                 std::int64_t block, const S* h, S* next) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  Tile<S, 1> t[U];
  if (args.preactivation) {
    CELLGATE_UNROLL
    for (int u = 0; u < U; ++u) {
      load_tile(t[u], args.preactivation + (block + u) * args.preactivation_block_stride + step * 4 * lanes,
                0);
    }
  } else {
    CELLGATE_UNROLL
    for (int u = 0; u < U; ++u) load_tile(t[u], args.units.of[cellgate::kBias] + (block + u) * 4 * lanes, 0);
    const std::ptrdiff_t panel = args.input_size * 4 * lanes;
    const InterleavedRows<S, 1> x{args.x + step * args.x_step};
    accumulate<0>(t, x, static_cast<const W*>(args.w.data) + block * panel, panel, 0, args.input_size);
  }
  const std::ptrdiff_t panel = args.recurrent_size * 4 * lanes;
  accumulate<0>(t, InterleavedRows<S, 1>{h}, static_cast<const W*>(args.r.data) + block * panel, panel, 0,
                args.recurrent_size);
  S* c = args.c + block * lanes;
  V cell[U], o[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) {
    const Gates<S> gates = activate<S>(t[u].v[0]);
    o[u] = gates.o;
    cell[u] = next_cell(gates, load(c + u * lanes));
    store(c + u * lanes, cell[u]);
  }
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) store(next + (block + u) * lanes, cell_output<S>(o[u], cell[u]));
}

// All steps of a layer that has U blocks.
template <class W, class S, int U>
void steps_of_group(const cellgate::CellStepsArgs<S>& given) noexcept {
  const cellgate::CellStepsArgs<S> args = given;  // nothing else points at it: it may stay in registers
  for (std::int64_t step = 0; step < args.steps; ++step) {
    step_blocks<W, S, U>(args, step, 0, args.h + step * args.h_step, args.h + (step + 1) * args.h_step);
  }
}

template <class W, class S>
void cell_steps(const cellgate::CellStepsArgs<S>& args) noexcept {
  constexpr int U = kStepBlocks;
  if (args.blocks == 1) return steps_of_group<W, S, 1>(args);
  if (args.blocks == 2) return steps_of_group<W, S, 2>(args);
  if constexpr (U >= 3) {
    if (args.blocks == 3) return steps_of_group<W, S, 3>(args);
  }
  if constexpr (U >= 4) {
    if (args.blocks == 4) return steps_of_group<W, S, 4>(args);
  }
  const std::int64_t groups = (args.blocks + U - 1) / U;
  for (std::int64_t step = 0; step < args.steps; ++step) {
    const S* h = args.h + step * args.h_step;
    S* next = args.h + (step + 1) * args.h_step;
    const bool descending = (step % 2 != 0) != args.descending;
    for (std::int64_t i = 0; i < groups; ++i) {
      const std::int64_t group = descending ? groups - 1 - i : i;
      const std::int64_t block = args.blocks * group / groups;
      const std::int64_t count = args.blocks * (group + 1) / groups - block;
      if constexpr (U >= 4) {
        if (count == 4) step_blocks<W, S, 4>(args, step, block, h, next);
      }
      if constexpr (U >= 3) {
        if (count == 3) step_blocks<W, S, 3>(args, step, block, h, next);
      }
      if (count == 2) step_blocks<W, S, 2>(args, step, block, h, next);
      if (count == 1) step_blocks<W, S, 1>(args, step, block, h, next);
    }
  }
}

}  // namespace
