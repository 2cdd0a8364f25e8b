// Names and checks of a network's description. Called by files, bindings and capi.
#include "model/network.hpp"

#include <cmath>
#include <stdexcept>

namespace cellgate {
namespace {

constexpr const char* kActivations[] = {"linear", "sigmoid", "softmax", "tanh", "relu"};
constexpr const char* kPoolings[] = {"none", "mean", "last"};

template <class Enum, std::size_t N>
std::optional<Enum> named(const char* const (&names)[N], std::string_view name) {
  for (std::size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

[[noreturn]] void fail(const std::string& name, const std::string& wanted, const std::string& got) {
  throw std::invalid_argument(name + ": must " + wanted + ", got " + got);
}

template <class S>
void require_size(const std::string& name, const Values<S>& values, std::int64_t wanted) {
  if (values.size() != static_cast<std::size_t>(wanted)) {
    fail(name, "have " + std::to_string(wanted) + " elements", std::to_string(values.size()));
  }
}

void require_finite(const char* name, double value) {
  if (!std::isfinite(value)) fail(name, "be finite", std::to_string(value));
}

template <class S>
void check_layers(const NetworkDescription<S>& network) {
  const auto rows = static_cast<std::size_t>(network.config.num_layers * network.config.directions());
  if (network.layers.size() != rows) {
    fail("layers", "have " + std::to_string(rows) + " entries (num_layers * directions)",
         std::to_string(network.layers.size()));
  }
  for_each_parameter<OwnedLayerWeights<S>>(
      network.config, [&](const std::string& name, const auto& shape, auto member, std::size_t index) {
        require_size(name, network.layers[index].*member, shape.elements());
      });
}

template <class S>
void check_head(const Config& config, const NetworkParts<S>& network) {
  if (!network.head) return;
  const LinearHead<S>& head = *network.head;
  const std::int64_t features = config.directions() * config.output_size();
  if (head.outputs < 1) fail("head", "have at least 1 output", std::to_string(head.outputs));
  if (head.weight.size() / static_cast<std::size_t>(head.outputs) != static_cast<std::size_t>(features) ||
      head.weight.size() % static_cast<std::size_t>(head.outputs) != 0) {
    fail("head.weight",
         "have " + std::to_string(head.outputs) + " * " + std::to_string(features) + " elements",
         std::to_string(head.weight.size()));
  }
  if (!head.bias.empty()) require_size("head.bias", head.bias, head.outputs);
}

template <class S>
void check_scaling(const Config& config, const NetworkParts<S>& network) {
  const std::int64_t inputs = config.input_size, outputs = network.output_size(config);
  if (!network.input_mean.empty()) require_size("input_mean", network.input_mean, inputs);
  if (!network.input_scale.empty()) require_size("input_scale", network.input_scale, inputs);
  for (const S mean : network.input_mean) require_finite("input_mean", static_cast<double>(mean));
  for (const S scale : network.input_scale) {
    require_finite("input_scale", static_cast<double>(scale));
    if (scale == 0) fail("input_scale", "not be zero", "0");
  }
  require_finite("skip", network.skip);
  require_finite("input_gain", network.input_gain);
  require_finite("output_gain", network.output_gain);
  if (network.skip != 0 && outputs > inputs) {
    fail("skip",
         "be 0 where the output is wider (" + std::to_string(outputs) + ") than the input (" +
             std::to_string(inputs) + ")",
         std::to_string(network.skip));
  }
  if (network.skip != 0 && network.pooling != Pooling::kNone) {
    fail("skip", "be 0 with pooling, which leaves no step to add to", std::to_string(network.skip));
  }
}

template <class S>
void check_state_and_test(const Config& config, const NetworkParts<S>& network) {
  const std::int64_t rows = config.num_layers * config.directions(), outputs = network.output_size(config);
  if (!network.initial_h.empty() || !network.initial_c.empty()) {
    require_size("initial_h", network.initial_h, rows * config.output_size());
    require_size("initial_c", network.initial_c, rows * config.hidden_size);
  }
  if (network.sample_rate && !(std::isfinite(*network.sample_rate) && *network.sample_rate > 0)) {
    fail("sample_rate", "be positive and finite", std::to_string(*network.sample_rate));
  }
  if (network.self_test) {
    const SelfTest<S>& test = *network.self_test;
    const auto fits = [&](const Values<S>& values, std::int64_t columns) {
      return test.steps >= 0 && values.size() % static_cast<std::size_t>(columns) == 0 &&
             values.size() / static_cast<std::size_t>(columns) == static_cast<std::size_t>(test.steps);
    };
    if (!fits(test.input, config.input_size)) {
      fail("self_test.input", "have input_size elements a step", std::to_string(test.input.size()));
    }
    if (!fits(test.output, outputs)) {
      fail("self_test.output", "have " + std::to_string(outputs) + " elements a step",
           std::to_string(test.output.size()));
    }
    if (network.pooling != Pooling::kNone) fail("self_test", "be absent with pooling", "one");
  }
}

}  // namespace

const char* name_of(Activation activation) { return kActivations[static_cast<int>(activation)]; }
const char* name_of(Pooling pooling) { return kPoolings[static_cast<int>(pooling)]; }
std::optional<Activation> activation_named(std::string_view name) {
  return named<Activation>(kActivations, name);
}
std::optional<Pooling> pooling_named(std::string_view name) { return named<Pooling>(kPoolings, name); }

template <class S>
std::vector<LayerWeights<S>> NetworkDescription<S>::weights() const {
  std::vector<LayerWeights<S>> views(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
#define CELLGATE_PARAMETER(member, name, shape, condition, absent) \
  views[i].member = layers[i].member.empty() ? nullptr : layers[i].member.data();
#include "model/parameters.def"
  }
  return views;
}

template <class S>
void validate(const NetworkDescription<S>& network) {
  validate(network.config, sizeof(S));
  if (!(network.dropout >= 0 && network.dropout <= 1)) {
    fail("dropout", "be a probability in [0, 1]", std::to_string(network.dropout));
  }
  check_layers(network);
  validate<S>(network.config, network);
}

template <class S>
void validate(const Config& config, const NetworkParts<S>& parts) {
  check_head(config, parts);
  check_scaling(config, parts);
  check_state_and_test(config, parts);
}

template struct NetworkDescription<float>;
template struct NetworkDescription<double>;
template void validate(const NetworkDescription<float>&);
template void validate(const NetworkDescription<double>&);
template void validate(const Config&, const NetworkParts<float>&);
template void validate(const Config&, const NetworkParts<double>&);

}  // namespace cellgate
