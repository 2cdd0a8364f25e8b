// Model: parameters in and out, and the whole-sequence call.
#include "bindings/model.hpp"

#include "bindings/call.hpp"
#include "bindings/tables.hpp"

namespace cellgate::python {
namespace {

template <class S>
SharedModel<S> build(const Config& config, const py::dict& parameters) {
  using Weights = LayerWeights<S>;
  validate(config, sizeof(S));
  std::vector<Weights> weights(static_cast<std::size_t>(config.num_layers * config.directions()), Weights{});
  std::vector<py::array> alive;
  for_each_parameter<Weights>(config, [&](const std::string& name, const ParameterShape<std::int64_t>& shape,
                                          auto member, std::size_t index) {
    if (!parameters.contains(name)) throw py::value_error("parameters: " + name + " is missing");
    const py::object given = parameters[name.c_str()];
    if (!py::array_t<S, py::array::c_style>::check_(given)) {
      bad_type("parameters: " + name, std::string("must be a contiguous array of ") + dtype_name<S>(),
               type_text(given));
    }
    alive.push_back(as_floats<S>(given, name.c_str()));
    const py::array& array = alive.back();
    if (!array_shape(shape).is_of(array)) {
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
  for_each_parameter<Weights>(config, [&](const std::string& name, const ParameterShape<std::int64_t>& shape,
                                          auto member, std::size_t index) {
    py::array array = new_array<S>(array_shape(shape));
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

PyModel::PyModel(const py::dict& options, const std::string& dtype, const py::dict& parameters) {
  const Config config = config_of(options);
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
  type.def(py::init([](const py::dict& options, const std::string& dtype, const py::dict& parameters) {
             return std::make_shared<PyModel>(options, dtype, parameters);
           }),
           py::arg("options"), py::arg("dtype"), py::arg("parameters"))
      .def("parameters", &PyModel::parameters)
      .def("forward", &PyModel::forward, py::arg("x"), py::arg("state"), py::arg("lengths"), py::arg("reset"),
           py::arg("batch_first"), py::arg("return_cells"), py::arg("batch_sizes") = py::none());
  register_training(type);
}

}  // namespace cellgate::python
