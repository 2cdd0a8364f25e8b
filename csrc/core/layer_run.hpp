// One layer and direction over one group of rows: what a team of threads does for all time steps.
// Called by sequence.cpp; calls only KernelTable.
#pragma once

#include <algorithm>

#include "packed_weights.hpp"
#include "threads.hpp"

namespace cellgate {

// Rows are sorted by length, longest first, so that the rows still running are a prefix. Every row
// has a pointer to its first step in the order of processing (its last valid step in the reverse
// direction); `*_step` leads from there to the next.
template <class S>
struct TeamArgs {
  const Model<S>* model;
  const PackedLayer<S>* weights;
  bool reverse;
  std::int64_t rows;
  const std::int64_t* lengths;  // [rows], descending
  const S* const* x;            // [rows]
  std::ptrdiff_t x_step;
  S* const* y;  // [rows]; h of step s is read back from here at step s + 1
  std::ptrdiff_t y_step;
  S* const* cells;  // [rows] or null
  std::ptrdiff_t cells_step;
  const S* const* h0;                  // [rows]
  const S* const* c0;                  // [rows], or null: zero
  const unsigned char* const* resets;  // [rows] or null: flag to read before step s, see layer_run.cpp
  std::ptrdiff_t reset_step;
  const S* zeros;    // as long as the wider of h and the cell, for rows whose state is reset
  S* c;              // [rows, padded H]: the cell state while running and at the end
  S* preactivation;  // [blocks, chunk_rows(rows), 4, lanes]
  S* unprojected;    // [rows, padded H], with projection only
  S* const* unprojected_rows;
  Barrier* barrier;
  int members;
};

// Arrays each member has to itself.
template <class S>
struct MemberScratch {
  const S** x_rows;  // [chunk_rows(rows)]
  const S** h_rows;  // [rows]
  S* partial;        // [rows, 4, lanes]
  S* packed;         // packed_scalars()
};

// Rows of the x-projection computed at once: as many whole steps as fit, one at least. Each chunk
// reads all of W again; its result waits in memory until its steps come, so it is bounded.
constexpr std::int64_t kChunkRows = 256;
inline std::int64_t chunk_rows(std::int64_t rows) { return rows > kChunkRows ? rows : kChunkRows; }

// Room in which the kernels bring rows together: those of the x-projection, of a step that adds x
// itself (whatever T is, a team whose rows all have one step does so), and of the projection.
inline std::int64_t packed_scalars(std::int64_t rows, std::int64_t steps, const Config& config) {
  const std::int64_t input = std::max(config.input_size, config.layer_input_size(config.num_layers - 1));
  const std::int64_t step = rows * (input + config.output_size());
  return std::max({steps > 1 ? chunk_rows(rows) * input : 0, step, rows * config.hidden_size});
}

template <class S>
void run_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member) noexcept;

}  // namespace cellgate
