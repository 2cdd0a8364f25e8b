// Streams of networks on every instruction set this CPU has: any chunks and any batch against whole calls, to
// the bit; what resets, copies of what was pooled, and descriptions give back.
// usage: test_network_stream [ISA]
#include "run/network_stream.hpp"

#include "model_cases.hpp"
#include "run/network_forward.hpp"
#include "threads/cpus.hpp"

namespace {

using cellgate::Pooling;

struct StreamCase {
  const char* name;
  cellgate::Config config;
  std::int64_t batch;
  Pooling pooling;
};

const StreamCase kCases[] = {
    {"one sequence", test::sizes(1, 8), 1, Pooling::kNone},
    {"one sequence, projection", test::sizes(5, 33, 2, false, 7), 1, Pooling::kNone},
    {"one sequence that two threads run", test::sizes(8, 1200), 1, Pooling::kNone},
    {"batch", test::sizes(5, 17, 2), 9, Pooling::kNone},
    {"one sequence, mean", test::sizes(5, 17), 1, Pooling::kMean},
    {"batch, mean", test::sizes(5, 17, 2), 5, Pooling::kMean},
    {"large batch, mean", test::sizes(3, 8), 300, Pooling::kMean},
    {"batch, last", test::sizes(5, 20, 1, false, 3), 70, Pooling::kLast},
};

template <class S>
cellgate::NetworkParts<S> parts_of(const StreamCase& k) {
  test::Random random(5);
  const auto values = [&](std::int64_t count, S add = 0) {
    std::vector<S> v = random.numbers<S>(count, S(0.375));
    for (S& x : v) x += add;
    return cellgate::Values<S>(std::move(v));
  };
  cellgate::NetworkParts<S> parts;
  parts.head.emplace();
  parts.head->outputs = 3;
  parts.head->weight = values(3 * k.config.output_size());
  parts.head->bias = values(3);
  parts.pooling = k.pooling;
  parts.input_mean = values(k.config.input_size);
  parts.input_scale = values(k.config.input_size, S(1.5));
  parts.output_gain = 2;
  parts.initial_h = values(k.config.num_layers * k.config.output_size());
  parts.initial_c = values(k.config.num_layers * k.config.hidden_size);
  return parts;
}

// The whole in one call; with pooling, one call for each number of steps.
template <class S>
std::vector<S> whole(const cellgate::Network<S>& network, std::int64_t steps, std::int64_t batch,
                     const std::vector<S>& x) {
  const std::int64_t inputs = network.config().input_size, row = 3, layers = network.config().num_layers;
  std::vector<S> y(static_cast<std::size_t>(steps * batch * row));
  std::vector<S> h(static_cast<std::size_t>(layers * batch * network.config().output_size()));
  std::vector<S> c(static_cast<std::size_t>(layers * batch * network.config().hidden_size));
  cellgate::Scratch scratch;
  cellgate::CallerAlone alone;
  for (std::int64_t t = network.pools() ? 1 : steps; t <= steps; ++t) {
    cellgate::ForwardArgs<S> a;
    a.steps = t;
    a.batch = batch;
    a.x = {x.data(), batch * inputs, inputs, nullptr};
    a.y = {y.data() + (network.pools() ? (t - 1) * batch * row : 0), batch * row, row, nullptr};
    a.h_n = h.data();
    a.c_n = c.data();
    forward(network, a, scratch, alone);
  }
  return y;
}

template <class S>
void run_in_chunks(cellgate::NetworkStream<S>& stream, std::int64_t steps, std::int64_t most,
                   const std::vector<S>& x, std::vector<S>& y) {
  const std::int64_t batch = stream.batch(), inputs = stream.config().input_size;
  test::Random random(7);
  for (std::int64_t t = 0; t < steps;) {
    const std::int64_t n = std::min(steps - t, 1 + random.below(most));
    const S* from = x.data() + t * batch * inputs;
    S* to = y.data() + t * batch * 3;
    if (n == 1) {
      stream.step(from, inputs, to, 3);
    } else {
      stream.run(n, from, batch * inputs, inputs, to, batch * 3, 3);
    }
    t += n;
  }
}

template <class S>
bool same(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() && test::same_bits(a.data(), b.data(), static_cast<std::int64_t>(a.size()));
}

template <class S>
void check(const StreamCase& k, const cellgate::KernelTable& table) {
  auto lstm = std::make_shared<const cellgate::Model<S>>(test::make_model<S>(k.config, 1, table));
  const auto network = std::make_shared<const cellgate::Network<S>>(lstm, parts_of<S>(k));
  const std::int64_t steps = k.config.hidden_size > 1000 ? 3 : 70;
  test::Random random(2);
  const std::vector<S> x = random.numbers<S>(steps * k.batch * k.config.input_size);
  const std::vector<S> wanted = whole(*network, steps, k.batch, x);
  cellgate::NetworkStream<S> stream(network, k.batch, cellgate::default_executor());
  std::vector<S> y(wanted.size());
  for (const std::int64_t most : {1, 5, 70}) {
    stream.reset();
    run_in_chunks(stream, steps, most, x, y);
    CHECK(same(y, wanted), "%s on %s, chunks of up to %d", k.name, table.name, static_cast<int>(most));
  }

  // Another stream goes on from the same state.
  std::vector<S> h(static_cast<std::size_t>(k.config.num_layers * k.batch * k.config.output_size()));
  std::vector<S> c(static_cast<std::size_t>(k.config.num_layers * k.batch * k.config.hidden_size));
  cellgate::NetworkStream<S> other(network, k.batch, cellgate::default_executor());
  stream.get(h.data(), c.data());
  other.set(h.data(), c.data());
  if (network->pools()) {
    std::vector<std::int64_t> count(static_cast<std::size_t>(k.batch));
    std::vector<S> sums(static_cast<std::size_t>(k.batch * network->features()));
    stream.get_pooled(count.data(), sums.data());
    CHECK(count[0] == steps, "%s: steps that were pooled", k.name);
    other.set_pooled(count.data(), sums.data());
  }
  std::vector<S> z(y.size());
  run_in_chunks(stream, steps, 9, x, y);
  run_in_chunks(other, steps, 70, x, z);
  CHECK(same(y, z), "%s on %s: a copy", k.name, table.name);

  // The last row begins anew, the others go on.
  stream.reset_rows({k.batch - 1});
  run_in_chunks(stream, steps, 9, x, y);
  run_in_chunks(other, steps, 9, x, z);
  for (std::int64_t i = 0; i < steps * k.batch; ++i) {
    const std::vector<S>& right = i % k.batch == k.batch - 1 ? wanted : z;
    CHECK(test::same_bits(y.data() + i * 3, right.data() + i * 3, 3), "%s on %s: row %d after a reset",
          k.name, table.name, static_cast<int>(i));
  }

  const cellgate::Network<S> again(cellgate::describe(*network), table);
  CHECK(same(whole(again, steps, k.batch, x), wanted), "%s on %s: from its description", k.name, table.name);
}

}  // namespace

int main(int argc, char** argv) {
  for (const cellgate::KernelTable* table : test::chosen_tables(argc, argv, 1)) {
    for (const StreamCase& k : kCases) {
      for (const int threads : {1, 2}) {
        cellgate::set_num_threads(threads);
        check<float>(k, *table);
        check<double>(k, *table);
      }
    }
    std::printf("%s passed\n", table->name);
  }
  return 0;
}
