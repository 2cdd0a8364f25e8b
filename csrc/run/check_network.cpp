// Checks of calls, parts and streams of a network. Called by bindings and capi.
#include "run/check_network.hpp"

#include <limits>

namespace cellgate {
namespace {

// Results, and what is kept between the LSTM and the head.
template <class S>
void require_addressable(const Network<S>& network, double rows, const std::string& what) {
  const double width = static_cast<double>(network.config().input_size) +
                       static_cast<double>(network.features()) + static_cast<double>(network.output_size());
  if (const double bytes = rows * width * sizeof(S); bytes > kMostBytes) throw TooLarge(what, bytes);
}

template <class S>
void require_addressable(const Network<S>& network, const CallLayout& layout, const ArrayView& x) {
  require_addressable(network, static_cast<double>(layout.steps) * static_cast<double>(layout.batch),
                      std::string(x.name) + ": the results for shape " + shape_text(x));
}

}  // namespace

void check_parts(const Config& config, int scalar_bytes, const PartsViews& given) {
  const std::int64_t features = config.directions() * config.output_size(),
                     rows = config.num_layers * config.directions();
  const auto require = [&](const ArrayView* view, const Shape& shape) {
    if (view) require_floats(*view, scalar_bytes, shape);
  };
  std::int64_t outputs = features;
  if (const ArrayView* weight = given.head_weight) {
    require_floats(*weight, scalar_bytes);
    if (weight->rank != 2 || weight->shape[0] < 1 || weight->shape[1] != features) {
      bad_value(weight->name, "must have shape (O, " + std::to_string(features) + ") with O of at least 1",
                "shape " + shape_text(*weight));
    }
    outputs = weight->shape[0];
  }
  require(given.head_bias, {outputs});
  require(given.input_mean, {config.input_size});
  require(given.input_scale, {config.input_size});
  require(given.initial_h, {rows, config.output_size()});
  require(given.initial_c, {rows, config.hidden_size});
  if (!given.test_input) return;
  require_floats(*given.test_input, scalar_bytes);
  if (given.test_input->rank != 2) {
    bad_value(given.test_input->name, "must have two axes", "shape " + shape_text(*given.test_input));
  }
  const std::int64_t steps = given.test_input->shape[0];
  require(given.test_input, {steps, config.input_size});
  require(given.test_output, {steps, outputs});
}

template <class S>
CheckedCall check_call(const Network<S>& network, const CallViews& given) {
  if (const ArrayView* sizes = given.batch_sizes) {
    bad_value(sizes->name, "must be None for a network", "shape " + shape_text(*sizes));
  }
  if (given.reset && network.pools()) {
    bad_value(given.reset->name, "must be None with pooling, which gives one answer for a sequence",
              "shape " + shape_text(*given.reset));
  }
  CheckedCall call = check_call(network.config(), sizeof(S), given);
  require_addressable(network, call.layout, *given.x);
  return call;
}

template <class S>
Shape output_shape(const Network<S>& network, const CallLayout& layout) {
  const std::int64_t outputs = network.output_size();
  if (!network.pools()) return layout.sequence(outputs);
  return layout.unbatched ? Shape{outputs} : Shape{layout.batch, outputs};
}

template <class S>
Plane<S> output_plane(const Network<S>& network, const CallLayout& layout, S* y,
                      const std::ptrdiff_t* strides) {
  if (!network.pools()) return layout.plane(y, strides);
  return {y, 0, layout.unbatched ? 0 : strides[0] / static_cast<std::ptrdiff_t>(sizeof(S)), nullptr};
}

template <class S>
void check_stream(const Network<S>& network, std::int64_t batch) {
  check_stream(network.config(), sizeof(S), batch);
  require_addressable(network, static_cast<double>(batch),
                      "batch_size: the results of " + std::to_string(batch) + " sequences");
}

template <class S>
CallLayout check_run(const Network<S>& network, std::int64_t batch, bool batch_first, const ArrayView& x) {
  const CallLayout layout = check_run(network.config(), sizeof(S), batch, batch_first, x);
  require_addressable(network, layout, x);
  return layout;
}

template <class S>
std::vector<std::int64_t> check_pooled(const Network<S>& network, std::int64_t batch, const ArrayView& steps,
                                       const ArrayView& sums) {
  require_integers(steps);
  require_shape(steps, {batch});
  require_floats(sums, sizeof(S), {batch, network.features()});
  return integers_in_range(steps, batch, std::numeric_limits<std::int64_t>::max() / 2);
}

#define CELLGATE_INSTANTIATE(S)                                                                      \
  template CheckedCall check_call(const Network<S>&, const CallViews&);                              \
  template Shape output_shape(const Network<S>&, const CallLayout&);                                 \
  template Plane<S> output_plane(const Network<S>&, const CallLayout&, S*, const std::ptrdiff_t*);   \
  template void check_stream(const Network<S>&, std::int64_t);                                       \
  template CallLayout check_run(const Network<S>&, std::int64_t, bool, const ArrayView&);            \
  template std::vector<std::int64_t> check_pooled(const Network<S>&, std::int64_t, const ArrayView&, \
                                                  const ArrayView&);
CELLGATE_INSTANTIATE(float)
CELLGATE_INSTANTIATE(double)
#undef CELLGATE_INSTANTIATE

}  // namespace cellgate
