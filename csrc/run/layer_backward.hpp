// One layer and direction backward: what a team of threads does for all time steps.
// Called by backward.cpp; calls KernelTable, and layer_forward.hpp for what was not kept.
#pragma once

#include "run/gradient_panels.hpp"
#include "run/layer_forward.hpp"

namespace cellgate {

template <class S>
struct BackwardTeam {
  TeamArgs<S> forward;  // as when it was recorded; with checkpoints the tape has room for one segment
  TransposedLayer<S> weights;
  RowSteps<const S> d_y, d_cells;  // either may be absent: zero
  RowSteps<S> d_x;                 // or absent: not wanted
  S *d_h, *d_c;  // [B, padded P or H] and [B, padded H]: gradients of the last state on entry, of the
  std::ptrdiff_t d_h_stride;  //   initial one at the end; what lies beyond the width is zero
  S* d_output;                // [B, padded H], zero at first: of the cell's output, with projection only
  UnitVectors<S*> d_panels;   // each [blocks, chunk capacity, 4, lanes], or null: see CellBackwardArgs
  S* d_rows;                  // [chunk capacity, d_rows_stride]: d_gates by row, [4, padded H] each
  std::ptrdiff_t d_rows_stride;
  S* d_projected;          // [chunk capacity, P] and
  S* unprojected;          // [panels of H columns, chunk capacity, 4, lanes], with projection only
  GradientPanels<S> sums;  // those of vectors zero at first, all of them if there are no steps
};

template <class S>
struct BackwardScratch {
  MemberScratch<S> forward;
  std::int64_t* chunk_begins;  // [T + 1]
  const S** rows;              // [chunk capacity]
  S** out_rows;                // [chunk capacity]
  S* partial;                  // [chunk capacity, 4, lanes]
  S* gathered;                 // gathered_scalars_backward()
};

inline std::int64_t gathered_scalars_backward(std::int64_t rows, std::int64_t padded_hidden,
                                              const Config& config) {
  return chunk_rows(rows, true) * std::max({4 * padded_hidden, config.widest_input(), config.output_size()});
}

template <class S>
void run_member_backward(const BackwardTeam<S>& team, const BackwardScratch<S>& scratch, int member) noexcept;

}  // namespace cellgate
