// Networks of GuitarML's Proteus and of Automated-GuitarAmpModelling, which trains them. Called by read.cpp.
//
// Facts, from the formats' public sources:
// - The file holds what CoreAudioML's SimpleRNN saves (Alec-Wright/CoreAudioML, networks.py, save_model):
//   `model_data` (model, input_size, output_size, unit_type, num_layers, hidden_size, skip, bias_fl) and
//   `state_dict`, PyTorch's of an LSTM `rec` and a Linear `lin`, in PyTorch's layout and gate order.
// - `bias_fl` is of `lin`; without it there is no lin.bias.
// - `skip` is how many of the first inputs are added to the outputs (the same, forward). The plug-in
//   always adds the first (GuitarML/Proteus, src/RTNeuralLSTM.cpp, process), and plays at 44.1 kHz
//   (PluginProcessor.cpp); here nothing is added if the file says 0.
#include <algorithm>
#include <set>

#include "files/fields.hpp"
#include "files/readers.hpp"

namespace cellgate::files {
namespace {

using Network = NetworkDescription<float>;

// Names of parameters as the file has them: "rec." and PyTorch's.
void read_layers(const Field& state, Network& network, bool allow_nonfinite) {
  // Each layer has parameters, so that this many are in the file.
  if (network.config.num_layers > static_cast<std::int64_t>(state.members().size())) {
    malformed("model_data.num_layers: must be at most the number of parameters, " +
              std::to_string(state.members().size()) + ", got " + std::to_string(network.config.num_layers));
  }
  network.layers.resize(static_cast<std::size_t>(network.config.num_layers));
  for_each_parameter<OwnedLayerWeights<float>>(network.config, [&](const std::string& name, const auto& shape,
                                                                   auto member, std::size_t index) {
    const Field field = state[("rec." + name).c_str()];
    network.layers[index].*member = Values<float>(
        shape.rank == 2 ? read_matrix(field, shape.sizes[0], shape.sizes[1], Layout::kRows, allow_nonfinite)
                        : read_vector(field, shape.sizes[0], allow_nonfinite));
  });
}

void read_head(const Field& state, std::int64_t outputs, Network& network, bool allow_nonfinite) {
  LinearHead<float> head;
  head.outputs = outputs;
  head.weight = Values<float>(
      read_matrix(state["lin.weight"], outputs, network.config.hidden_size, Layout::kRows, allow_nonfinite));
  if (const auto bias = state.find("lin.bias")) {
    head.bias = Values<float>(read_vector(*bias, outputs, allow_nonfinite));
  }
  network.head = std::move(head);
}

// Every array must have been used: one that was not would change the result.
void check_all_read(const Field& state, const Network& network) {
  std::set<std::string> known{"lin.weight", "lin.bias"};
  for_each_parameter<OwnedLayerWeights<float>>(
      network.config,
      [&](const std::string& name, const auto&, auto, std::size_t) { known.insert("rec." + name); });
  for (const Member& member : state.members()) {
    if (!known.count(member.name)) {
      unsupported("state_dict: must hold 'rec' and 'lin' only, got " + in_quotes(member.name));
    }
  }
}

}  // namespace

NetworkDescription<float> read_proteus(const Value& value, bool allow_nonfinite) {
  const Field root(value, ""), data = root["model_data"], state = root["state_dict"];
  for (const auto& [name, wanted] : {std::pair{"model", "SimpleRNN"}, std::pair{"unit_type", "LSTM"}}) {
    const auto found = data.find(name);
    if (found && found->text() != wanted) {
      unsupported(found->path() + ": must be '" + wanted + "', got " + in_quotes(found->text()));
    }
  }
  Network network;
  network.config.input_size = data["input_size"].integer(1);
  network.config.hidden_size = data["hidden_size"].integer(1);
  const auto layers = data.find("num_layers"), outputs = data.find("output_size"), skip = data.find("skip");
  if (layers) network.config.num_layers = layers->integer(1);
  read_layers(state, network, allow_nonfinite);
  read_head(state, outputs ? outputs->integer(1) : 1, network, allow_nonfinite);
  check_all_read(state, network);
  const std::int64_t skipped = std::min(skip ? skip->integer(0) : 1, network.config.input_size);
  if (skipped > 0 && skipped != network.head->outputs) {
    unsupported("model_data.skip: must be 0 or the number of outputs, " +
                std::to_string(network.head->outputs) + ", got " + std::to_string(skipped));
  }
  network.skip = skipped > 0 ? 1.0 : 0.0;
  network.sample_rate = 44100;
  if (const auto metadata = root.find("metadata")) add_metadata(metadata->value(), network.metadata);
  return network;
}

}  // namespace cellgate::files
