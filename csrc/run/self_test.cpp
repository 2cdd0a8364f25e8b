// Runs the self-test of a network.
#include "run/self_test.hpp"

#include <cmath>

#include "run/network_forward.hpp"

namespace cellgate {
namespace {

template <class S>
std::vector<S> answers(const Network<S>& network, const SelfTest<S>& test) {
  const Config& config = network.config();
  const auto cells = static_cast<std::size_t>(config.num_layers * config.directions());
  std::vector<S> y(test.output.size());
  std::vector<S> h(cells * static_cast<std::size_t>(config.output_size()));
  std::vector<S> c(cells * static_cast<std::size_t>(config.hidden_size));
  ForwardArgs<S> args;
  args.steps = test.steps;
  args.batch = 1;
  args.x = {test.input.data(), config.input_size, 0, nullptr};
  args.y = {y.data(), network.output_size(), 0, nullptr};
  args.h_n = h.data();
  args.c_n = c.data();
  Scratch scratch;
  CallerAlone alone;
  forward(network, args, scratch, alone);
  return y;
}

// The same network without its gains.
template <class S>
Network<S> without_gains(const Network<S>& network) {
  NetworkParts<S> parts = network.parts();
  parts.input_gain = parts.output_gain = 1.0;
  if (parts.head) parts.head->weight = Values<S>(network.head_weight());
  return Network<S>(network.shared_lstm(), std::move(parts));
}

}  // namespace

template <class S>
double self_test_difference(const Network<S>& network) {
  const SelfTest<S>& test = *network.parts().self_test;
  const std::vector<S> y = test.with_gains ? answers(network, test) : answers(without_gains(network), test);
  double largest = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(y[i]) - static_cast<double>(test.output.data()[i]));
    if (!(difference <= largest)) largest = difference;
    if (std::isnan(largest)) break;
  }
  return largest;
}

template double self_test_difference(const Network<float>&);
template double self_test_difference(const Network<double>&);

}  // namespace cellgate
