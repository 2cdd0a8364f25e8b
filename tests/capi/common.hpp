// What the tests of the C library share: models of random arrays.
#pragma once

#include <cellgate/cellgate.h>

#include <string>
#include <vector>

#include "../cpp/random.hpp"

namespace test {

struct Sizes {
  std::int64_t inputs = 1, hidden = 8, layers = 1, projection = 0;
  bool both = false;         // directions
  std::int64_t outputs = 1;  // 0: no head
  cg_activation activation = CG_LINEAR;
  cg_pooling pooling = CG_POOL_NONE;
  bool scaled = false, begins = false;
  double skip = 0, input_gain = 1, output_gain = 1;
};

// A description and the arrays that it points to.
template <class S>
class Described {
 public:
  explicit Described(const Sizes& sizes, std::uint64_t seed = 1) : sizes_(sizes), random_(seed) {
    cg_model_description_init(&description, sizeof description);
    description.dtype = sizeof(S) == 4 ? CG_FLOAT32 : CG_FLOAT64;
    description.input_size = sizes.inputs;
    description.hidden_size = sizes.hidden;
    description.num_layers = sizes.layers;
    description.proj_size = sizes.projection;
    description.bidirectional = sizes.both;
    add_layers();
    description.head_outputs = sizes.outputs;
    description.head_weight = sizes.outputs ? array(sizes.outputs * features()) : nullptr;
    description.head_bias = sizes.outputs ? array(sizes.outputs) : nullptr;
    description.head_activation = sizes.activation;
    description.pooling = sizes.pooling;
    if (sizes.scaled) {
      description.input_mean = array(sizes.inputs);
      S* scale = array(sizes.inputs);
      for (std::int64_t i = 0; i < sizes.inputs; ++i) scale[i] += S(1.5);
      description.input_scale = scale;
    }
    if (sizes.begins) {
      description.initial_h = array(cells() * width());
      description.initial_c = array(cells() * sizes.hidden);
    }
    description.skip = sizes.skip;
    description.input_gain = sizes.input_gain;
    description.output_gain = sizes.output_gain;
    description.sample_rate = 48000;
    description.metadata = kMetadata;
    description.metadata_count = 2;
  }

  cg_model* create(const cg_model_options* options = nullptr) const {
    cg_model* model = nullptr;
    cg_error error;
    const cg_status status = cg_model_create(&description, options, &model, &error);
    CHECK(status == CG_OK, "%s", error.message);
    return model;
  }

  std::int64_t cells() const { return sizes_.layers * (sizes_.both ? 2 : 1); }
  std::int64_t width() const { return sizes_.projection ? sizes_.projection : sizes_.hidden; }
  std::int64_t features() const { return (sizes_.both ? 2 : 1) * width(); }
  std::int64_t outputs() const { return sizes_.outputs ? sizes_.outputs : features(); }

  cg_model_description description;
  std::vector<cg_layer_weights> layers;

 private:
  static constexpr const char* kMetadata[4] = {"name", "a name", "a key that no small string holds",
                                               "a value that no small string holds"};

  S* array(std::int64_t count) {
    arrays_.push_back(random_.numbers<S>(count, S(0.5)));
    return arrays_.back().data();
  }
  void add_layers() {
    for (std::int64_t i = 0; i < cells(); ++i) {
      const std::int64_t gates = 4 * sizes_.hidden;
      const std::int64_t inputs = i < (sizes_.both ? 2 : 1) ? sizes_.inputs : features();
      cg_layer_weights layer;
      layer.weight_ih = array(gates * inputs);
      layer.weight_hh = array(gates * width());
      layer.bias_ih = array(gates);
      layer.bias_hh = array(gates);
      layer.weight_hr = sizes_.projection ? array(sizes_.projection * sizes_.hidden) : nullptr;
      layers.push_back(layer);
    }
    description.layers = layers.data();
  }

  const Sizes sizes_;
  Random random_;
  std::vector<std::vector<S>> arrays_;
};

// The functions of each sample type by one name.
inline cg_status process(cg_stream* s, const float* in, float* out, std::size_t n, cg_error* e = nullptr) {
  return cg_stream_process(s, in, out, n, e);
}
inline cg_status process(cg_stream* s, const double* in, double* out, std::size_t n, cg_error* e = nullptr) {
  return cg_stream_process_f64(s, in, out, n, e);
}
inline cg_status process_planar(cg_stream* s, const float* const* in, float* const* out, std::size_t n,
                                cg_error* e = nullptr) {
  return cg_stream_process_planar(s, in, out, n, e);
}
inline cg_status process_planar(cg_stream* s, const double* const* in, double* const* out, std::size_t n,
                                cg_error* e = nullptr) {
  return cg_stream_process_planar_f64(s, in, out, n, e);
}
inline cg_status get_state(const cg_stream* s, float* state, std::size_t n) {
  return cg_stream_get_state(s, state, n, nullptr);
}
inline cg_status get_state(const cg_stream* s, double* state, std::size_t n) {
  return cg_stream_get_state_f64(s, state, n, nullptr);
}
inline cg_status set_state(cg_stream* s, const float* state, std::size_t n) {
  return cg_stream_set_state(s, state, n, nullptr);
}
inline cg_status set_state(cg_stream* s, const double* state, std::size_t n) {
  return cg_stream_set_state_f64(s, state, n, nullptr);
}
inline cg_status run(const cg_model* m, const cg_run_arguments& a, cg_error* e = nullptr) {
  return cg_run(m, &a, e);
}
inline cg_status run(const cg_model* m, const cg_run_arguments_f64& a, cg_error* e = nullptr) {
  return cg_run_f64(m, &a, e);
}
template <class S>
using RunArguments = std::conditional_t<sizeof(S) == 4, cg_run_arguments, cg_run_arguments_f64>;
template <class S>
RunArguments<S> run_arguments(std::int64_t steps, std::int64_t batch, const S* x, S* y) {
  RunArguments<S> arguments{};
  arguments.struct_size = sizeof arguments;
  arguments.steps = steps;
  arguments.batch = batch;
  arguments.x = x;
  arguments.y = y;
  return arguments;
}

}  // namespace test
