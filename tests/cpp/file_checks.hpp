// What the tests of file readers share: reading, and failing as it should.
#pragma once

#include <cmath>

#include "file_cases.hpp"

namespace {

using namespace cellgate;
using namespace cellgate::files;
using test::Random;
using File = std::vector<unsigned char>;

inline Bytes view(const File& file) { return {file.data(), file.size()}; }
inline Bytes view(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

template <class S = float, class Content>
NetworkDescription<S> read(const Content& content, const ReadOptions& options = {}) {
  AnyNetwork any = read_network(view(content), options);
  CHECK(std::holds_alternative<NetworkDescription<S>>(any), "of the other type");
  return std::get<NetworkDescription<S>>(std::move(any));
}

// Reading throws a FileError whose message begins with the source and has `part` in it.
template <class Content>
void fails(const Content& content, const std::string& part, Fault fault = Fault::kMalformed,
           ReadOptions options = {}) {
  options.source = "model.x";
  try {
    read_network(view(content), options);
  } catch (const FileError& error) {
    const std::string message = error.what();
    CHECK(message.rfind("model.x: ", 0) == 0, "%s", message.c_str());
    CHECK(message.find(part) != std::string::npos, "wanted \"%s\", got \"%s\"", part.c_str(),
          message.c_str());
    CHECK(error.fault() == fault, "fault %d for \"%s\"", static_cast<int>(error.fault()), message.c_str());
    for (const char c : message) CHECK(c >= 0x20 && c < 0x7f, "not printable: \"%s\"", message.c_str());
    return;
  }
  CHECK(false, "read what should fail with \"%s\"", part.c_str());
}

template <class S>
void same(const Values<S>& a, const Values<S>& b, const char* what) {
  CHECK(a.size() == b.size(), "%s: %zu and %zu", what, a.size(), b.size());
  CHECK(test::same_bits(a.data(), b.data(), static_cast<std::int64_t>(a.size())), "%s", what);
}

template <class S>
void same_lstm(const NetworkDescription<S>& a, const NetworkDescription<S>& b) {
  for_each_option(a.config, [&](const OptionInfo& option, auto value, auto) {
    for_each_option(b.config, [&](const OptionInfo& other, auto other_value, auto) {
      if (std::string(option.name) == other.name) {
        CHECK(static_cast<std::int64_t>(value) == static_cast<std::int64_t>(other_value), "%s", option.name);
      }
    });
  });
  CHECK(a.layers.size() == b.layers.size(), "layers");
  for_each_parameter<OwnedLayerWeights<S>>(
      a.config, [&](const std::string& name, const auto&, auto member, std::size_t index) {
        same(a.layers[index].*member, b.layers[index].*member, name.c_str());
      });
}

template <class S>
void same_head(const NetworkDescription<S>& a, const NetworkDescription<S>& b) {
  CHECK(a.head.has_value() == b.head.has_value(), "head");
  if (!a.head) return;
  CHECK(a.head->outputs == b.head->outputs && a.head->activation == b.head->activation, "head");
  same(a.head->weight, b.head->weight, "head.weight");
  same(a.head->bias, b.head->bias, "head.bias");
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  CHECK(at != std::string::npos, "no %s in the text", from.c_str());
  return text.replace(at, from.size(), to);
}

}  // namespace
