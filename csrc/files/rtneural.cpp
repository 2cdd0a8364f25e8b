// RTNeural's JSON, and AIDA-X's, which adds to it. Called by read.cpp.
//
// Facts, from the formats' public sources:
// - `in_shape` ends in the number of inputs, each layer's `shape` in its number of outputs; null stands for
//   an axis of any size (RTNeural, RTNeural/model_loader.h, parseJson).
// - An lstm's `weights` are kernel [I][4H], recurrent kernel [H][4H] and bias [4H], as Keras has them
//   (model_loader.h, loadLSTM; python/model_utils.py, save_layer); of the 4H columns, blocks 0 to 3 are the
//   gates i, f, c (our g), o (RTNeural/lstm/lstm.tpp, setWVals, setUVals, setBVals). There is one bias.
// - A dense layer's are [H][O] and, if it has one, [O]; "time-distributed-dense" is the same
//   (model_loader.h, loadDense). Its `activation` follows it, as does that of a layer "activation".
// - The `activation` of an lstm is "" or "tanh" and means tanh: RTNeural does not read it.
// - AIDA-X: `in_skip` 0 or 1; `in_gain`, `out_gain` in dB, where -90 and less are silence;
//   `samplerate`, a string in its files, in `metadata` or beside it, else 48000; x *= in_gain, then
//   y = out_gain * (model(x) + skip * x). Of more inputs than one, the first is the signal: only it passes
//   the gain (AidaDSP/aidadsp-lv2, rt-neural-generic.cpp, loadModelFromPath and applyModel).
// - `input_batch` and `output_batch`, [N], are input and output of the trained network from a zero state,
//   other inputs being 0; they are compared with both gains at 1 (the same, testModel).
#include <cmath>

#include "files/fields.hpp"
#include "files/readers.hpp"

namespace cellgate::files {
namespace {

using Network = NetworkDescription<float>;

std::int64_t last_size(const Field& shape) {
  if (const auto* numbers = std::get_if<Numbers>(&shape.value().is)) {
    if (numbers->empty()) shape.fail("have at least 1 element", "0");
    const Value last{numbers->back()};
    return Field(last, shape.path() + "[" + std::to_string(numbers->size() - 1) + "]").integer(1);
  }
  const std::vector<Field> items = shape.items();
  if (items.empty()) shape.fail("have at least 1 element", "0");
  return items.back().integer(1);
}

// All elements of `weights`, which are arrays of numbers or of arrays.
std::vector<Field> weights_of(const Field& layer, std::size_t least, std::size_t most) {
  const Field weights = layer["weights"];
  std::vector<Field> arrays = weights.items();
  if (arrays.size() < least || arrays.size() > most) {
    weights.fail("have " + std::to_string(least) + " or " + std::to_string(most) + " arrays",
                 std::to_string(arrays.size()));
  }
  return arrays;
}

void add_lstm(const Field& layer, Network& network, bool allow_nonfinite) {
  const std::int64_t hidden = last_size(layer["shape"]);
  const bool first = network.layers.empty();
  if (first) {
    network.config.hidden_size = hidden;
  } else if (hidden != network.config.hidden_size) {
    unsupported(layer.path() + ": has " + std::to_string(hidden) + " units, the lstm before it " +
                std::to_string(network.config.hidden_size) + "; all must have the same number");
  }
  if (const auto activation = layer.find("activation")) {
    if (!activation->text().empty() && activation->text() != "tanh") {
      unsupported(activation->path() + ": must be 'tanh', got " + in_quotes(activation->text()));
    }
  }
  const std::int64_t inputs = first ? network.config.input_size : hidden;
  const std::vector<Field> arrays = weights_of(layer, 2, 3);
  // The largest array is read first: its size is checked against the file, and bounds the allocations below.
  OwnedLayerWeights<float> weights;
  weights.w_hh = Values<float>(read_matrix(arrays[1], 4 * hidden, hidden, Layout::kColumns, allow_nonfinite));
  weights.w_ih = Values<float>(read_matrix(arrays[0], 4 * hidden, inputs, Layout::kColumns, allow_nonfinite));
  const auto gates = static_cast<std::size_t>(4 * hidden);
  weights.b_ih = arrays.size() == 3 ? Values<float>(read_vector(arrays[2], 4 * hidden, allow_nonfinite))
                                    : Values<float>(std::vector<float>(gates));  // Keras' use_bias=False
  weights.b_hh = Values<float>(std::vector<float>(gates));
  network.layers.push_back(std::move(weights));
  network.config.num_layers = static_cast<std::int64_t>(network.layers.size());
}

void set_activation(const Field& layer, LinearHead<float>& head) {
  const auto named = layer.find("activation");
  if (!named || named->text().empty()) return;
  const auto activation = activation_named(named->text());
  if (!activation) {
    unsupported(named->path() + ": must be tanh, relu, sigmoid or softmax, got " + in_quotes(named->text()));
  }
  if (head.activation != Activation::kLinear) {
    unsupported(named->path() + ": must be the only activation behind the dense layer, got " +
                in_quotes(named->text()) + " after " + in_quotes(name_of(head.activation)));
  }
  head.activation = *activation;
}

void add_dense(const Field& layer, Network& network, bool allow_nonfinite) {
  const std::int64_t outputs = last_size(layer["shape"]), hidden = network.config.hidden_size;
  const std::vector<Field> arrays = weights_of(layer, 1, 2);
  LinearHead<float> head;
  head.outputs = outputs;
  head.weight = Values<float>(read_matrix(arrays[0], outputs, hidden, Layout::kColumns, allow_nonfinite));
  if (arrays.size() == 2) head.bias = Values<float>(read_vector(arrays[1], outputs, allow_nonfinite));
  network.head = std::move(head);
  set_activation(layer, *network.head);
}

bool is_dense(const std::string& type) { return type == "dense" || type == "time-distributed-dense"; }

// An LSTM and a linear head are all that a network has. One message names everything that was found.
void check_types(const std::vector<Field>& layers) {
  constexpr std::size_t kMostShown = 12;
  std::vector<std::string> types;
  for (const Field& layer : layers) types.push_back(layer["type"].text());
  std::size_t next = 0;
  while (next < types.size() && types[next] == "lstm") ++next;
  const std::size_t lstms = next;
  if (next < types.size() && is_dense(types[next])) ++next;
  if (next > lstms && next < types.size() && types[next] == "activation") ++next;
  if (lstms > 0 && next == types.size()) return;
  std::string found;
  for (std::size_t i = 0; i < types.size() && i < kMostShown; ++i)
    found += (i ? ", " : "") + in_quotes(types[i]);
  unsupported("layers: must be 'lstm' once or more, then at most one 'dense' and one 'activation', got " +
              (types.empty() ? "none" : found + (types.size() > kMostShown ? ", ..." : "")));
}

void add_layer(const Field& layer, Network& network, bool allow_nonfinite) {
  const std::string& type = layer["type"].text();
  if (type == "lstm") return add_lstm(layer, network, allow_nonfinite);
  if (is_dense(type)) return add_dense(layer, network, allow_nonfinite);
  set_activation(layer, *network.head);
}

double gain_of(const Field& root, const char* name) {
  const auto decibels = root.find(name);
  if (!decibels) return 1.0;
  const double number = decibels->number();
  if (number > 1000) decibels->fail("be at most 1000 dB", json_text(number));
  return number > -90 ? std::pow(10.0, number / 20) : 0.0;
}

// The gain is of the signal, which is the first input: the others get it back.
void set_gains(const Field& root, Network& network) {
  network.input_gain = gain_of(root, "in_gain");
  network.output_gain = gain_of(root, "out_gain");
  if (network.config.input_size == 1 || network.input_gain == 1) return;
  if (network.input_gain == 0) {
    root["in_gain"].fail("be above -90 dB with more inputs than one", json_text(root["in_gain"].number()));
  }
  std::vector<float> scale(static_cast<std::size_t>(network.config.input_size),
                           static_cast<float>(network.input_gain));
  scale[0] = 1;
  network.input_scale = Values<float>(std::move(scale));
}

double sample_rate_of(const Field& root) {
  const auto metadata = root.find("metadata");
  auto rate = metadata ? metadata->find("samplerate") : std::nullopt;
  if (!rate) rate = root.find("samplerate");
  return rate ? number_or_text(*rate) : 48000;
}

void set_self_test(const Field& root, Network& network) {
  const auto input = root.find("input_batch"), output = root.find("output_batch");
  if (!input || !output) return;
  if (network.output_size() != 1) {
    unsupported("output_batch: must not be there with more outputs than one, got " +
                std::to_string(network.output_size()));
  }
  const std::size_t steps = input->numbers().size(),
                    inputs = static_cast<std::size_t>(network.config.input_size);
  constexpr std::size_t kMost = std::size_t{1} << 24;  // the inputs that are 0 are not in the file
  if (steps > kMost / inputs) {
    throw FileError(Fault::kTooLarge, "input_batch: must have at most " + std::to_string(kMost / inputs) +
                                          " elements, got " + std::to_string(steps));
  }
  const std::vector<float> signal = read_vector(*input, static_cast<std::int64_t>(steps), false);
  SelfTest<float> test;
  test.steps = static_cast<std::int64_t>(steps);
  test.output = Values<float>(read_vector(*output, test.steps, false));
  std::vector<float> x(steps * inputs);
  for (std::size_t i = 0; i < steps; ++i) x[i * inputs] = signal[i];
  test.input = Values<float>(std::move(x));
  test.with_gains = false;
  network.self_test = std::move(test);
}

bool is_metadata(const std::string& name) {
  for (const char* known : {"in_shape", "layers", "in_skip", "in_gain", "out_gain", "samplerate", "metadata",
                            "input_batch", "output_batch"}) {
    if (name == known) return false;
  }
  return true;
}

}  // namespace

NetworkDescription<float> read_rtneural(const Value& value, bool allow_nonfinite) {
  const Field root(value, "");
  Network network;
  network.config.input_size = last_size(root["in_shape"]);
  network.config.hidden_size = 0;
  const std::vector<Field> layers = root["layers"].items();
  check_types(layers);
  for (const Field& layer : layers) add_layer(layer, network, allow_nonfinite);
  if (const auto skip = root.find("in_skip")) network.skip = static_cast<double>(skip->integer(0, 1));
  set_gains(root, network);
  network.sample_rate = sample_rate_of(root);
  set_self_test(root, network);
  for (const Member& member : root.members()) {
    if (is_metadata(member.name)) add_metadata(Value{Object{member}}, network.metadata);
  }
  if (const auto metadata = root.find("metadata")) add_metadata(metadata->value(), network.metadata);
  return network;
}

}  // namespace cellgate::files
