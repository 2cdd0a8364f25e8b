// One recording and its gradients, for test_training: every array in fenced memory, what may not be
// read a NaN, what may not be written compared with what it was.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "fenced.hpp"
#include "model_cases.hpp"
#include "run/backward.hpp"

namespace test {

// The gradients that come from outside too.
template <class S>
struct TrainingInput : Input<S> {
  std::vector<S> d_y, d_cells, d_h, d_c;
  // With `sorted`, lengths do not rise.
  TrainingInput(const Case& k, std::uint64_t seed, bool sorted) : Input<S>(k, seed) {
    if (sorted) std::sort(this->lengths.rbegin(), this->lengths.rend());
    if (!k.ragged) this->lengths.assign(static_cast<std::size_t>(k.batch), k.steps);
    Random random(seed + 1);
    const cellgate::Config& c = k.config;
    const std::int64_t rows = k.steps * k.batch * c.directions(),
                       cells = c.num_layers * c.directions() * k.batch;
    d_y = random.numbers<S>(rows * c.output_size());
    d_cells = random.numbers<S>(rows * c.hidden_size);
    d_h = random.numbers<S>(cells * c.output_size());
    d_c = random.numbers<S>(cells * c.hidden_size);
  }
};

struct Way {
  std::int64_t checkpoint = 0;
  double dropout = 0;
  bool packed = false, batch_first = false;
  bool no_d_x = false, no_d_y = false, no_other = false, accumulates = false;  // no_other: than d_y
};

// [T, B, width] in memory that ends with its last row; after every other row there is a gap.
template <class S>
class Space {
 public:
  // `offsets` [T + 1]: valid rows of all steps before.
  Space(const Case& k, const Way& way, const std::vector<std::int64_t>& lengths,
        const std::vector<std::int64_t>& offsets, std::int64_t width)
      : steps_(k.steps),
        width_(width),
        lengths_(lengths),
        packed_(way.packed),
        memory_(memory_of(way.packed ? offsets.back() : k.steps * k.batch, width)),
        plane_{memory_.data(), k.batch * (width + kGap), width + kGap, packed_ ? offsets.data() : nullptr} {
    if (!packed_ && way.batch_first) plane_.step = plane_.row, plane_.row *= k.steps;
  }

  cellgate::Plane<S> plane() const { return plane_; }
  cellgate::Plane<const S> reading() const { return {plane_.base, plane_.step, plane_.row, plane_.offsets}; }
  // Takes the valid steps of `values` [T, B, width]; the others stay NaN.
  void put(const std::vector<S>& values) const {
    const S* from = values.data();
    for_each([&](S* to, bool valid) {
      if (valid) std::copy_n(from, width_, to);
      from += width_;
    });
  }
  // [T, B, width]; steps that a compact plane does not have are zero.
  std::vector<S> take() const {
    std::vector<S> values;
    for_each([&](const S* from, bool valid) {
      const bool there = valid || !packed_;
      for (std::int64_t j = 0; j < width_; ++j) values.push_back(there ? from[j] : S(0));
      if (!there || from + width_ == memory_.data() + memory_.size()) return;
      CHECK(memory_.is_clear(from + width_, kGap * sizeof(S)), "written beyond a row of %ld", long(width_));
    });
    return values;
  }
  bool padding_is_zero() const {
    bool zero = true;
    for_each([&](const S* row, bool valid) {
      for (std::int64_t j = 0; j < (valid || packed_ ? 0 : width_); ++j) zero = zero && row[j] == 0;
    });
    return zero;
  }
  const Fenced<S>& memory() const { return memory_; }

 private:
  static constexpr std::int64_t kGap = 3;
  static std::int64_t memory_of(std::int64_t rows, std::int64_t width) {
    return rows ? rows * (width + kGap) - kGap : 0;
  }
  // Rows of compact planes come sorted by length: the i-th is row i.
  template <class Visit>
  void for_each(const Visit& visit) const {
    const auto batch = static_cast<std::int64_t>(lengths_.size());
    for (std::int64_t t = 0; t < steps_; ++t) {
      for (std::int64_t b = 0; b < batch; ++b) {
        const bool valid = t < lengths_[static_cast<std::size_t>(b)];
        visit(valid || !packed_ ? plane_.at(t, b, b) : nullptr, valid);
      }
    }
  }

  const std::int64_t steps_, width_;
  const std::vector<std::int64_t>& lengths_;
  const bool packed_;
  const Fenced<S> memory_;
  cellgate::Plane<S> plane_;
};

// All that a call gives, by name.
template <class S>
using Results = std::vector<std::pair<std::string, std::vector<S>>>;

template <class S>
std::uint64_t digest(const Results<S>& results) {
  Digest d;
  for (const auto& [name, values] : results) d.add(values);
  return d.value();
}

// What the gradients of a parameter are added to, with Way::accumulates.
template <class S>
std::vector<S> before(std::int64_t count) {
  return Random(static_cast<std::uint64_t>(count)).numbers<S>(count);
}

template <class S>
class TrainingRun {
 public:
  TrainingRun(const Case& k, const cellgate::Model<S>& model, const TrainingInput<S>& in, const Way& way)
      : k_(k), model_(model), in_(in), way_(way) {
    x_.put(in.x);
    d_y_.put(in.d_y);
    d_cells_.put(in.d_cells);
  }

  Results<S> run(cellgate::Scratch& scratch) {
    cellgate::ForwardArgs<S> forward = recording();
    const Fenced<S> tape(
        cellgate::Tape<S>(model_, k_.batch, k_.steps, offsets_.back(), forward.training, nullptr).size());
    forward.tape = tape.data();
    cellgate::forward(model_, forward, scratch, cellgate::default_executor());
    results_ = {{"y", y_.take()}, {"h", h_n_.take()}, {"c", c_n_.take()}, {"cells", cells_.take()}};
    CHECK(y_.padding_is_zero() && cells_.padding_is_zero(), "%s: padding of the outputs", k_.name);

    const std::vector<S> recorded = tape.take(), y = y_.memory().take();
    std::vector<Fenced<S>> parameters;
    cellgate::BackwardArgs<S> backward = gradients(forward, parameters);
    cellgate::backward(model_, backward, scratch, cellgate::default_executor());
    CHECK(same_bits(tape.take(), recorded), "%s: the tape was written", k_.name);
    CHECK(same_bits(y_.memory().take(), y), "%s: y was written", k_.name);
    if (!way_.no_d_x) {
      CHECK(d_x_.padding_is_zero(), "%s: padding of d_x", k_.name);
      keep("d_x", d_x_.take());
    } else {
      CHECK(d_x_.memory().is_clear(d_x_.memory().data(), d_x_.memory().size() * sizeof(S)), "%s: d_x",
            k_.name);
    }
    keep("d_h0", d_h0_.take());
    keep("d_c0", d_c0_.take());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      keep("gradient of parameter " + std::to_string(i), parameters[i].take());
    }
    return std::move(results_);
  }

 private:
  static std::vector<std::int64_t> count_before(const Case& k, const std::vector<std::int64_t>& lengths) {
    std::vector<std::int64_t> offsets{0};
    for (std::int64_t t = 0; t < k.steps; ++t) {
      const auto active =
          std::count_if(lengths.begin(), lengths.end(), [t](std::int64_t n) { return n > t; });
      offsets.push_back(offsets.back() + active);
    }
    return offsets;
  }

  cellgate::ForwardArgs<S> recording() const {
    cellgate::ForwardArgs<S> a;
    a.steps = k_.steps;
    a.batch = k_.batch;
    a.x = x_.reading();
    a.h0 = k_.states ? h0_.data() : nullptr;
    a.c0 = k_.states ? c0_.data() : nullptr;
    a.lengths = k_.ragged ? in_.lengths.data() : nullptr;
    a.reset = k_.resets ? in_.resets.data() : nullptr;
    a.reset_step = k_.batch;
    a.reset_row = 1;
    a.y = y_.plane();
    a.h_n = h_n_.data();
    a.c_n = c_n_.data();
    a.cells = cells_.plane();
    a.training.dropout = way_.dropout;
    a.training.seed = 5;
    // As the bindings do: T at most.
    a.training.checkpoint = std::min(way_.checkpoint, std::max<std::int64_t>(k_.steps, 1));
    return a;
  }

  cellgate::BackwardArgs<S> gradients(const cellgate::ForwardArgs<S>& forward,
                                      std::vector<Fenced<S>>& parameters) const {
    cellgate::BackwardArgs<S> b;
    b.forward = &forward;
    if (!way_.no_d_y) b.d_y = d_y_.reading();
    if (!way_.no_other) b.d_cells = d_cells_.reading();
    b.d_h_n = way_.no_other ? nullptr : d_h_n_.data();
    b.d_c_n = way_.no_other ? nullptr : d_c_n_.data();
    if (!way_.no_d_x) b.d_x = d_x_.plane();
    b.d_h0 = d_h0_.data();
    b.d_c0 = d_c0_.data();
    b.accumulate = way_.accumulates;
    const auto fresh = [&](std::int64_t count) {
      parameters.emplace_back(count);
      if (way_.accumulates) parameters.back().put(before<S>(count));
      return parameters.back().data();
    };
    for (std::int64_t layer = 0; layer < c_.num_layers; ++layer) {
      for (std::int64_t d = 0; d < c_.directions(); ++d) {
        cellgate::MutableLayerWeights<S> w{};
        w.w_ih = fresh(4 * c_.hidden_size * c_.layer_input_size(layer));
        w.w_hh = fresh(4 * c_.hidden_size * c_.output_size());
        if (c_.bias) w.b_ih = fresh(4 * c_.hidden_size);
        if (c_.bias) w.b_hh = fresh(4 * c_.hidden_size);
        if (c_.proj_size) w.w_hr = fresh(c_.proj_size * c_.hidden_size);
        b.parameters.push_back(w);
      }
    }
    return b;
  }

  // -0 becomes +0: whether a sum that vanishes is one or the other depends on how many zeros, which a
  // wider vector has more of, are added to it.
  void keep(const std::string& name, std::vector<S> values) {
    for (S& value : values) value += S(0);
    results_.emplace_back(name, std::move(values));
  }

  Space<S> space(std::int64_t width) const { return {k_, way_, in_.lengths, offsets_, width}; }

  const Case& k_;
  const cellgate::Model<S>& model_;
  const TrainingInput<S>& in_;
  const Way way_;
  const cellgate::Config& c_ = k_.config;
  const std::vector<std::int64_t> offsets_ = count_before(k_, in_.lengths);
  const std::int64_t outputs_ = c_.output_size(), directions_ = c_.directions(),
                     states_ = c_.num_layers * directions_ * k_.batch;
  const Space<S> x_ = space(c_.input_size), y_ = space(directions_ * outputs_),
                 cells_ = space(directions_ * c_.hidden_size), d_y_ = space(directions_ * outputs_),
                 d_cells_ = space(directions_ * c_.hidden_size), d_x_ = space(c_.input_size);
  const Fenced<S> h0_{in_.h0}, c0_{in_.c0}, h_n_{states_ * outputs_}, c_n_{states_ * c_.hidden_size},
      d_h_n_{in_.d_h}, d_c_n_{in_.d_c}, d_h0_{states_ * outputs_}, d_c0_{states_ * c_.hidden_size};
  Results<S> results_;
};

}  // namespace test
