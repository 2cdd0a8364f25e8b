// Writes a network or an LSTM as a safetensors file: see safetensors.hpp. Called by bindings and capi.
#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "files/json.hpp"
#include "files/read.hpp"
#include "files/safetensors.hpp"

namespace cellgate::files {
namespace {

struct Entry {
  std::string name;
  std::vector<std::int64_t> shape;
  const void* data;
  std::size_t bytes;
};

// Members of a JSON object, one after the other.
class Members {
 public:
  void add(const std::string& name, const std::string& text) {
    text_ += (text_.size() > 1 ? ", " : "") + json_text(std::string_view(name)) + ": " + text;
  }
  void add_string(const std::string& name, std::string_view value) { add(name, json_text(value)); }
  void add_number(const std::string& name, double value) { add(name, json_text(value)); }
  void add_bool(const std::string& name, bool value) { add(name, value ? "true" : "false"); }
  std::string text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

void add_option(Members& members, const char* name, std::int64_t value) {
  members.add(name, std::to_string(value));
}
void add_option(Members& members, const char* name, bool value) { members.add_bool(name, value); }

template <class S>
std::string network_text(const NetworkDescription<S>& network) {
  Members members, metadata;
  if (network.head) members.add_string("activation", cellgate::name_of(network.head->activation));
  members.add_string("pooling", cellgate::name_of(network.pooling));
  members.add_number("skip", network.skip);
  members.add_number("input_gain", network.input_gain);
  members.add_number("output_gain", network.output_gain);
  if (network.sample_rate) members.add_number("sample_rate", *network.sample_rate);
  if (network.self_test) members.add_bool("selftest_gains", network.self_test->with_gains);
  for (const auto& [name, value] : network.metadata) metadata.add_string(name, value);
  members.add("metadata", metadata.text());
  return members.text();
}

template <class S>
std::string configuration_text(const NetworkDescription<S>& network) {
  Members members;
  members.add("format_version", std::to_string(kFormatVersion));
  for_each_option(network.config, [&](const OptionInfo& option, auto value, auto) {
    add_option(members, option.name, value);
  });
  members.add_bool("batch_first", network.batch_first);
  members.add_number("dropout", network.dropout);
  members.add_string("dtype", sizeof(S) == 4 ? "float32" : "float64");
  if (network.is_network) members.add("network", network_text(network));
  return members.text();
}

// Of all texts, only the metadata's come from outside.
template <class S>
std::string text_of(const NetworkDescription<S>& network) {
  try {
    return configuration_text(network);
  } catch (const std::invalid_argument&) {
    throw std::invalid_argument("metadata: must be UTF-8, got other bytes");
  }
}

template <class S>
const char* dtype_of(const NetworkDescription<S>&) {
  return sizeof(S) == 4 ? "F32" : "F64";
}

template <class S>
std::vector<Entry> entries_of(const NetworkDescription<S>& network) {
  std::vector<Entry> entries;
  const auto add = [&](const std::string& name, const Values<S>& values, std::vector<std::int64_t> shape) {
    entries.push_back({name, std::move(shape), values.data(), values.size() * sizeof(S)});
  };
  const auto add_if_there = [&](const char* name, const Values<S>& values, std::vector<std::int64_t> shape) {
    if (!values.empty()) add(name, values, std::move(shape));
  };
  for_each_parameter<OwnedLayerWeights<S>>(
      network.config, [&](const std::string& name, const auto& shape, auto member, std::size_t index) {
        add(name, network.layers[index].*member, {shape.sizes, shape.sizes + shape.rank});
      });
  if (network.is_network) {
    const Config& config = network.config;
    const auto rows = static_cast<std::int64_t>(network.layers.size());
    if (network.head) {
      add("head.weight", network.head->weight, {network.head->outputs, network.features()});
      add_if_there("head.bias", network.head->bias, {network.head->outputs});
    }
    add_if_there("input_mean", network.input_mean, {config.input_size});
    add_if_there("input_scale", network.input_scale, {config.input_size});
    add_if_there("initial_h", network.initial_h, {rows, config.output_size()});
    add_if_there("initial_c", network.initial_c, {rows, config.hidden_size});
    if (const auto& test = network.self_test) {
      add("selftest_input", test->input, {test->steps, config.input_size});
      add("selftest_output", test->output, {test->steps, network.output_size()});
    }
  }
  // All have one type, so that this is the order in which the safetensors library writes.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

std::string header_text(const std::vector<Entry>& entries, const std::string& configuration,
                        const char* dtype) {
  std::string text = "{\"__metadata__\":{" + json_text(std::string_view(kMetadataKey)) + ":" +
                     json_text(std::string_view(configuration)) + "}";
  std::size_t begin = 0;
  for (const Entry& entry : entries) {
    text += "," + json_text(std::string_view(entry.name)) + ":{\"dtype\":\"" + dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < entry.shape.size(); ++i)
      text += (i ? "," : "") + std::to_string(entry.shape[i]);
    text += "],\"data_offsets\":[" + std::to_string(begin) + ",";
    begin += entry.bytes;
    text += std::to_string(begin) + "]}";
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the tensors stay aligned
  return text;
}

}  // namespace

std::vector<unsigned char> write_network(const AnyNetwork& any) {
  return std::visit(
      [](const auto& network) {
        validate(network);
        const std::vector<Entry> entries = entries_of(network);
        const std::string header = header_text(entries, text_of(network), dtype_of(network));
        std::size_t total = kLengthBytes + header.size();
        for (const Entry& entry : entries) total += entry.bytes;
        std::vector<unsigned char> file(total);
        for (std::size_t i = 0; i < kLengthBytes; ++i)
          file[i] = static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i));
        unsigned char* next = file.data() + kLengthBytes;
        const auto append = [&](const void* data, std::size_t bytes) {
          if (bytes) std::memcpy(next, data, bytes);
          next += bytes;
        };
        append(header.data(), header.size());
        for (const Entry& entry : entries) append(entry.data, entry.bytes);
        return file;
      },
      any);
}

}  // namespace cellgate::files
