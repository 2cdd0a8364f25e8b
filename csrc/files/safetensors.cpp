// Reads a network or an LSTM from a safetensors file of ours: see safetensors.hpp. Called by read.cpp.
#include "files/safetensors.hpp"

#include <algorithm>
#include <set>

#include "files/fields.hpp"
#include "files/readers.hpp"
#include "files/tensors.hpp"

namespace cellgate::files {
namespace {

constexpr const char* kInvalid = "its configuration is invalid: ";

void read_option(const Field& field, std::int64_t& member, std::int64_t least) {
  member =
      field.integer(least, std::int64_t{1} << 62);  // whether the machine has room for it, validate() says
}
void read_option(const Field& field, bool& member, bool) { member = field.boolean(); }

Field option_field(const Value& value, const std::string& name) { return {value, kInvalid + name}; }

// What the configuration says apart from the sizes, whose type S is not known before it is read.
struct Options {
  Config config;
  bool batch_first = false, float64 = false;
  double dropout = 0.0;
  const Value* network = nullptr;
};

// Names those that are missing and those that are unknown at once.
void check_names(const Object& members) {
  std::set<std::string, std::less<>> known{"format_version", "batch_first", "dropout", "dtype", "network"};
  std::string faults;
  const auto add = [&](const std::string& fault) { faults += (faults.empty() ? "" : " and ") + fault; };
  const auto has = [&](const char* name) {
    return std::any_of(members.begin(), members.end(), [&](const Member& m) { return m.name == name; });
  };
  Config config;
  for_each_option(config, [&](const OptionInfo& option, auto, auto) {
    known.insert(option.name);
    if (option.given == Given::kAlways && !has(option.name)) add(std::string("lacks ") + option.name);
  });
  for (const Member& member : members) {
    if (faults.size() < 400 && !known.count(member.name)) {
      add("has the unknown option " + in_quotes(member.name) + " (was it written by a newer cellgate?)");
    }
  }
  if (!faults.empty()) malformed("its configuration " + faults);
}

Options read_options(const Value& root) {
  const Value* version = root.find("format_version");
  if (!version) malformed("its configuration has no format_version");
  const auto* number = std::get_if<double>(&version->is);
  if (!number || *number != static_cast<double>(kFormatVersion)) {
    malformed("has format version " + json_text(*version) + "; this cellgate reads " +
              std::to_string(kFormatVersion));
  }
  check_names(std::get<Object>(root.is));
  Options options;
  for_each_option(options.config, [&](const OptionInfo& option, auto& member, auto least) {
    if (const Value* given = root.find(option.name))
      read_option(option_field(*given, option.name), member, least);
  });
  if (const Value* given = root.find("batch_first")) {
    options.batch_first = option_field(*given, "batch_first").boolean();
  }
  if (const Value* given = root.find("dropout")) {
    const Field dropout = option_field(*given, "dropout");
    options.dropout = dropout.number();
    if (!(options.dropout >= 0 && options.dropout <= 1)) {
      dropout.fail("be a probability in [0, 1]", json_text(options.dropout));
    }
  }
  if (const Value* given = root.find("dtype")) {
    const Field dtype = option_field(*given, "dtype");
    const auto* text = std::get_if<std::string>(&given->is);
    if (!text || (*text != "float32" && *text != "float64")) {
      dtype.fail("be float32 or float64", text ? in_quotes(*text) : "");
    }
    options.float64 = *text == "float64";
  }
  options.network = root.find("network");
  return options;
}

// Before a name is made for each parameter: each layer has some.
void check_counts(const Config& config, const TensorFile& file) {
  if (config.num_layers > static_cast<std::int64_t>(file.tensors.size())) {
    malformed("num_layers is " + std::to_string(config.num_layers) + ", but it holds " +
              std::to_string(file.tensors.size()) + " tensors");
  }
}

// Takes tensors by name and collects what is wrong with them, so that one message names it all.
template <class S>
class Taker {
 public:
  Taker(const TensorFile& file, const ReadOptions& options) : file_(file), options_(options) {}

  bool has(const char* name) const { return file_.find(name) != nullptr; }

  Values<S> take(const std::string& name, const std::vector<std::int64_t>& shape) {
    taken_.insert(name);
    const Tensor* tensor = file_.find(name);
    if (!tensor) return add(name + " is missing (wanted shape " + shape_text(shape) + ")");
    if (tensor->shape != shape) {
      add(name + " must have shape " + shape_text(shape) + ", got " + shape_text(tensor->shape));
    }
    if (!accepts<S>(*tensor)) {
      return add(
          name + " must be " +
          (sizeof(S) == 4 ? "float16 or float32 (a float32" : "float16, float32 or float64 (a float64") +
          " model converts nothing down), got " + dtype_name(tensor->dtype));
    }
    if (tensor->shape != shape) return {};
    bool nonfinite = false;
    Values<S> values = elements<S>(*tensor, options_.borrow, nonfinite);
    if (nonfinite && !options_.allow_nonfinite) return add(name + " must be finite, got NaN or infinity");
    return values;
  }

  // The first size of a tensor of two axes, which says how many of something there are.
  std::int64_t rows(const std::string& name) {
    const Tensor* tensor = file_.find(name);
    if (tensor->shape.size() == 2) return tensor->shape[0];
    add(name + " must have 2 axes, got shape " + shape_text(tensor->shape));
    return 0;
  }

  void finish() {
    for (const Tensor& tensor : file_.tensors) {
      if (!taken_.count(tensor.name)) add(quoted_name(tensor.name) + " is unexpected");
    }
    if (!faults_.empty()) malformed(faults_);
  }

 private:
  static std::string quoted_name(const std::string& name) {
    const std::string text = in_quotes(name);
    return text.size() == name.size() + 2 ? name : text;
  }

  Values<S> add(const std::string& fault) {
    constexpr std::size_t kMost = 1000;  // characters; the first faults are enough to go on
    if (faults_.size() < kMost) faults_ += (faults_.empty() ? "" : "; ") + fault;
    return {};
  }

  const TensorFile& file_;
  const ReadOptions& options_;
  std::set<std::string> taken_;
  std::string faults_;
};

template <class S>
void read_layers(Taker<S>& taker, NetworkDescription<S>& network) {
  network.layers.resize(static_cast<std::size_t>(network.config.num_layers * network.config.directions()));
  for_each_parameter<OwnedLayerWeights<S>>(
      network.config, [&](const std::string& name, const auto& shape, auto member, std::size_t index) {
        network.layers[index].*member = taker.take(name, {shape.sizes, shape.sizes + shape.rank});
      });
}

template <class Enum, class Named>
void read_name(const Field& network, const char* name, const char* wanted, Enum& member, const Named& named) {
  const auto field = network.find(name);
  if (!field) return;
  const auto value = named(field->text());
  if (!value) field->fail(std::string("be ") + wanted, in_quotes(field->text()));
  member = *value;
}

template <class S>
void read_parts(const Field& field, Taker<S>& taker, NetworkDescription<S>& network) {
  const Config& config = network.config;
  const std::int64_t rows = config.num_layers * config.directions();
  if (taker.has("head.weight")) {
    LinearHead<S> head;
    head.outputs = taker.rows("head.weight");
    head.weight = taker.take("head.weight", {head.outputs, network.features()});
    if (taker.has("head.bias")) head.bias = taker.take("head.bias", {head.outputs});
    read_name(field, "activation", "linear, sigmoid, softmax, tanh or relu", head.activation,
              activation_named);
    network.head = std::move(head);
  } else if (const auto activation = field.find("activation")) {
    malformed(activation->path() + ": must not be there without head.weight, got " +
              in_quotes(activation->text()));
  }
  if (taker.has("input_mean")) network.input_mean = taker.take("input_mean", {config.input_size});
  if (taker.has("input_scale")) network.input_scale = taker.take("input_scale", {config.input_size});
  if (taker.has("initial_h") || taker.has("initial_c")) {
    network.initial_h = taker.take("initial_h", {rows, config.output_size()});
    network.initial_c = taker.take("initial_c", {rows, config.hidden_size});
  }
  if (taker.has("selftest_input")) {
    SelfTest<S> test;
    test.steps = taker.rows("selftest_input");
    test.input = taker.take("selftest_input", {test.steps, config.input_size});
    test.output = taker.take("selftest_output", {test.steps, network.output_size()});
    if (const auto gains = field.find("selftest_gains")) test.with_gains = gains->boolean();
    network.self_test = std::move(test);
  }
}

template <class S>
void read_network_options(const Field& field, NetworkDescription<S>& network) {
  constexpr const char* kKnown[] = {"activation",  "pooling",     "skip",           "input_gain",
                                    "output_gain", "sample_rate", "selftest_gains", "metadata"};
  for (const Member& member : field.members()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), member.name) == std::end(kKnown)) {
      malformed("its configuration has the unknown option " + in_quotes("network." + member.name) +
                " (was it written by a newer cellgate?)");
    }
  }
  read_name(field, "pooling", "none, mean or last", network.pooling, pooling_named);
  const auto number = [&](const char* name, double& member) {
    if (const auto given = field.find(name)) member = given->number();
  };
  number("skip", network.skip);
  number("input_gain", network.input_gain);
  number("output_gain", network.output_gain);
  if (const auto rate = field.find("sample_rate")) network.sample_rate = rate->number();
  if (const auto metadata = field.find("metadata")) {
    for (const Member& member : metadata->members())
      network.metadata[member.name] = Field(member.value, metadata->path()).text();
  }
}

template <class S>
NetworkDescription<S> read_as(const Options& given, const TensorFile& file, const ReadOptions& options) {
  NetworkDescription<S> network;
  network.config = given.config;
  network.batch_first = given.batch_first;
  network.dropout = given.dropout;
  network.is_network = given.network != nullptr;
  Taker<S> taker(file, options);
  read_layers(taker, network);
  if (given.network) {
    const Field field(*given.network, "network");
    read_network_options(field, network);
    read_parts(field, taker, network);
  }
  taker.finish();
  return network;
}

}  // namespace

AnyNetwork read_safetensors(Bytes bytes, const ReadOptions& options) {
  const TensorFile file = read_tensors(bytes);
  const Value root = parse_json(file.configuration, "its configuration is not JSON");
  if (!std::holds_alternative<Object>(root.is)) malformed("its configuration has no format_version");
  const Options given = read_options(root);
  const Config& config = given.config;
  check_counts(config, file);
  try {
    validate(config, given.float64 ? 8 : 4);
  } catch (const std::invalid_argument& error) {
    malformed(kInvalid + std::string(error.what()));
  } catch (const std::bad_alloc&) {
    malformed(kInvalid + std::string("weights for input_size ") + std::to_string(config.input_size) +
              ", hidden_size " + std::to_string(config.hidden_size) + ", num_layers " +
              std::to_string(config.num_layers) + " need more bytes than this machine has");
  }
  return given.float64 ? AnyNetwork(read_as<double>(given, file, options))
                       : AnyNetwork(read_as<float>(given, file, options));
}

}  // namespace cellgate::files
