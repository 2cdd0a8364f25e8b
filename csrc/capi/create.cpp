// Models from the caller's arrays.
#include <cmath>

#include "capi/model.hpp"
#include "capi/structs.hpp"
#include "run/check.hpp"

namespace cellgate::capi {
namespace {

cg_model_description defaults() {
  cg_model_description description{};
  description.struct_size = sizeof description;
  description.num_layers = 1;
  description.bias = 1;
  description.layer_struct_size = sizeof(cg_layer_weights);
  description.input_gain = description.output_gain = 1.0;
  return description;
}

Config config_of(const cg_model_description& given) {
  Config config;
  config.input_size = given.input_size;
  config.hidden_size = given.hidden_size;
  config.num_layers = given.num_layers;
  config.proj_size = given.proj_size;
  config.bias = given.bias != 0;
  config.bidirectional = given.bidirectional != 0;
  return config;
}

// Takes arrays that the caller keeps until the model is packed.
template <class S>
class Arrays {
 public:
  explicit Arrays(bool allow_nonfinite) : allow_nonfinite_(allow_nonfinite) {}

  Values<S> needed(const std::string& name, const void* data, std::int64_t count) const {
    if (!data) throw Failure(CG_INVALID_ARGUMENT, name + ": must be an array, got NULL");
    if (reinterpret_cast<std::uintptr_t>(data) % sizeof(S)) {
      throw Failure(CG_INVALID_ARGUMENT, name + ": must be aligned, got an address that is not");
    }
    const auto* values = static_cast<const S*>(data);
    for (std::int64_t i = 0; i < count && !allow_nonfinite_; ++i) {
      if (!std::isfinite(values[i])) {
        throw Failure(CG_INVALID_ARGUMENT, name + ": must be finite, got NaN or infinity");
      }
    }
    return Values<S>::borrowed(values, static_cast<std::size_t>(count));
  }
  Values<S> if_given(const char* name, const void* data, std::int64_t count) const {
    return data ? needed(name, data, count) : Values<S>();
  }

 private:
  bool allow_nonfinite_;
};

cg_layer_weights layer_at(const cg_model_description& given, std::size_t index) {
  const auto* first = reinterpret_cast<const unsigned char*>(given.layers);
  cg_layer_weights layer{};
  copy_struct(reinterpret_cast<const cg_layer_weights*>(first + index * given.layer_struct_size),
              given.layer_struct_size, "layers", &layer);
  return layer;
}

template <class S>
void take_layers(const cg_model_description& given, const Arrays<S>& arrays, NetworkDescription<S>& network) {
  if (!given.layers) throw Failure(CG_INVALID_ARGUMENT, "layers: must be an array, got NULL");
  const auto rows = static_cast<std::size_t>(network.config.num_layers * network.config.directions());
  std::vector<LayerWeights<S>> from(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const cg_layer_weights layer = layer_at(given, i);
    from[i].w_ih = static_cast<const S*>(layer.weight_ih);
    from[i].w_hh = static_cast<const S*>(layer.weight_hh);
    from[i].b_ih = static_cast<const S*>(layer.bias_ih);
    from[i].b_hh = static_cast<const S*>(layer.bias_hh);
    from[i].w_hr = static_cast<const S*>(layer.weight_hr);
  }
  network.layers.resize(rows);
  std::size_t next = 0;
  // The walk gives the members of both structs in one order.
  std::vector<const S*> data;
  for_each_parameter<LayerWeights<S>>(
      network.config,
      [&](const std::string&, const auto&, auto member, std::size_t i) { data.push_back(from[i].*member); });
  for_each_parameter<OwnedLayerWeights<S>>(
      network.config, [&](const std::string& name, const auto& shape, auto member, std::size_t i) {
        network.layers[i].*member = arrays.needed(name, data[next++], shape.elements());
      });
}

template <class S>
void take_head(const cg_model_description& given, const Arrays<S>& arrays, NetworkDescription<S>& network) {
  if (given.head_outputs == 0) {
    if (given.head_weight) {
      throw Failure(CG_INVALID_ARGUMENT, "head_outputs: must be at least 1 with head_weight, got 0");
    }
    return;
  }
  if (given.head_outputs < 0) {
    throw Failure(CG_INVALID_ARGUMENT,
                  "head_outputs: must be at least 0, got " + std::to_string(given.head_outputs));
  }
  constexpr double kMostBytes = 0x1p46;  // more than any machine has, and no product of sizes overflows
  const double bytes =
      static_cast<double>(given.head_outputs) * static_cast<double>(network.features()) * sizeof(S);
  if (bytes > kMostBytes) throw TooLarge("head_weight", bytes);
  LinearHead<S> head;
  head.outputs = given.head_outputs;
  head.weight = arrays.needed("head_weight", given.head_weight, head.outputs * network.features());
  head.bias = arrays.if_given("head_bias", given.head_bias, head.outputs);
  head.activation = checked_enum("head_activation", given.head_activation, Activation::kRelu);
  network.head = std::move(head);
}

template <class S>
void take_parts(const cg_model_description& given, const Arrays<S>& arrays, NetworkDescription<S>& network) {
  const Config& config = network.config;
  const std::int64_t rows = config.num_layers * config.directions();
  network.pooling = checked_enum("pooling", given.pooling, Pooling::kLast);
  network.input_mean = arrays.if_given("input_mean", given.input_mean, config.input_size);
  network.input_scale = arrays.if_given("input_scale", given.input_scale, config.input_size);
  network.skip = given.skip;
  network.input_gain = given.input_gain;
  network.output_gain = given.output_gain;
  if (given.initial_h || given.initial_c) {
    network.initial_h = arrays.needed("initial_h", given.initial_h, rows * config.output_size());
    network.initial_c = arrays.needed("initial_c", given.initial_c, rows * config.hidden_size);
  }
  if (given.sample_rate != 0) network.sample_rate = given.sample_rate;
  for (std::size_t i = 0; i < given.metadata_count; ++i) {
    const char *key = given.metadata ? given.metadata[2 * i] : nullptr,
               *value = given.metadata ? given.metadata[2 * i + 1] : nullptr;
    if (!key || !value) throw Failure(CG_INVALID_ARGUMENT, "metadata: must be strings, got NULL");
    network.metadata[key] = value;
  }
}

template <class S>
cg_model* create(const cg_model_description& given, const cg_model_options& options) {
  NetworkDescription<S> network;
  network.config = config_of(given);
  validate(network.config, sizeof(S));
  const Arrays<S> arrays((options.flags & CG_ALLOW_NONFINITE) != 0);
  take_layers(given, arrays, network);
  take_head(given, arrays, network);
  take_parts(given, arrays, network);
  return make_model(network, options);
}

}  // namespace
}  // namespace cellgate::capi

using namespace cellgate::capi;

extern "C" {

void cg_model_description_init(cg_model_description* description, std::size_t struct_size) noexcept {
  if (!description) return;
  const cg_model_description standard = defaults();
  std::memset(static_cast<void*>(description), 0, struct_size);
  std::memcpy(static_cast<void*>(description), &standard, std::min(struct_size, sizeof standard));
  if (struct_size >= sizeof struct_size) description->struct_size = struct_size;
}

cg_status cg_model_create(const cg_model_description* description, const cg_model_options* options,
                          cg_model** model, cg_error* error) noexcept {
  if (!model) return fail_null(error, "model: must be a pointer to write to, got NULL");
  *model = nullptr;
  if (!description) return fail_null(error, "description: must be a cg_model_description, got NULL");
  return guarded(error, [&] {
    cg_model_description given = defaults();
    copy_struct(description, description->struct_size, "description", &given);
    const cg_model_options with = read_options(options);
    if (given.dtype != CG_FLOAT32 && given.dtype != CG_FLOAT64) {
      throw Failure(CG_INVALID_ARGUMENT,
                    "dtype: must be CG_FLOAT32 or CG_FLOAT64, got " + std::to_string(given.dtype));
    }
    *model = given.dtype == CG_FLOAT64 ? create<double>(given, with) : create<float>(given, with);
  });
}

}  // extern "C"
