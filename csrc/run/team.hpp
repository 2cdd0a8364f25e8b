// A team of threads that works on one layer and direction: what it works on, and what each member knows.
// Filled by pass.hpp, read by layer_forward and layer_backward.
#pragma once

#include <algorithm>

#include "model/packed_weights.hpp"
#include "run/chunk.hpp"
#include "run/plane.hpp"
#include "threads/barrier.hpp"
#include "threads/share.hpp"

namespace cellgate {

// What training keeps of a layer and direction, for steps [first step, ...) in order of processing.
// Steps come in chunks, see Chunk; row i of step s is row positions[s] + i of an array that
// is not in chunks, where positions[s] counts the valid rows of all steps before.
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
  const S* const* c0;                  // [rows], each [H], or null: zero
  const unsigned char* const* resets;  // [rows] or null: flag to read before step s, see is_reset()
  std::ptrdiff_t reset_step;
  const S* first_h;  // [P or H], the state of rows that are reset
  const S* first_c;  // [H], or null: zero
  S* c;              // [rows, padded H]: the cell state while running and at the end; unused with a tape
  S* preactivation;  // [blocks, chunk capacity, 4, lanes]; with a tape its gates are used
  S* const* unprojected_rows;  // [rows], each [padded H]: the output of the cell, where y does not receive it
  S* fresh_cells;              // [rows, padded H], with a tape and resets only
  LayerTape<S> tape;
  Barrier* barrier;
  int members;
  std::int64_t
      steps_before;  // of earlier calls: which way the next step goes over the weights, see layer_forward.cpp

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
  S* partial;               // [max(rows, chunk capacity in the backward pass), 4, lanes]
  S* gathered;              // gathered_scalars()
};

// One member of a team, forward or backward.
template <class S>
class Member {
 protected:
  Member(const TeamArgs<S>& team, int member)
      : team_(team),
        model_(*team.model),
        config_(model_.config()),
        member_(member),
        lanes_(model_.lanes()),
        width_(4 * lanes_),
        padded_(model_.padded_hidden()),
        blocks_(own_of_units(model_.blocks())),
        unit_begin_(blocks_.begin * lanes_),
        units_(blocks_.size() * lanes_) {}

  void meet() const { team_.barrier->wait(team_.members); }
  // This member's part of `count` rows in the time loop: all, where members own units.
  Share own(std::int64_t count) const { return team_.split_rows ? part(count) : all(count); }
  // Its part of `count` blocks of units or panels in the time loop: all, where members own rows.
  Share own_of_units(std::int64_t count) const { return team_.split_rows ? all(count) : part(count); }
  Share part(std::int64_t count) const { return Share(count, member_, team_.members); }
  static Share all(std::int64_t count) { return Share(count, 0, 1); }

  const TeamArgs<S>& team_;
  const Model<S>& model_;
  const Config& config_;
  const int member_;
  const std::int64_t lanes_, width_, padded_;  // of a vector; of a panel; H padded to whole blocks
  const Share blocks_;                         // of hidden units, owned in the time loop,
  const std::int64_t unit_begin_, units_;      // which are these units
};

}  // namespace cellgate
