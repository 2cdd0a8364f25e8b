// Models and inputs that several tests share, the same on every machine.
#pragma once

#include "check.hpp"
#include "run/forward.hpp"

namespace test {

struct Case {
  const char* name;
  std::int64_t steps, batch;
  cellgate::Config config;
  bool ragged, resets, states;
  std::int64_t longest = -1;  // of the ragged lengths; -1: T. The first row has it.
};

inline cellgate::Config sizes(std::int64_t input, std::int64_t hidden, std::int64_t layers = 1,
                              bool bidirectional = false, std::int64_t projection = 0, bool bias = true) {
  return {input, hidden, layers, bias, bidirectional, projection};
}

inline std::vector<Case> cases() {
  return {
      {"one step", 1, 1, sizes(3, 7), false, false, false},
      {"one step of a batch", 1, 17, sizes(40, 33), false, false, true},
      {"one sequence", 40, 1, sizes(5, 16), false, false, true},
      {"batch", 12, 9, sizes(33, 17), false, false, false},
      {"large batch, several chunks", 9, 40, sizes(8, 9), false, false, true},
      {"several blocks of k", 5, 8, sizes(300, 260), false, false, false},
      {"no bias", 7, 3, sizes(4, 8, 1, false, 0, false), false, false, false},
      {"two layers, both directions", 11, 5, sizes(6, 15, 2, true), false, false, true},
      {"projection", 10, 7, sizes(9, 33, 2, false, 5), false, false, true},
      {"projection, both directions", 10, 7, sizes(9, 70, 2, true, 40), true, true, true},
      {"ragged", 23, 14, sizes(7, 16), true, false, true},
      {"ragged with resets, both directions, three layers", 19, 13, sizes(7, 18, 3, true), true, true, true},
      {"ragged, wide", 2, 10, sizes(8, 520), true, false, true},
      {"ragged, wide, one step at most", 2, 10, sizes(8, 520), true, false, true, 1},
      {"ragged, wide, one step at most, both directions", 3, 12, sizes(8, 520, 1, true), true, true, true, 1},
      {"no steps", 0, 3, sizes(2, 3, 2, true), false, false, true},
      {"no rows", 4, 0, sizes(2, 3), true, true, true},
  };
}

template <class S>
cellgate::Model<S> make_model(const cellgate::Config& c, std::uint64_t seed,
                              const cellgate::KernelTable& table) {
  Random random(seed);
  std::vector<std::vector<S>> alive;
  std::vector<cellgate::LayerWeights<S>> weights;
  const auto fresh = [&](std::int64_t count) {
    alive.push_back(random.numbers<S>(count, S(0.375)));
    return alive.back().data();
  };
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    for (std::int64_t d = 0; d < c.directions(); ++d) {
      cellgate::LayerWeights<S> w{};
      w.w_ih = fresh(4 * c.hidden_size * c.layer_input_size(layer));
      w.w_hh = fresh(4 * c.hidden_size * c.output_size());
      if (c.bias) w.b_ih = fresh(4 * c.hidden_size);
      if (c.bias) w.b_hh = fresh(4 * c.hidden_size);
      if (c.proj_size) w.w_hr = fresh(c.proj_size * c.hidden_size);
      weights.push_back(w);
    }
  }
  return cellgate::Model<S>(c, weights, table);
}

template <class S>
struct Input {
  std::vector<S> x, h0, c0;
  std::vector<std::int64_t> lengths;
  std::vector<unsigned char> resets;
  Input(const Case& k, std::uint64_t seed) {
    Random random(seed);
    const std::int64_t cells = k.config.num_layers * k.config.directions() * k.batch;
    x = random.numbers<S>(k.steps * k.batch * k.config.input_size, S(2));
    if (k.states) h0 = random.numbers<S>(cells * k.config.output_size());
    if (k.states) c0 = random.numbers<S>(cells * k.config.hidden_size);
    for (std::int64_t b = 0; b < k.batch; ++b) {
      const std::int64_t longest = k.longest < 0 ? k.steps : k.longest;
      lengths.push_back(b == 0 ? longest : random.below(longest + 1));
    }
    for (std::int64_t i = 0; i < k.steps * k.batch; ++i) resets.push_back(random.below(5) == 0);
  }
};

template <class S>
struct Output {
  std::vector<S> y, h, c, cells;
};

template <class S>
Output<S> run(const Case& k, const cellgate::Model<S>& model, const Input<S>& in, cellgate::Scratch& scratch,
              cellgate::Executor& executor = cellgate::default_executor()) {
  const cellgate::Config& c = k.config;
  const std::int64_t rows = k.steps * k.batch * c.directions(),
                     cells = c.num_layers * c.directions() * k.batch;
  const auto sized = [](std::int64_t n) { return std::vector<S>(static_cast<std::size_t>(n), S(99)); };
  Output<S> out{sized(rows * c.output_size()), sized(cells * c.output_size()), sized(cells * c.hidden_size),
                sized(rows * c.hidden_size)};
  cellgate::ForwardArgs<S> a;
  a.steps = k.steps;
  a.batch = k.batch;
  a.x = {in.x.data(), k.batch * c.input_size, c.input_size, nullptr};
  a.h0 = k.states ? in.h0.data() : nullptr;
  a.c0 = k.states ? in.c0.data() : nullptr;
  a.lengths = k.ragged ? in.lengths.data() : nullptr;
  a.reset = k.resets ? in.resets.data() : nullptr;
  a.reset_step = k.batch;
  a.reset_row = 1;
  const std::int64_t y_row = c.directions() * c.output_size(), cells_row = c.directions() * c.hidden_size;
  a.y = {out.y.data(), k.batch * y_row, y_row, nullptr};
  a.h_n = out.h.data();
  a.c_n = out.c.data();
  a.cells = {out.cells.data(), k.batch * cells_row, cells_row, nullptr};
  forward(model, a, scratch, executor);
  return out;
}

template <class S>
std::uint64_t digest(const Output<S>& out) {
  Digest d;
  d.add(out.y);
  d.add(out.h);
  d.add(out.c);
  d.add(out.cells);
  return d.value();
}

}  // namespace test
