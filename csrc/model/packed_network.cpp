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

template class Network<float>;
template class Network<double>;

}  // namespace cellgate
