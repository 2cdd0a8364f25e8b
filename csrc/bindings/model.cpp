// Model: parameters in and out, and the whole-sequence call.
#include "bindings/model.hpp"

#include "bindings/call.hpp"
#include "bindings/parameters.hpp"

namespace cellgate::python {
namespace {

template <class S>
SharedModel<S> build(const Config& config, const py::dict& parameters) {
  using Weights = LayerWeights<S>;
  validate(config, sizeof(S));
  std::vector<Weights> weights(static_cast<std::size_t>(config.num_layers * config.directions()), Weights{});
  std::vector<py::array> alive;
  for_each_parameter<Weights>(
      config, [&](const std::string& name, const Shape& shape, auto member, std::size_t index) {
        if (!parameters.contains(name)) throw py::value_error("parameters: " + name + " is missing");
        const py::object given = parameters[name.c_str()];
        if (!py::array_t<S, py::array::c_style>::check_(given)) {
          bad_type("parameters: " + name, std::string("must be a contiguous array of ") + dtype_name<S>(),
                   type_text(given));
        }
        alive.push_back(as_floats<S>(given, name.c_str()));
        const py::array& array = alive.back();
        if (!shape.is_of(array)) {
          bad_value("parameters: " + name, "has a wrong shape", shape_text(array));
        }
        weights[index].*member = data<S>(array);
      });
  const py::gil_scoped_release release;
  return std::make_shared<const Model<S>>(config, weights);
}

template <class S>
py::dict unpacked(const Model<S>& model) {
  using Weights = MutableLayerWeights<S>;
  const Config& config = model.config();
  std::vector<Weights> weights(static_cast<std::size_t>(config.num_layers * config.directions()), Weights{});
  py::dict parameters;
  for_each_parameter<Weights>(
      config, [&](const std::string& name, const Shape& shape, auto member, std::size_t index) {
        py::array array = new_array<S>(shape);
        weights[index].*member = mutable_data<S>(array);
        parameters[name.c_str()] = std::move(array);
      });
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (std::int64_t d = 0; d < config.directions(); ++d) {
      model.unpack(layer, d, weights[static_cast<std::size_t>(layer * config.directions() + d)]);
    }
  }
  return parameters;
}

template <class S>
py::tuple run(const Model<S>& model, const CallArgs& given, bool return_cells) {
  Call<S> call(model.config(), given);
  call.make_outputs(return_cells);
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::forward(model, call.args(), scratch.get(), executor);
  }
  py::tuple last = py::make_tuple(std::move(call.h), std::move(call.c));
  if (return_cells) return py::make_tuple(std::move(call.y), std::move(last), std::move(call.cells));
  return py::make_tuple(std::move(call.y), std::move(last));
}

}  // namespace

PyModel::PyModel(std::int64_t input_size, std::int64_t hidden_size, std::int64_t num_layers, bool bias,
                 bool bidirectional, std::int64_t proj_size, const std::string& dtype,
                 const py::dict& parameters) {
  Config config;
  config.input_size = input_size;
  config.hidden_size = hidden_size;
  config.num_layers = num_layers;
  config.bias = bias;
  config.bidirectional = bidirectional;
  config.proj_size = proj_size;
  if (dtype == "float32") {
    model_ = build<float>(config, parameters);
  } else if (dtype == "float64") {
    model_ = build<double>(config, parameters);
  } else {
    bad_value("dtype", "must be float32 or float64", dtype);
  }
}

py::dict PyModel::parameters() const {
  return std::visit([](const auto& model) { return unpacked(*model); }, model_);
}

py::tuple PyModel::forward(py::handle x, py::handle state, py::handle lengths, py::handle reset,
                           bool batch_first, bool return_cells, py::handle batch_sizes) const {
  const CallArgs given{x, state, lengths, reset, batch_first, batch_sizes};
  return std::visit([&](const auto& model) { return run(*model, given, return_cells); }, model_);
}

void register_model(py::module_& module) {
  py::class_<PyModel, std::shared_ptr<PyModel>> type(module, "Model");
  type.def(py::init([](std::int64_t input_size, std::int64_t hidden_size, std::int64_t num_layers, bool bias,
                       bool bidirectional, std::int64_t proj_size, const std::string& dtype,
                       const py::dict& parameters) {
             return std::make_shared<PyModel>(input_size, hidden_size, num_layers, bias, bidirectional,
                                              proj_size, dtype, parameters);
           }),
           py::arg("input_size"), py::arg("hidden_size"), py::arg("num_layers"), py::arg("bias"),
           py::arg("bidirectional"), py::arg("proj_size"), py::arg("dtype"), py::arg("parameters"))
      .def("parameters", &PyModel::parameters)
      .def("forward", &PyModel::forward, py::arg("x"), py::arg("state"), py::arg("lengths"), py::arg("reset"),
           py::arg("batch_first"), py::arg("return_cells"), py::arg("batch_sizes") = py::none());
  register_training(type);
}

}  // namespace cellgate::python
