// A network as numbers: an LSTM, what its input passes before it, and the linear head behind it. Holds no
// arithmetic. Filled by files, bindings and capi; packed from here.
//
//   u = input_gain * x               z = (u - input_mean) / input_scale      h = LSTM(z)
//   v = activation(W h + b), of h pooled over time if asked for              y = output_gain * (v + skip * u)
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/weights.hpp"

namespace cellgate {

// An array that owns its elements, or refers to elements that the caller keeps alive. A copy of the one owns
// its elements too, a copy of the other refers to the same.
template <class S>
class Values {
 public:
  Values() = default;
  explicit Values(std::vector<S> owned) : owned_(std::move(owned)) {}
  static Values borrowed(const S* data, std::size_t count) {
    Values values;
    values.borrowed_ = data;
    values.count_ = count;
    return values;
  }

  const S* data() const { return borrowed_ ? borrowed_ : owned_.data(); }
  std::size_t size() const { return borrowed_ ? count_ : owned_.size(); }
  bool empty() const { return size() == 0; }
  const S* begin() const { return data(); }
  const S* end() const { return data() + size(); }
  bool is_borrowed() const { return borrowed_ != nullptr; }

 private:
  std::vector<S> owned_;
  const S* borrowed_ = nullptr;
  std::size_t count_ = 0;
};

// LayerWeights with arrays of its own; those that the configuration does not have are empty.
template <class S>
struct OwnedLayerWeights {
#define CELLGATE_PARAMETER(member, name, shape, condition, absent) Values<S> member;
#include "model/parameters.def"
};

enum class Activation { kLinear, kSigmoid, kSoftmax, kTanh, kRelu };
enum class Pooling { kNone, kMean, kLast };

// The names that files and Python use: "linear", "sigmoid", ...; "none", "mean", "last".
const char* name_of(Activation activation);
const char* name_of(Pooling pooling);
std::optional<Activation> activation_named(std::string_view name);
std::optional<Pooling> pooling_named(std::string_view name);

template <class S>
struct LinearHead {
  std::int64_t outputs = 0;  // O
  Values<S> weight;          // [O, D * (P or H)]
  Values<S> bias;            // [O], or empty: none
  Activation activation = Activation::kLinear;
};

// Recorded by the maker of a file: an input, and the network's output for it from its initial state.
template <class S>
struct SelfTest {
  std::int64_t steps = 0;  // T
  Values<S> input;         // [T, I]
  Values<S> output;        // [T, O]
  bool with_gains = true;  // false: it was recorded with both gains 1
};

// All of a network but its LSTM.
template <class S>
struct NetworkParts {
  std::optional<LinearHead<S>> head;
  Pooling pooling = Pooling::kNone;
  Values<S> input_mean, input_scale;  // [I] each, or empty: 0 and 1
  double skip = 0.0, input_gain = 1.0, output_gain = 1.0;
  Values<S> initial_h;                // [L * D, P or H]: of every row; or empty: zero
  Values<S> initial_c;                // [L * D, H]; empty with initial_h
  std::optional<double> sample_rate;  // Hz
  std::map<std::string, std::string> metadata;
  std::optional<SelfTest<S>> self_test;

  // O, behind an LSTM of this configuration.
  std::int64_t output_size(const Config& config) const {
    return head ? head->outputs : config.directions() * config.output_size();
  }
};

template <class S>
struct NetworkDescription : NetworkParts<S> {
  using Scalar = S;

  Config config;
  std::vector<OwnedLayerWeights<S>> layers;  // [L * D], as Model takes them
  bool batch_first = false;                  // how Python calls the LSTM
  double dropout = 0.0;                      // how Python trains it
  bool is_network = true;                    // false: an LSTM alone, with none of the parts

  std::int64_t features() const { return config.directions() * config.output_size(); }
  std::int64_t output_size() const { return NetworkParts<S>::output_size(config); }
  // Valid as long as `layers` is.
  std::vector<LayerWeights<S>> weights() const;
};

using AnyNetwork = std::variant<NetworkDescription<float>, NetworkDescription<double>>;

// Throws std::invalid_argument naming the member that does not fit the others, or what validate(config)
// throws. Values of weights are not looked at.
template <class S>
void validate(const NetworkDescription<S>& network);
// The same of the parts, behind an LSTM of this configuration.
template <class S>
void validate(const Config& config, const NetworkParts<S>& parts);

}  // namespace cellgate
