// Networks with known numbers, and their texts in the formats of others, written without csrc/files.
#pragma once

#include <string>
#include <vector>

#include "check.hpp"
#include "files/read.hpp"

namespace test {

using cellgate::NetworkDescription;
using cellgate::OwnedLayerWeights;
using cellgate::Values;

template <class S>
Values<S> values(Random& random, std::int64_t count) {
  return Values<S>(random.numbers<S>(count));
}

// All parameters that the configuration has.
template <class S>
NetworkDescription<S> lstm(const cellgate::Config& config, std::uint64_t seed = 1) {
  Random random(seed);
  NetworkDescription<S> network;
  network.config = config;
  network.is_network = false;
  network.layers.resize(static_cast<std::size_t>(config.num_layers * config.directions()));
  cellgate::for_each_parameter<OwnedLayerWeights<S>>(
      config, [&](const std::string&, const auto& shape, auto member, std::size_t index) {
        network.layers[index].*member = values<S>(random, shape.elements());
      });
  return network;
}

inline cellgate::Config sizes(std::int64_t input, std::int64_t hidden, std::int64_t layers = 1) {
  cellgate::Config config;
  config.input_size = input;
  config.hidden_size = hidden;
  config.num_layers = layers;
  return config;
}

// With a head of one output and, in each layer, all of the bias in b_ih, as the other formats have it.
inline NetworkDescription<float> network(const cellgate::Config& config, std::uint64_t seed = 2) {
  NetworkDescription<float> made = lstm<float>(config, seed);
  Random random(seed + 100);
  made.is_network = true;
  for (auto& layer : made.layers) layer.b_hh = Values<float>(std::vector<float>(layer.b_hh.size()));
  cellgate::LinearHead<float> head;
  head.outputs = 1;
  head.weight = values<float>(random, config.hidden_size);
  head.bias = values<float>(random, 1);
  made.head = head;
  return made;
}

inline std::string number(float value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

// [count] numbers, `stride` apart.
inline std::string vector_text(const float* from, std::int64_t count, std::int64_t stride = 1) {
  std::string text = "[";
  for (std::int64_t i = 0; i < count; ++i) text += (i ? "," : "") + number(from[i * stride]);
  return text + "]";
}

inline std::string rows_text(const Values<float>& matrix, std::int64_t rows, std::int64_t columns) {
  std::string text = "[";
  for (std::int64_t i = 0; i < rows; ++i)
    text += (i ? "," : "") + vector_text(matrix.data() + i * columns, columns);
  return text + "]";
}

// The transpose: [columns][rows].
inline std::string columns_text(const Values<float>& matrix, std::int64_t rows, std::int64_t columns) {
  std::string text = "[";
  for (std::int64_t k = 0; k < columns; ++k)
    text += (k ? "," : "") + vector_text(matrix.data() + k, rows, columns);
  return text + "]";
}

inline std::string rtneural_text(const NetworkDescription<float>& n, const std::string& more = "") {
  const std::int64_t H = n.config.hidden_size;
  std::string text = "{\"in_shape\":[null,null," + std::to_string(n.config.input_size) + "],\"layers\":[";
  for (std::size_t i = 0; i < n.layers.size(); ++i) {
    text += R"({"type":"lstm","activation":"","shape":[null,null,)" + std::to_string(H) + "],\"weights\":[" +
            columns_text(n.layers[i].w_ih, 4 * H, n.config.layer_input_size(static_cast<std::int64_t>(i))) +
            "," + columns_text(n.layers[i].w_hh, 4 * H, H) + "," +
            vector_text(n.layers[i].b_ih.data(), 4 * H) + "]},";
  }
  text += R"({"type":"dense","activation":"","shape":[null,null,1],"weights":[)" +
          columns_text(n.head->weight, 1, H) + "," + vector_text(n.head->bias.data(), 1) + "]}]";
  return text + more + "}";
}

inline std::string proteus_text(const NetworkDescription<float>& n, const std::string& more = "",
                                const std::string& head_bias = "") {
  const std::int64_t H = n.config.hidden_size;
  std::string text =
      R"({"model_data":{"model":"SimpleRNN","input_size":)" + std::to_string(n.config.input_size) +
      R"(,"output_size":1,"unit_type":"LSTM","num_layers":)" + std::to_string(n.config.num_layers) +
      ",\"hidden_size\":" + std::to_string(H) + more + "},\"state_dict\":{";
  for (std::size_t i = 0; i < n.layers.size(); ++i) {
    const std::string l = "_l" + std::to_string(i) + "\":";
    const std::int64_t I = n.config.layer_input_size(static_cast<std::int64_t>(i));
    text += "\"rec.weight_ih" + l + rows_text(n.layers[i].w_ih, 4 * H, I) + ",\"rec.weight_hh" + l +
            rows_text(n.layers[i].w_hh, 4 * H, H) + ",\"rec.bias_ih" + l +
            vector_text(n.layers[i].b_ih.data(), 4 * H) + ",\"rec.bias_hh" + l +
            vector_text(n.layers[i].b_hh.data(), 4 * H) + ",";
  }
  text += "\"lin.weight\":" + rows_text(n.head->weight, 1, H);
  return text + (head_bias.empty() ? ",\"lin.bias\":" + vector_text(n.head->bias.data(), 1) : head_bias) +
         "}}";
}

// `state` has h and c of each layer in turn.
inline std::string nam_text(const NetworkDescription<float>& n, const std::vector<float>& state,
                            const std::string& more = "") {
  const std::int64_t H = n.config.hidden_size;
  std::vector<float> flat;
  const auto append = [&](const float* from, std::int64_t count) {
    flat.insert(flat.end(), from, from + count);
  };
  for (std::size_t i = 0; i < n.layers.size(); ++i) {
    const std::int64_t I = n.config.layer_input_size(static_cast<std::int64_t>(i));
    for (std::int64_t row = 0; row < 4 * H; ++row) {
      append(n.layers[i].w_ih.data() + row * I, I);
      append(n.layers[i].w_hh.data() + row * H, H);
    }
    append(n.layers[i].b_ih.data(), 4 * H);
    append(state.data() + static_cast<std::int64_t>(i) * 2 * H, 2 * H);
  }
  append(n.head->weight.data(), H);
  append(n.head->bias.data(), 1);
  return R"({"version":"0.5.4","architecture":"LSTM","config":{"input_size":)" +
         std::to_string(n.config.input_size) + ",\"hidden_size\":" + std::to_string(H) +
         ",\"num_layers\":" + std::to_string(n.config.num_layers) +
         "},\"weights\":" + vector_text(flat.data(), static_cast<std::int64_t>(flat.size())) + more + "}";
}

}  // namespace test
