// How one layer's work is split between threads. Called by pass.hpp, batch.hpp and
// network_forward.cpp.
#pragma once

#include <cstdint>

namespace cellgate {

// threads = teams * members. A team owns one direction, or both, one after the other. Its
// members own blocks of hidden units and meet at a barrier after each step, or own rows of the batch
// and meet now and then. Or, as a wavefront, every team is one thread that runs whole layers, some steps
// of one after some steps of the layer before; all meet after each wave of `wave_steps` steps. None of
// this changes a bit of the result: sums are never split.
struct Plan {
  int teams = 1;
  int members = 1;
  bool split_rows = false;
  std::int64_t wave_steps = 0;  // 0: layer after layer
  int threads() const { return teams * members; }
};

// What the plan depends on.
struct Work {
  std::int64_t rows;       // sequences with at least one step
  std::int64_t steps;      // of the longest
  std::int64_t row_steps;  // valid steps of all
  std::int64_t directions;
  std::int64_t chain;        // layers that may run as a wavefront; 1: none
  std::int64_t blocks;       // blocks of hidden units
  double multiplies;         // fused multiply-adds for one row and step, one direction
  double recurrent_bytes;    // packed recurrent weights of one direction
  double multiplies_per_us;  // of one thread at its best
};

// kAuto: the cost model decides. The others use every thread asked for, split over rows, over units or
// (where layers can be) over layers, however small the work: tests need that to compare the splits.
enum class Split { kAuto, kRows, kUnits, kLayers };
Split get_split();
void set_split(Split split);

// The number of threads that pay for this work, at most `limit`.
int threads_that_pay(const Work& work, int limit);

// The best plan for exactly the threads there are (fewer if some would have nothing to do).
Plan choose_plan(const Work& work, int threads);

}  // namespace cellgate
