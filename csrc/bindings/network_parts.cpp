// Between a dict and NetworkParts.
#include "bindings/network_parts.hpp"

#include <algorithm>

#include <pybind11/stl.h>

#include "bindings/call.hpp"

namespace cellgate::python {
namespace {

py::handle item(const py::dict& given, const char* name) {
  const py::handle found = PyDict_GetItemString(given.ptr(), name);  // borrowed
  return found && !found.is_none() ? found : py::handle();
}

void take_number(const py::dict& given, const char* name, double& number) {
  if (const py::handle found = item(given, name)) number = scalar<double>(found, name, "must be a number");
}

const ArrayView* view_of(const Argument* argument) { return argument ? &argument->view() : nullptr; }

template <class S>
Values<S> values_of(Argument* argument) {
  if (!argument) return {};
  argument->make_readable<S>(true);
  const auto size = py::reinterpret_borrow<py::array>(argument->array()).size();
  return Values<S>::borrowed(argument->data<S>(), static_cast<std::size_t>(size));
}

template <class S>
py::object array_of(const Values<S>& values, const Shape& shape) {
  if (values.empty() && shape.elements() != 0) return py::none();
  Argument array;
  array.make<S>(shape);
  std::copy(values.begin(), values.end(), array.mutable_data<S>());
  return array.array();
}

}  // namespace

template <class S>
Argument* GivenParts<S>::take(py::handle given, const char* name) {
  if (!given || given.is_none()) return nullptr;
  Argument& argument = arguments_.emplace_back();
  argument.take(given, name);
  return &argument;
}

template <class S>
void GivenParts<S>::take_head(py::handle head) {
  PyObject* const* part = items(head, "head", "tuple (weight, bias, activation)", 3);
  weight_ = take(part[0], "head: weight");
  bias_ = take(part[1], "head: bias");
  if (!weight_) bad_type("head: weight", "must be an array", "None");
  const auto name = scalar<std::string>(part[2], "activation", "must be a string");
  const auto activation = activation_named(name);
  if (!activation) bad_value("activation", "must be linear, sigmoid, softmax, tanh or relu", name);
  parts_.head.emplace().activation = *activation;
}

template <class S>
void GivenParts<S>::take_self_test(py::handle test) {
  PyObject* const* part = items(test, "self_test", "tuple (input, output, with_gains)", 3);
  test_input_ = take(part[0], "self_test: input");
  test_output_ = take(part[1], "self_test: output");
  if (!test_input_ || !test_output_) bad_type("self_test", "must have an input and an output", "None");
  parts_.self_test.emplace().with_gains =
      scalar<bool>(part[2], "self_test: with_gains", "must be True or False");
}

template <class S>
GivenParts<S>::GivenParts(const Config& config, const py::dict& given) {
  if (const py::handle head = item(given, "head")) take_head(head);
  if (const py::handle pooling = item(given, "pooling")) {
    const auto name = scalar<std::string>(pooling, "pooling", "must be a string or None");
    const auto named = pooling_named(name);
    if (!named) bad_value("pooling", "must be none, mean or last", name);
    parts_.pooling = *named;
  }
  mean_ = take(item(given, "input_mean"), "input_mean");
  scale_ = take(item(given, "input_scale"), "input_scale");
  take_number(given, "skip", parts_.skip);
  take_number(given, "input_gain", parts_.input_gain);
  take_number(given, "output_gain", parts_.output_gain);
  if (const py::handle state = item(given, "initial_state")) {
    h_ = &arguments_.emplace_back();
    c_ = &arguments_.emplace_back();
    take_pair(state, "initial_state", *h_, "initial_state: h", *c_, "initial_state: c");
  }
  if (const py::handle rate = item(given, "sample_rate"))
    parts_.sample_rate = scalar<double>(rate, "sample_rate", "must be a number");
  if (const py::handle metadata = item(given, "metadata")) {
    using Strings = std::map<std::string, std::string>;
    parts_.metadata = scalar<Strings>(metadata, "metadata", "must be a dict of strings to strings");
  }
  if (const py::handle test = item(given, "self_test")) take_self_test(test);
  read(config);
}

template <class S>
void GivenParts<S>::read(const Config& config) {
  check_parts(config, sizeof(S),
              {view_of(weight_), view_of(bias_), view_of(mean_), view_of(scale_), view_of(h_), view_of(c_),
               view_of(test_input_), view_of(test_output_)});
  if (parts_.head) {
    parts_.head->outputs = weight_->view().shape[0];
    parts_.head->weight = values_of<S>(weight_);
    parts_.head->bias = values_of<S>(bias_);
  }
  parts_.input_mean = values_of<S>(mean_);
  parts_.input_scale = values_of<S>(scale_);
  parts_.initial_h = values_of<S>(h_);
  parts_.initial_c = values_of<S>(c_);
  if (!parts_.self_test) return;
  parts_.self_test->steps = test_input_->view().shape[0];
  parts_.self_test->input = values_of<S>(test_input_);
  parts_.self_test->output = values_of<S>(test_output_);
}

template <class S>
py::dict parts_dict(const Config& config, const NetworkParts<S>& network) {
  const std::int64_t cells = config.num_layers * config.directions(),
                     features = config.directions() * config.output_size(),
                     outputs = network.output_size(config);
  py::dict parts;
  parts["head"] = py::none();
  if (const auto& head = network.head) {
    parts["head"] = py::make_tuple(array_of(head->weight, {outputs, features}),
                                   array_of(head->bias, {outputs}), name_of(head->activation));
  }
  parts["pooling"] = name_of(network.pooling);
  parts["input_mean"] = array_of(network.input_mean, {config.input_size});
  parts["input_scale"] = array_of(network.input_scale, {config.input_size});
  parts["skip"] = network.skip;
  parts["input_gain"] = network.input_gain;
  parts["output_gain"] = network.output_gain;
  parts["initial_state"] = py::none();
  if (!network.initial_h.empty()) {
    parts["initial_state"] = py::make_tuple(array_of(network.initial_h, {cells, config.output_size()}),
                                            array_of(network.initial_c, {cells, config.hidden_size}));
  }
  parts["sample_rate"] = network.sample_rate;
  parts["metadata"] = network.metadata;
  parts["self_test"] = py::none();
  if (const auto& test = network.self_test) {
    parts["self_test"] = py::make_tuple(array_of(test->input, {test->steps, config.input_size}),
                                        array_of(test->output, {test->steps, outputs}), test->with_gains);
  }
  return parts;
}

template class GivenParts<float>;
template class GivenParts<double>;
template py::dict parts_dict(const Config&, const NetworkParts<float>&);
template py::dict parts_dict(const Config&, const NetworkParts<double>&);

}  // namespace cellgate::python
