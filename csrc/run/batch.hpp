// The rows of a batch in order of falling length, and how many of them each step has.
// Used by pass.hpp and network_stream.cpp.
#pragma once

#include <algorithm>
#include <numeric>

#include "memory/workspace.hpp"
#include "threads/plan.hpp"

namespace cellgate {

struct Batch {
  std::int64_t rows, steps;
  std::int64_t* order;      // [B]: original rows, longest first, equal ones as they came
  std::int64_t* lengths;    // [B], in that order
  std::int64_t* positions;  // [T + 1]: valid rows of all steps before

  Batch(Arena& arena, std::int64_t batch, std::int64_t step_count)
      : rows(batch),
        steps(step_count),
        order(arena.take<std::int64_t>(batch)),
        lengths(arena.take<std::int64_t>(batch)),
        positions(arena.take<std::int64_t>(step_count + 1)) {}

  // `given` [B], or null: all have every step.
  void arrange(const std::int64_t* given) const {
    std::iota(order, order + rows, std::int64_t{0});
    if (given) {
      std::stable_sort(order, order + rows,
                       [given](std::int64_t a, std::int64_t b) { return given[a] > given[b]; });
    }
    for (std::int64_t i = 0; i < rows; ++i) lengths[i] = given ? given[order[i]] : steps;
    std::int64_t active = rows;
    positions[0] = 0;
    for (std::int64_t s = 0; s < steps; ++s) {
      while (active > 0 && lengths[active - 1] <= s) --active;
      positions[s + 1] = positions[s] + active;
    }
  }
  std::int64_t valid() const { return positions[steps]; }
};

// What the plan is made from, before any memory is there; `multiplications` counts how often each weight is
// used in a step: once forward, twice backward. `chained`: a layer may begin before the one before has ended.
template <class Model>
Work work_of(const Model& model, const std::int64_t* lengths, std::int64_t batch, std::int64_t steps,
             double multiplications, bool chained = false) {
  const auto& config = model.config();
  Work w{};
  w.rows = batch;
  w.steps = steps;
  w.row_steps = batch * steps;
  if (lengths) {
    w.rows = w.steps = w.row_steps = 0;
    for (std::int64_t row = 0; row < batch; ++row) {
      w.rows += lengths[row] > 0;
      w.steps = std::max(w.steps, lengths[row]);
      w.row_steps += lengths[row];
    }
  }
  w.directions = config.directions();
  w.chain = chained && !config.bidirectional ? config.num_layers : 1;
  w.blocks = model.blocks();
  const double hidden = static_cast<double>(model.padded_hidden()),
               recurrent = static_cast<double>(config.output_size());
  const double inputs = static_cast<double>(config.layer_input_size(config.num_layers - 1));
  w.multiplies =
      multiplications * (4 * hidden * (inputs + recurrent) + static_cast<double>(config.proj_size) * hidden);
  w.recurrent_bytes = 4 * hidden * recurrent * model.kernels().weight_bytes;
  w.multiplies_per_us = 5e3 * static_cast<double>(model.lanes());  // assumes two per cycle
  return w;
}

}  // namespace cellgate
