// Packs the head of a network.
#include "model/packed_network.hpp"

#include <algorithm>

namespace cellgate {
namespace {

template <class S>
Values<S> owned(const Values<S>& values) {
  return Values<S>(std::vector<S>(values.begin(), values.end()));
}

template <class S>
std::shared_ptr<const Model<S>> packed(const NetworkDescription<S>& network, const KernelTable& table) {
  validate(network);
  return std::make_shared<const Model<S>>(network.config, network.weights(), table);
}

template <class S>
OwnedLayerWeights<S> unpacked(const Model<S>& lstm, std::int64_t layer, std::int64_t direction) {
  const Config& config = lstm.config();
  MutableLayerWeights<S> pointers;
  std::vector<std::vector<S>> arrays;
  for_each_parameter_of_layer<MutableLayerWeights<S>, std::int64_t>(
      config, config.layer_input_size(layer), config.hidden_size, config.proj_size,
      [&](const char*, const ParameterShape<std::int64_t>& shape, auto member) {
        pointers.*member = arrays.emplace_back(static_cast<std::size_t>(shape.elements())).data();
      });
  lstm.unpack(layer, direction, pointers);
  OwnedLayerWeights<S> weights;
  std::size_t next = 0;
  for_each_parameter_of_layer<OwnedLayerWeights<S>, std::int64_t>(
      config, config.layer_input_size(layer), config.hidden_size, config.proj_size,
      [&](const char*, const ParameterShape<std::int64_t>&, auto member) {
        weights.*member = Values<S>(std::move(arrays[next++]));
      });
  return weights;
}

}  // namespace

template <class S>
Network<S>::Network(std::shared_ptr<const Model<S>> lstm, NetworkParts<S> parts)
    : lstm_(std::move(lstm)), parts_(std::move(parts)) {
  validate(config(), parts_);
  if (parts_.head) {
    pack_head();
    parts_.head->weight = {};
    parts_.head->bias = owned(parts_.head->bias);
  }
  for (Values<S>* values : {&parts_.input_mean, &parts_.input_scale, &parts_.initial_h, &parts_.initial_c}) {
    *values = owned(*values);
  }
  if (parts_.self_test) {
    parts_.self_test->input = owned(parts_.self_test->input);
    parts_.self_test->output = owned(parts_.self_test->output);
  }
}

template <class S>
Network<S>::Network(const NetworkDescription<S>& network, const KernelTable& table)
    : Network(packed(network, table), network) {}

template <class S>
void Network<S>::pack_head() {
  const LinearHead<S>& head = *parts_.head;
  head_ = pack(head.weight.data(), panels(), features(), kernels(), PlainRows{head.outputs, lstm_->lanes()});
  if (head.outputs == 1) {
    head_row_ = AlignedBuffer<S>(head.weight.size());
    std::copy(head.weight.begin(), head.weight.end(), head_row_.data());
  }
  if (head.bias.empty()) return;
  const auto padded = static_cast<std::size_t>(panels() * 4 * lstm_->lanes());
  head_bias_ = AlignedBuffer<S>(padded);
  std::fill_n(head_bias_.data(), padded, S(0));
  std::copy(head.bias.begin(), head.bias.end(), head_bias_.data());
}

template <class S>
std::vector<S> Network<S>::head_weight() const {
  std::vector<S> weight(has_head() ? static_cast<std::size_t>(output_size() * features()) : 0);
  if (has_head()) {
    unpack(head_panels(), 0, panels(), features(), kernels(), PlainRows{output_size(), lstm_->lanes()},
           weight.data());
  }
  return weight;
}

template <class S>
NetworkParts<S> Network<S>::whole_parts() const {
  NetworkParts<S> parts = parts_;
  if (parts.head) parts.head->weight = Values<S>(head_weight());
  return parts;
}

template <class S>
NetworkDescription<S> describe(const Model<S>& lstm) {
  NetworkDescription<S> network;
  network.config = lstm.config();
  network.is_network = false;
  const std::int64_t directions = lstm.config().directions();
  for (std::int64_t layer = 0; layer < lstm.config().num_layers; ++layer) {
    for (std::int64_t d = 0; d < directions; ++d) network.layers.push_back(unpacked(lstm, layer, d));
  }
  return network;
}

template <class S>
NetworkDescription<S> describe(const Network<S>& packed) {
  NetworkDescription<S> network = describe(packed.lstm());
  static_cast<NetworkParts<S>&>(network) = packed.whole_parts();
  network.is_network = true;
  return network;
}

template class Network<float>;
template class Network<double>;
template NetworkDescription<float> describe(const Model<float>&);
template NetworkDescription<double> describe(const Model<double>&);
template NetworkDescription<float> describe(const Network<float>&);
template NetworkDescription<double> describe(const Network<double>&);

}  // namespace cellgate
