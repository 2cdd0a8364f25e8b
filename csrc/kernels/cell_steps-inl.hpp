// Many time steps of one sequence in one call, for streams of one sequence. A step is one chain of dependent
// instructions: its time is set by the number of them between the h of one step and the products of the next.
// Used by kernels.cpp; calls cell_forward-inl.hpp.
#pragma once

#include "kernels/cell-inl.hpp"
#include "kernels/cell_forward-inl.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/tile-inl.hpp"
#include "kernels/vec.hpp"

namespace {

// Layers of at most this many blocks of units are summed side by side, each block in four registers.
constexpr int kStepBlocks = kTileAccumulators / 4 > 3 ? 3 : kTileAccumulators / 4;

// With more blocks R does not fit into the L1 cache, and the next step begins with what was read last: one
// block at a time, so that as much of it as possible is still there; two at a time if there are four, since
// more of R fits. To find it anew: benchmarks/embed.
constexpr int kBlocksInPairs = 4;

// Whether there are forms of the loops for each number of blocks, with the head's sums in them: of double
// they are not worth the size of their code, and compact not of float without fused multiply-adds.
template <class S>
constexpr bool kManyForms = sizeof(S) == sizeof(float) && kWorthCode<S>;

// Whether activations of U blocks limit their results instead of x. With 16 registers, none is left for that
// beside more than one block.
template <int U>
constexpr bool kChain = U == 1 || kVectorRegisters == 32;

// How many columns the head's sums have.
enum class Head { kNone, kOne, kSome };

// The head's sums: a chain of dependent sums, which takes no time among those of the gates.
template <class W, Head kHead, class S>
struct HeadSums {
  typename Simd<S>::V sum = {};
  const S* row;
  const W* panel;

  CELLGATE_INLINE explicit HeadSums(const cellgate::CellStepsArgs<S>& args)
      : row(args.head_row), panel(static_cast<const W*>(args.head.data)) {
    if (kHead != Head::kNone && args.head_start) sum = load(args.head_start);
  }
  // h_k in every lane.
  CELLGATE_INLINE void add(std::int64_t k, typename Simd<S>::V h_k) {
    if constexpr (kHead == Head::kOne) sum = fma(h_k, broadcast(row[k]), sum);
    if constexpr (kHead == Head::kSome) sum = fma(h_k, load_weights<S>(panel + k * 4 * Simd<S>::lanes), sum);
  }
  CELLGATE_INLINE void store_to(const cellgate::CellStepsArgs<S>& args, std::int64_t step) const {
    S* out = args.out + step * args.out_step;
    if constexpr (kHead == Head::kOne) *out = sum[0];
    if constexpr (kHead == Head::kSome) store_first(out, sum, args.outputs);
  }
};

// t[u][:] += sum over k of h[k] * panel_u[k, :], and the head's sums of the same h.
template <class W, Head kHead, class S, int U>
CELLGATE_INLINE void add_state(Tile<S, 1> (&t)[U], HeadSums<W, kHead, S>& head,
                               const cellgate::CellStepsArgs<S>& args, std::int64_t block, const S* h) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  const std::ptrdiff_t panel = args.recurrent_size * 4 * lanes;
  const W* w[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) {
    w[u] = static_cast<const W*>(args.r.data) + (block + u) * panel;
    hide_origin(w[u]);
  }
  CELLGATE_UNROLL_K
  for (std::int64_t k = 0; k < args.recurrent_size; ++k) {
    const V x = broadcast(h[k]);
    CELLGATE_UNROLL
    for (int u = 0; u < U; ++u) {
      CELLGATE_UNROLL
      for (int q = 0; q < 4; ++q) t[u].v[0][q] = fma(x, load_weights<S>(w[u] + q * lanes), t[u].v[0][q]);
      w[u] += 4 * lanes;
    }
    head.add(k, x);
  }
}

// bias + x W^T of U blocks.
template <class W, class S, int U>
CELLGATE_INLINE void start_step(Tile<S, 1> (&t)[U], const cellgate::CellStepsArgs<S>& args, std::int64_t step,
                                std::int64_t block) {
  constexpr int lanes = Simd<S>::lanes;
  if (args.preactivation) {
    CELLGATE_UNROLL
    for (int u = 0; u < U; ++u) {
      load_tile(t[u], args.preactivation + (block + u) * args.preactivation_block_stride + step * 4 * lanes,
                0);
    }
    return;
  }
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) load_tile(t[u], args.units.of[cellgate::kBias] + (block + u) * 4 * lanes, 0);
  const S* x = args.x + step * args.x_step;
  const std::ptrdiff_t panel = args.input_size * 4 * lanes;
  accumulate<0>(t, InterleavedRows<S, 1>{x}, static_cast<const W*>(args.w.data) + block * panel, panel, 0,
                args.input_size);
}

// One step of U blocks from `block` on: h is read, the units of these blocks are written to `next`. With a
// head, the outputs of the step before are written, if there is one.
template <class W, Head kHead, class S, int U>
CELLGATE_INLINE void step_blocks(Int<U>, const cellgate::CellStepsArgs<S>& args, std::int64_t step,
                                 std::int64_t block, const S* h, S* next) {
  using V = typename Simd<S>::V;
  constexpr int lanes = Simd<S>::lanes;
  Tile<S, 1> t[U];
  start_step<W>(t, args, step, block);
  HeadSums<W, kHead, S> head(args);
  add_state<W>(t, head, args, block, h);
  S* c = args.c + block * lanes;
  V cell[U], o[U];
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) {
    const Gates<S> gates = activate<S, kChain<U>>(t[u].v[0]);
    o[u] = gates.o;
    cell[u] = next_cell(gates, load(c + u * lanes));
    store(c + u * lanes, cell[u]);
  }
  CELLGATE_UNROLL
  for (int u = 0; u < U; ++u) store(next + (block + u) * lanes, cell_output<S, kChain<U>>(o[u], cell[u]));
  if (step > 0) head.store_to(args, step - 1);
}

// The outputs of the last step of a call.
template <class W, Head kHead, class S>
CELLGATE_INLINE void outputs_of(const cellgate::CellStepsArgs<S>& args, std::int64_t step) {
  if (kHead == Head::kNone) return;
  const S* h = args.h + (step + 1) * args.h_step;
  HeadSums<W, kHead, S> head(args);
  CELLGATE_UNROLL_K
  for (std::int64_t k = 0; k < args.recurrent_size; ++k) head.add(k, broadcast(h[k]));
  head.store_to(args, step);
}
// All steps of a layer that has U blocks.
template <class W, int U, Head kHead, class S>
void steps_of_group(const cellgate::CellStepsArgs<S>& given) noexcept {
  const cellgate::CellStepsArgs<S> args = given;  // nothing else points at it: it may stay in registers
  const S* h = args.h;
  for (std::int64_t step = 0; step < args.steps; ++step) {
    S* next = args.h + (step + 1) * args.h_step;
    step_blocks<W, kHead>(Int<U>{}, args, step, 0, h, next);
    h = next;
  }
  outputs_of<W, kHead>(args, args.steps - 1);
}

// The same of one step: without a loop, constants are read where they are used instead of brought into
// registers first.
template <class W, int U, class S>
void step_of_group(const cellgate::CellStepsArgs<S>& args) noexcept {
  step_blocks<W, Head::kNone>(Int<U>{}, args, 0, 0, args.h, args.h + args.h_step);
}

// All steps of a layer that has more blocks: U at a time.
template <class W, int U, Head kHead, class S>
void steps_of_groups(const cellgate::CellStepsArgs<S>& given) noexcept {
  const cellgate::CellStepsArgs<S> args = given;
  const std::int64_t groups = (args.blocks + U - 1) / U;
  const S* h = args.h;
  for (std::int64_t step = 0; step < args.steps; ++step) {
    S* next = args.h + (step + 1) * args.h_step;
    const bool descending = (step % 2 != 0) != args.descending;
    for (std::int64_t i = 0; i < groups; ++i) {
      const std::int64_t group = descending ? groups - 1 - i : i, block = U * group;
      if (group == 0) {  // always whole
        step_blocks<W, kHead>(Int<U>{}, args, step, block, h, next);
      } else if (U == 1 || block + U <= args.blocks) {
        step_blocks<W, Head::kNone>(Int<U>{}, args, step, block, h, next);
      } else {
        for (std::int64_t b = block; b < args.blocks; ++b)
          step_blocks<W, Head::kNone>(Int<1>{}, args, step, b, h, next);
      }
    }
    h = next;
  }
  outputs_of<W, kHead>(args, args.steps - 1);
}

// All steps of a layer whose weights come from beyond the L2 cache: as single steps, which prefetch them.
template <class W, class S>
void steps_with_prefetch(const cellgate::CellStepsArgs<S>& args) noexcept {
  constexpr int lanes = Simd<S>::lanes;
  cellgate::CellForwardArgs<S> a{};
  a.rows = 1;
  a.block_end = args.blocks;
  a.hidden_size = args.blocks * lanes;
  a.preactivation_block_stride = args.preactivation_block_stride;
  a.units = args.units;
  a.input_size = args.input_size;
  a.w = args.w;
  a.recurrent_size = args.recurrent_size;
  a.r = args.r;
  a.c_prev = a.c = args.c;
  a.c_stride = args.blocks * lanes;
  for (std::int64_t step = 0; step < args.steps; ++step) {
    const S *x = args.x + step * args.x_step, *h = args.h + step * args.h_step;
    S* next = args.h + (step + 1) * args.h_step;
    if (args.preactivation) a.preactivation = args.preactivation + step * 4 * lanes;
    a.descending = (step % 2 != 0) != args.descending;
    a.x = &x;
    a.h = &h;
    a.out = &next;
    cell_forward<W>(a);
  }
}

template <class W, Head kHead, class S>
void many_steps(const cellgate::CellStepsArgs<S>& args) noexcept {
  if (args.blocks == 1) return steps_of_group<W, 1, kHead>(args);
  if constexpr (kManyForms<S>) {
    if (args.blocks == 2) return steps_of_group<W, 2, kHead>(args);
    if constexpr (kStepBlocks >= 3) {
      if (args.blocks == 3) return steps_of_group<W, 3, kHead>(args);
    }
    if (kVectorRegisters == 32 && args.blocks > kBlocksInPairs) return steps_of_groups<W, 1, kHead>(args);
  }
  steps_of_groups<W, 2, kHead>(args);
}

// One step of few blocks; whether there was a form for it.
template <class W, class S>
CELLGATE_INLINE bool one_step(const cellgate::CellStepsArgs<S>& args) noexcept {
  if (!kManyForms<S> || args.steps != 1 || args.blocks > kStepBlocks) return false;
  if constexpr (kManyForms<S>) {
    if (args.blocks == 1) step_of_group<W, 1>(args);
    if (args.blocks == 2) step_of_group<W, 2>(args);
    if constexpr (kStepBlocks >= 3) {
      if (args.blocks == 3) step_of_group<W, 3>(args);
    }
  }
  return true;
}

template <class W, class S>
void cell_steps(const cellgate::CellStepsArgs<S>& args) noexcept {
  constexpr std::int64_t panel_row = 4 * Simd<S>::lanes * sizeof(W);
  constexpr Head kFused = kManyForms<S> ? Head::kOne : Head::kNone;
  if (args.steps == 0) return;
  if (kWorthCode<S> && args.blocks * args.recurrent_size * panel_row > kPrefetchBytes) {
    if constexpr (kWorthCode<S>) steps_with_prefetch<W>(args);
  } else if (!one_step<W>(args)) {
    if (kFused == Head::kOne && args.outputs == 1) return many_steps<W, kFused>(args);
    many_steps<W, Head::kNone>(args);
  }
  for (std::int64_t step = 0; step < args.steps; ++step) {
    if (args.outputs == 1) outputs_of<W, Head::kOne>(args, step);
    if (args.outputs > 1) outputs_of<W, Head::kSome>(args, step);
  }
}

}  // namespace
