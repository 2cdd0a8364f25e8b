// One layer and direction: what a team of threads does for all time steps.
// Called by forward.cpp and, to compute again what was not kept, by layer_backward.cpp; calls only
// KernelTable.
#pragma once

#include <algorithm>

#include "model/packed_weights.hpp"
#include "run/plane.hpp"
#include "threads/barrier.hpp"
#include "threads/share.hpp"

namespace cellgate {

// Rows of the x-projection computed at once: as many whole steps as fit, one at least. Each chunk
// reads all of W again; its result waits in memory until its steps come, so it is bounded. Training
// keeps it anyway, and each chunk reads and writes all gradients of the weights: 512 rows instead of
// 256 made the backward pass 4 % faster on Zen 5 (H 512, B 16, T 25).
constexpr std::int64_t kChunkRows = 256, kTrainingChunkRows = 512;
inline std::int64_t chunk_rows(std::int64_t rows, bool training) {
  return std::max(rows, training ? kTrainingChunkRows : kChunkRows);
}

// What training keeps of a layer and direction, for steps [first step, ...) in order of processing.
// Steps come in chunks, see Chunk; row i of step s is row positions[s] + i of a chunkless array,
// where positions[s] counts the valid rows of all steps before.
template <class S>
struct LayerTape {
  S* gates = nullptr;        // a chunk of n rows after the other, each [blocks, n, 4, lanes]: i, f, g, o
  S* cells = nullptr;        // [B, padded H] before the first step, then [positions, padded H]
  S* kept = nullptr;         // with checkpoints: [segments, B, padded H], c before each segment
  std::int64_t segment = 0;  // its steps; 0: no checkpoints
};

// Rows are sorted by length, longest first, so that the rows still running are a prefix.
template <class S>
struct TeamArgs {
  const Model<S>* model;
  const PackedLayer<S>* weights;
  bool reverse;
  bool split_rows;  // members own rows of a step; otherwise blocks of units
  std::int64_t rows;
  const std::int64_t* lengths;    // [rows], descending
  const std::int64_t* positions;  // [T + 1]: rows of all steps before, in order of processing
  RowSteps<const S> x;
  RowSteps<S> y;  // h of step s is read back from here at step s + 1
  RowSteps<S> cells;
  const S* const* h0;                  // [rows]
  const S* const* c0;                  // [rows], or null: zero
  const unsigned char* const* resets;  // [rows] or null: flag to read before step s, see is_reset()
  std::ptrdiff_t reset_step;
  const S* zeros;    // as long as the wider of h and the cell, for rows whose state is reset
  S* c;              // [rows, padded H]: the cell state while running and at the end; unused with a tape
  S* preactivation;  // [blocks, chunk capacity, 4, lanes]; with a tape its gates are used
  S* unprojected;    // [rows, padded H], with projection only
  S* const* unprojected_rows;
  S* fresh_cells;  // [rows, padded H], with a tape and resets only
  LayerTape<S> tape;
  Barrier* barrier;
  int members;
  std::int64_t passes;  // over the weights in earlier calls: the direction of the next goes on from there

  // A reset at time t cuts between t - 1 and t. Going forward it is read before step t; in reverse,
  // where t is processed before t - 1, `resets` is set up so that it is read before that step, and
  // before the first there is nothing to cut.
  bool is_reset(std::int64_t s, std::int64_t row) const {
    return resets && !(reverse && s == 0) && resets[row][s * reset_step];
  }
  std::int64_t active(std::int64_t s) const { return positions[s + 1] - positions[s]; }
  std::int64_t steps() const { return rows ? lengths[0] : 0; }
  std::int64_t chunk_capacity() const { return chunk_rows(rows, tape.gates != nullptr); }
};

// Arrays each member has to itself.
template <class S>
struct MemberScratch {
  const S** x_rows;         // [chunk capacity]
  const S** h_rows;         // [rows]
  S **y_rows, **cell_rows;  // [rows]
  S* partial;               // [max(rows, chunk capacity if it projects backward), 4, lanes]
  S* packed;                // packed_scalars()
};

// Consecutive steps whose x-projection is computed together, and whose rows lie together, the last
// step first: gradients are summed from the last step to the first, whatever the chunks.
struct Chunk {
  std::int64_t begin, end;  // steps
  std::int64_t rows;        // positions[end] - positions[begin]
};

// The chunk that begins at step `begin`, within steps [.., limit).
inline Chunk chunk_from(std::int64_t begin, std::int64_t limit, const std::int64_t* positions,
                        std::int64_t capacity) {
  const std::int64_t room = positions[begin] + capacity;
  std::int64_t end = begin + 1;
  while (end < limit && positions[end + 1] <= room) ++end;
  return {begin, end, positions[end] - positions[begin]};
}

// Room in which the kernels bring rows together: those of the x-projection, of a step that adds x
// itself (whatever T is, a team whose rows all have one step does so), and of the projection. `chunk`
// is the capacity of a chunk, or 0 if there is none.
inline std::int64_t packed_scalars(std::int64_t rows, std::int64_t chunk, const Config& config) {
  const std::int64_t input = std::max(config.input_size, config.layer_input_size(config.num_layers - 1));
  const std::int64_t step = rows * (input + config.output_size());
  return std::max({chunk * input, step, rows * config.hidden_size});
}

// Runs steps [begin, end): all, or, with one member and without a tape, the next ones.
template <class S>
void run_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member, std::int64_t begin,
                std::int64_t end) noexcept;

// Runs steps [begin, end) again from team.tape.kept into team.tape, which covers these steps only.
template <class S>
void rerun_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member, std::int64_t begin,
                  std::int64_t end) noexcept;

}  // namespace cellgate
