// Neural Amp Modeler's .nam files of architecture LSTM. Called by read.cpp.
//
// Facts, from the format's public sources (sdatkinson/neural-amp-modeler, nam/models/recurrent.py and
// exportable.py; sdatkinson/NeuralAmpModelerCore, NAM/lstm.cpp, get_dsp.cpp, docs/nam_file_version.rst):
// - JSON of `version`, `architecture`, `config`, `weights` and, if known, `sample_rate` and `metadata`.
// - `weights` is flat: for each layer the matrix [4H][I + H], row-major, whose rows are the gates i, f, g, o
//   and whose columns are first the input's, then h's; the sum of both biases [4H]; the initial h [H] and
//   c [H]; behind all layers the head's weight [O][H] and bias [O] (_export_cell_weights, _export_weights;
//   LSTMCell, LSTM).
// - `config` has input_size, hidden_size, num_layers and, of newer files, in_channels and out_channels,
// else 1.
// - The player feeds in_channels of the input_size inputs, so that both are the same in files that work.
// - Versions 0.5 to 0.7 hold an LSTM in the same way; a change of what is before the last number breaks
//   readers that do not know it.
#include <algorithm>

#include "files/fields.hpp"
#include "files/readers.hpp"

namespace cellgate::files {
namespace {

using Network = NetworkDescription<float>;

void check_version(const Field& version) {
  const std::string& text = version.text();
  for (const char* known : {"0.5.", "0.6.", "0.7."}) {
    if (text.rfind(known, 0) == 0 && text.size() > 4 &&
        text.find_first_not_of("0123456789", 4) == std::string::npos) {
      return;
    }
  }
  unsupported("version: must be 0.5, 0.6 or 0.7 with any last number, got " + in_quotes(text));
}

// Hands out the flat weights one after the other; their number was checked.
class Cursor {
 public:
  Cursor(const Numbers& numbers, bool allow_nonfinite)
      : next_(numbers.data()), allow_nonfinite_(allow_nonfinite) {}

  float one() { return to_float(*next_++, allow_nonfinite_, "weights"); }
  std::vector<float> take(std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = one();
    return values;
  }

 private:
  const double* next_;
  bool allow_nonfinite_;
};

// In double, which the sizes of a file that claims anything cannot overflow.
void check_count(const Field& weights, const Config& config, double outputs) {
  const double H = static_cast<double>(config.hidden_size), I = static_cast<double>(config.input_size),
               L = static_cast<double>(config.num_layers);
  const double layers = 4 * H * (I + H) + (L - 1) * (4 * H * 2 * H) + L * (4 * H + 2 * H);
  const double wanted = layers + outputs * (H + 1);
  if (static_cast<double>(weights.numbers().size()) != wanted) {
    weights.fail("have " + json_text(wanted) + " elements for this configuration",
                 std::to_string(weights.numbers().size()));
  }
}

void read_layer(Cursor& cursor, std::int64_t inputs, Network& network, std::vector<float>& h,
                std::vector<float>& c) {
  const std::int64_t hidden = network.config.hidden_size;
  std::vector<float> w_ih, w_hh;
  w_ih.reserve(static_cast<std::size_t>(4 * hidden * inputs));
  w_hh.reserve(static_cast<std::size_t>(4 * hidden * hidden));
  for (std::int64_t row = 0; row < 4 * hidden; ++row) {
    for (std::int64_t k = 0; k < inputs; ++k) w_ih.push_back(cursor.one());
    for (std::int64_t k = 0; k < hidden; ++k) w_hh.push_back(cursor.one());
  }
  OwnedLayerWeights<float> weights;
  weights.w_ih = Values<float>(std::move(w_ih));
  weights.w_hh = Values<float>(std::move(w_hh));
  weights.b_ih = Values<float>(cursor.take(4 * hidden));
  weights.b_hh = Values<float>(std::vector<float>(static_cast<std::size_t>(4 * hidden)));
  network.layers.push_back(std::move(weights));
  for (std::vector<float>* state : {&h, &c}) {
    const std::vector<float> values = cursor.take(hidden);
    state->insert(state->end(), values.begin(), values.end());
  }
}

}  // namespace

NetworkDescription<float> read_nam(const Value& value, bool allow_nonfinite) {
  const Field root(value, ""), architecture = root["architecture"];
  if (architecture.text() != "LSTM") {
    unsupported("architecture: must be 'LSTM', got " + in_quotes(architecture.text()));
  }
  check_version(root["version"]);
  const Field config = root["config"], weights = root["weights"];
  Network network;
  network.config.input_size = config["input_size"].integer(1);
  network.config.hidden_size = config["hidden_size"].integer(1);
  network.config.num_layers = config["num_layers"].integer(1);
  const auto in = config.find("in_channels"), out = config.find("out_channels");
  if (in && in->integer(1) != network.config.input_size) {
    unsupported("config.in_channels: must be input_size, " + std::to_string(network.config.input_size) +
                ", got " + std::to_string(in->integer(1)));
  }
  const std::int64_t outputs = out ? out->integer(1) : 1;
  check_count(weights, network.config, static_cast<double>(outputs));

  Cursor cursor(weights.numbers(), allow_nonfinite);
  std::vector<float> h, c;
  for (std::int64_t layer = 0; layer < network.config.num_layers; ++layer)
    read_layer(cursor, network.config.layer_input_size(layer), network, h, c);
  network.initial_h = Values<float>(std::move(h));
  network.initial_c = Values<float>(std::move(c));
  LinearHead<float> head;
  head.outputs = outputs;
  head.weight = Values<float>(cursor.take(outputs * network.config.hidden_size));
  head.bias = Values<float>(cursor.take(outputs));
  network.head = std::move(head);
  const auto rate = root.find("sample_rate"), metadata = root.find("metadata");
  network.sample_rate = rate ? rate->number() : 48000;
  if (metadata) add_metadata(metadata->value(), network.metadata);
  return network;
}

}  // namespace cellgate::files
