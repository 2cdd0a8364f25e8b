// Networks on every instruction set this CPU has: against the LSTM with loops around it, to the bit; whole
// sequences against frames split in any way; under every way to split the work between threads.
// usage: test_network [ISA]
#include <cmath>

#include "model_cases.hpp"
#include "run/frames.hpp"
#include "run/network_forward.hpp"
#include "run/softmax.hpp"
#include "threads/cpus.hpp"
#include "threads/plan.hpp"

namespace {

using cellgate::Activation;
using cellgate::Pooling;

template <class S>
struct NetworkCase {
  const char* name;
  test::Case lstm;
  std::int64_t outputs;  // 0: no head
  Activation activation = Activation::kLinear;
  Pooling pooling = Pooling::kNone;
  bool scaled = false, begins = false;
  double skip = 0, input_gain = 1, output_gain = 1;
  bool extreme = false;  // inputs that saturate the gates, infinities and NaN among them
};

template <class S>
std::vector<NetworkCase<S>> cases() {
  using test::sizes;
  std::vector<NetworkCase<S>> all = {
      {"no head", {"", 9, 3, sizes(3, 7), false, false, true}, 0},
      {"audio",
       {"", 150, 1, sizes(1, 8), false, false, false},
       1,
       Activation::kLinear,
       Pooling::kNone,
       false,
       true,
       1.0,
       0.5,
       2.0},
      {"two layers",
       {"", 70, 1, sizes(5, 20, 2), false, false, true},
       3,
       Activation::kTanh,
       Pooling::kNone,
       true},
      {"projection", {"", 66, 1, sizes(9, 33, 2, false, 5), false, false, false}, 70, Activation::kSoftmax},
      {"wide",
       {"", 5, 4, sizes(40, 100), true, false, false},
       300,
       Activation::kSigmoid,
       Pooling::kNone,
       true},
      {"ragged with resets",
       {"", 19, 13, sizes(7, 18, 3), true, true, false},
       4,
       Activation::kRelu,
       Pooling::kNone,
       true,
       true,
       0.25,
       3.0,
       0.125},
      {"mean",
       {"", 130, 1, sizes(6, 17), false, false, false},
       5,
       Activation::kSoftmax,
       Pooling::kMean,
       true,
       true},
      {"mean, both directions",
       {"", 11, 6, sizes(6, 17, 2, true), true, false, true},
       5,
       Activation::kSoftmax,
       Pooling::kMean},
      {"last", {"", 31, 1, sizes(6, 65), false, false, false}, 2, Activation::kLinear, Pooling::kLast},
      {"last, both directions",
       {"", 11, 6, sizes(6, 17, 2, true), true, false, false},
       5,
       Activation::kLinear,
       Pooling::kLast,
       false,
       true},
      {"no steps", {"", 0, 3, sizes(2, 3), false, false, false}, 2},
      {"no rows", {"", 4, 0, sizes(2, 3), true, true, true}, 2},
  };
  static const std::string names[] = {"H 1", "H 8", "H 16", "H 24", "H 33", "H 40", "H 64", "H 80", "H 130"};
  int i = 0;
  for (const std::int64_t hidden : {1, 8, 16, 24, 33, 40, 64, 80, 130}) {
    all.push_back({names[i].c_str(), {"", 67, 1, sizes(1, hidden), false, false, true}, 1});
    all.push_back({names[i++].c_str(), {"", 67, 1, sizes(2, hidden), false, false, true}, 2});
    all.back().extreme = true;
  }
  return all;
}

template <class S>
cellgate::NetworkParts<S> parts_of(const NetworkCase<S>& k, std::uint64_t seed) {
  test::Random random(seed);
  const cellgate::Config& c = k.lstm.config;
  const auto values = [&](std::int64_t count, S add = 0) {
    std::vector<S> v = random.numbers<S>(count, S(0.375));
    for (S& x : v) x += add;
    return cellgate::Values<S>(std::move(v));
  };
  cellgate::NetworkParts<S> parts;
  if (k.outputs) {
    parts.head.emplace();
    parts.head->outputs = k.outputs;
    parts.head->weight = values(k.outputs * c.directions() * c.output_size());
    if (k.outputs != 4) parts.head->bias = values(k.outputs);
    parts.head->activation = k.activation;
  }
  parts.pooling = k.pooling;
  if (k.scaled) parts.input_mean = values(c.input_size);
  if (k.scaled) parts.input_scale = values(c.input_size, S(1.5));
  if (k.begins) parts.initial_h = values(c.num_layers * c.directions() * c.output_size());
  if (k.begins) parts.initial_c = values(c.num_layers * c.directions() * c.hidden_size);
  parts.skip = k.skip;
  parts.input_gain = k.input_gain;
  parts.output_gain = k.output_gain;
  return parts;
}

template <class S>
S fused(const cellgate::KernelTable& table, S a, S b, S c) {
  return std::string(table.name) == "baseline" ? a * b + c : std::fma(a, b, c);
}

// The outputs of one row: the head as it is defined.
template <class S>
std::vector<S> head_of(const NetworkCase<S>& k, const cellgate::NetworkParts<S>& parts,
                       const cellgate::KernelTable& table, const S* h, const S* x) {
  const std::int64_t features = k.lstm.config.directions() * k.lstm.config.output_size();
  std::vector<S> y(h, h + features);
  if (parts.head) {
    y.assign(static_cast<std::size_t>(k.outputs), S(0));
    for (std::int64_t j = 0; j < k.outputs; ++j) {
      S sum = parts.head->bias.empty() ? S(0) : parts.head->bias.data()[j];
      for (std::int64_t i = 0; i < features; ++i)
        sum = fused(table, h[i], parts.head->weight.data()[j * features + i], sum);
      y[static_cast<std::size_t>(j)] = sum;
    }
  }
  const auto count = static_cast<std::int64_t>(y.size());
  const auto& kernels = cellgate::kernels<S>(table);
  if (k.activation == Activation::kSigmoid) kernels.sigmoid(y.data(), y.data(), count);
  if (k.activation == Activation::kTanh) kernels.tanh(y.data(), y.data(), count);
  if (k.activation == Activation::kSoftmax) cellgate::softmax(y.data(), count);
  for (std::size_t j = 0; j < y.size(); ++j) {
    if (k.activation == Activation::kRelu) y[j] = y[j] < 0 ? S(0) : y[j];
    if (k.skip != 0) y[j] = y[j] + static_cast<S>(k.skip) * (static_cast<S>(k.input_gain) * x[j]);
    y[j] = static_cast<S>(k.output_gain) * y[j];
  }
  return y;
}

template <class S>
struct Outputs {
  std::vector<S> y, h, c;
};

template <class S>
Outputs<S> run(const NetworkCase<S>& k, const cellgate::Network<S>& network, const test::Input<S>& in,
               cellgate::Scratch& scratch, cellgate::Executor& executor) {
  const cellgate::Config& c = k.lstm.config;
  const std::int64_t width = network.output_size(), cells = c.num_layers * c.directions() * k.lstm.batch;
  const auto sized = [](std::int64_t n) { return std::vector<S>(static_cast<std::size_t>(n), S(99)); };
  Outputs<S> out{sized((network.pools() ? 1 : k.lstm.steps) * k.lstm.batch * width),
                 sized(cells * c.output_size()), sized(cells * c.hidden_size)};
  cellgate::ForwardArgs<S> a;
  a.steps = k.lstm.steps;
  a.batch = k.lstm.batch;
  a.x = {in.x.data(), k.lstm.batch * c.input_size, c.input_size, nullptr};
  a.h0 = k.lstm.states ? in.h0.data() : nullptr;
  a.c0 = k.lstm.states ? in.c0.data() : nullptr;
  a.lengths = k.lstm.ragged ? in.lengths.data() : nullptr;
  a.reset = k.lstm.resets ? in.resets.data() : nullptr;
  a.reset_step = k.lstm.batch;
  a.reset_row = 1;
  a.y = {out.y.data(), k.lstm.batch * width, width, nullptr};
  a.h_n = out.h.data();
  a.c_n = out.c.data();
  forward(network, a, scratch, executor);
  return out;
}

// What one row of the batch gives, from the LSTM alone, one segment after the other.
template <class S>
std::vector<S> expected_row(const NetworkCase<S>& k, const cellgate::NetworkParts<S>& parts,
                            const cellgate::Model<S>& model, const cellgate::KernelTable& table,
                            const test::Input<S>& in, std::int64_t b) {
  const cellgate::Config& c = k.lstm.config;
  const std::int64_t batch = k.lstm.batch, I = c.input_size, F = c.directions() * c.output_size();
  const std::int64_t length = k.lstm.ragged ? in.lengths[static_cast<std::size_t>(b)] : k.lstm.steps;
  std::vector<S> x, z, hs(static_cast<std::size_t>(length * F));
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t j = 0; j < I; ++j) {
      const S value = in.x[static_cast<std::size_t>((t * batch + b) * I + j)];
      x.push_back(value);
      S scaled = static_cast<S>(k.input_gain) * value;
      if (k.scaled) scaled = (scaled - parts.input_mean.data()[j]) / parts.input_scale.data()[j];
      z.push_back(scaled);
    }
  }
  const std::int64_t rows = c.num_layers * c.directions();
  std::vector<S> h(static_cast<std::size_t>(rows * c.output_size())),
      cells(static_cast<std::size_t>(rows * c.hidden_size));
  const auto begin = [&](bool given) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < c.output_size(); ++j)
        h[static_cast<std::size_t>(r * c.output_size() + j)] =
            given      ? in.h0[static_cast<std::size_t>((r * batch + b) * c.output_size() + j)]
            : k.begins ? parts.initial_h.data()[r * c.output_size() + j]
                       : S(0);
      for (std::int64_t j = 0; j < c.hidden_size; ++j)
        cells[static_cast<std::size_t>(r * c.hidden_size + j)] =
            given      ? in.c0[static_cast<std::size_t>((r * batch + b) * c.hidden_size + j)]
            : k.begins ? parts.initial_c.data()[r * c.hidden_size + j]
                       : S(0);
    }
  };
  begin(k.lstm.states);
  cellgate::CallerAlone alone;
  cellgate::Scratch scratch;
  for (std::int64_t t = 0; t < length;) {
    const auto resets = [&](std::int64_t s) {
      return k.lstm.resets && in.resets[static_cast<std::size_t>(s * batch + b)] != 0;
    };
    if (resets(t)) begin(false);
    std::int64_t end = t + 1;
    while (end < length && !resets(end)) ++end;
    cellgate::ForwardArgs<S> a;
    a.steps = end - t;
    a.batch = 1;
    a.x = {z.data() + t * I, I, I, nullptr};
    a.h0 = a.h_n = h.data();
    a.c0 = a.c_n = cells.data();
    a.h_n = h.data();
    a.c_n = cells.data();
    a.y = {hs.data() + t * F, F, F, nullptr};
    forward(model, a, scratch, alone);
    t = end;
  }
  std::vector<S> y;
  if (k.pooling == Pooling::kNone) {
    for (std::int64_t t = 0; t < length; ++t) {
      for (const S value : head_of(k, parts, table, hs.data() + t * F, x.data() + t * I)) y.push_back(value);
    }
    return y;
  }
  std::vector<S> pooled(static_cast<std::size_t>(F), S(0));
  if (k.pooling == Pooling::kLast) {
    std::copy_n(h.end() - F, F, pooled.begin());  // the last layer's directions
  } else {
    for (std::int64_t t = 0; t < length; ++t) {
      for (std::int64_t j = 0; j < F; ++j)
        pooled[static_cast<std::size_t>(j)] += hs[static_cast<std::size_t>(t * F + j)];
    }
    for (S& value : pooled) value /= static_cast<S>(std::max<std::int64_t>(1, length));
  }
  return head_of(k, parts, table, pooled.data(), x.data());
}

template <class S>
void check_whole(const NetworkCase<S>& k, const cellgate::NetworkParts<S>& parts,
                 const cellgate::Network<S>& network, const test::Input<S>& in,
                 const cellgate::KernelTable& table, const Outputs<S>& out) {
  const std::int64_t width = network.output_size();
  for (std::int64_t b = 0; b < k.lstm.batch; ++b) {
    std::vector<S> row = expected_row(k, parts, network.lstm(), table, in, b);
    const std::int64_t steps = network.pools() ? 1 : k.lstm.steps;
    row.resize(static_cast<std::size_t>(steps * width), S(0));
    for (std::int64_t t = 0; t < steps; ++t) {
      CHECK(test::same_bits(out.y.data() + (t * k.lstm.batch + b) * width, row.data() + t * width, width),
            "%s on %s: row %d, step %d", k.name, table.name, static_cast<int>(b), static_cast<int>(t));
    }
  }
}

// Frames of one sequence, in calls of random sizes, the features side by side or in planes, or in place.
template <class S>
void check_frames(const NetworkCase<S>& k, const cellgate::Network<S>& network, const test::Input<S>& in,
                  const Outputs<S>& whole) {
  const cellgate::Config& c = k.lstm.config;
  const std::int64_t I = c.input_size, O = network.output_size(), T = k.lstm.steps;
  if (k.lstm.batch != 1 || c.bidirectional || k.lstm.ragged) return;
  std::vector<std::byte> memory(frames_bytes(network) + cellgate::kAlignment);
  auto* base = reinterpret_cast<std::byte*>(
      (reinterpret_cast<std::uintptr_t>(memory.data()) + cellgate::kAlignment - 1) / cellgate::kAlignment *
      cellgate::kAlignment);
  cellgate::Arena arena(base);
  cellgate::Frames<S> frames(arena, network);
  test::Random random(9);
  for (int way = 0; way < 6; ++way) {
    frames.reset();
    if (k.lstm.states) frames.set_state(in.h0.data(), in.c0.data());
    const bool planes = way % 3 == 1, in_place = way % 3 == 2 && O <= I;
    std::vector<S> x(in.x), y(static_cast<std::size_t>(T * O), S(99));
    for (std::int64_t t = 0; t < T && planes; ++t) {
      for (std::int64_t j = 0; j < I; ++j)
        x[static_cast<std::size_t>(j * T + t)] = in.x[static_cast<std::size_t>(t * I + j)];
    }
    for (std::int64_t t = 0; t < T;) {
      const std::int64_t n = way == 0 ? T : way == 5 ? 1 : std::min(T - t, random.below(way < 4 ? 90 : 5));
      if (planes) {
        frames.process(n, x.data() + t, 1, T, y.data() + t, 1, T);
      } else if (in_place) {
        frames.process(n, x.data() + t * I, I, 1, x.data() + t * I, I, 1);
      } else {
        frames.process(n, x.data() + t * I, I, 1, y.data() + t * O, O, 1);
      }
      t += n;
    }
    const std::int64_t first = network.pools() ? T - 1 : 0;
    for (std::int64_t t = first; t < T; ++t) {
      for (std::int64_t j = 0; j < O; ++j) {
        const S got = planes     ? y[static_cast<std::size_t>(j * T + t)]
                      : in_place ? x[static_cast<std::size_t>(t * I + j)]
                                 : y[static_cast<std::size_t>(t * O + j)];
        CHECK(test::same_bits(&got, whole.y.data() + (t - first) * O + j, 1),
              "%s, way %d: frame %d, output %d", k.name, way, static_cast<int>(t), static_cast<int>(j));
      }
    }
    std::vector<S> h(whole.h.size()), cells(whole.c.size());
    frames.get_state(h.data(), cells.data());
    CHECK(test::same_bits(h.data(), whole.h.data(), static_cast<std::int64_t>(h.size())), "%s: h", k.name);
    CHECK(test::same_bits(cells.data(), whole.c.data(), static_cast<std::int64_t>(cells.size())), "%s: c",
          k.name);
  }
}

template <class S>
void check(const cellgate::KernelTable& table) {
  for (const NetworkCase<S>& k : cases<S>()) {
    const cellgate::NetworkParts<S> parts = parts_of(k, 3);
    auto lstm = std::make_shared<const cellgate::Model<S>>(test::make_model<S>(k.lstm.config, 1, table));
    const cellgate::Network<S> network(std::move(lstm), parts);
    if (parts.head) {
      const std::vector<S> weight = network.head_weight();
      CHECK(
          test::same_bits(weight.data(), parts.head->weight.data(), static_cast<std::int64_t>(weight.size())),
          "%s: the head's weights", k.name);
    }
    test::Input<S> in(k.lstm, 2);
    for (std::size_t j = 0; k.extreme && j < in.x.size(); ++j) {
      in.x[j] *= static_cast<S>(std::pow(10.0, static_cast<double>(j % 23)));
      if (j == in.x.size() - 3) in.x[j] = std::numeric_limits<S>::infinity();
      if (j == in.x.size() - 1) in.x[j] = std::numeric_limits<S>::quiet_NaN();
    }
    cellgate::Scratch scratch;
    cellgate::CallerAlone alone;
    const Outputs<S> whole = run(k, network, in, scratch, alone);
    check_whole(k, parts, network, in, table, whole);
    check_frames(k, network, in, whole);
    for (const auto split : {cellgate::Split::kAuto, cellgate::Split::kRows, cellgate::Split::kUnits}) {
      cellgate::set_split(split);
      for (const int threads : {1, 2, 3, 5}) {
        cellgate::set_num_threads(threads);
        const Outputs<S> again = run(k, network, in, scratch, cellgate::default_executor());
        CHECK(test::same_bits(again.y.data(), whole.y.data(), static_cast<std::int64_t>(whole.y.size())),
              "%s on %s with %d threads", k.name, table.name, threads);
      }
    }
    cellgate::set_split(cellgate::Split::kAuto);
  }
  std::printf("%s %s passed\n", table.name, sizeof(S) == 4 ? "float32" : "float64");
}

void check_softmax() {
  for (double x = 0; x > -720; x -= 0.0137) {
    const long double exact = std::exp(static_cast<long double>(x));
    const double got = cellgate::exp_of_negative(x);
    const auto ulp = static_cast<long double>(std::nextafter(static_cast<double>(exact), 1e300) -
                                              static_cast<double>(exact));
    CHECK(x < -708 ? got == 0 : std::fabs(static_cast<long double>(got) - exact) <= 2 * ulp, "exp(%g) = %g",
          x, got);
  }
  double values[] = {1000, 1000, -1000};
  cellgate::softmax(values, 3);
  CHECK(values[0] == 0.5 && values[1] == 0.5 && values[2] == 0, "softmax of large numbers");
  double broken[] = {1, std::nan(""), 2};
  cellgate::softmax(broken, 3);
  for (const double value : broken) CHECK(std::isnan(value), "softmax of NaN");
}

// Models whose vectors would be half empty get narrower ones, but not where CELLGATE_ISA says what to run.
void check_choice_of_table() {
  const cellgate::KernelTable& active = cellgate::active_kernel_table();
  const char* forced = std::getenv("CELLGATE_ISA");
  bool narrower = false;
  for (const cellgate::KernelTable* table : cellgate::supported_kernel_tables())
    narrower = narrower || std::string(table->name) == "avx2";
  narrower = narrower && std::string(active.name) == "avx512" && !(forced && *forced);
  const std::string few = narrower ? "avx2" : active.name;
  for (const int bytes : {4, 8}) {
    const int lanes = bytes == 4 ? active.float32.lanes : active.float64.lanes;
    for (int hidden = 1; hidden < 40; ++hidden) {
      const std::string chosen = cellgate::kernel_table_for(hidden, bytes).name;
      CHECK(chosen == (hidden <= lanes / 2 ? few : active.name), "H %d, %d bytes: %s", hidden, bytes,
            chosen.c_str());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  check_choice_of_table();
  check_softmax();
  for (const cellgate::KernelTable* table : test::chosen_tables(argc, argv, 1)) {
    check<float>(*table);
    check<double>(*table);
  }
  return 0;
}
