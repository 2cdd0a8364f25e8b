// Model: parameters in and out, and the whole-sequence call.
#include "bindings/model.hpp"

#include <vector>

#include "bindings/call.hpp"
#include "bindings/tables.hpp"

namespace cellgate::python {
namespace {

template <class S>
SharedModel<S> build(const Config& config, const py::dict& parameters) {
  using Weights = LayerWeights<S>;
  validate(config, sizeof(S));
  std::vector<py::object> alive;
  std::vector<Weights> weights(static_cast<std::size_t>(config.num_layers * config.directions()), Weights{});
  for_each_parameter<Weights>(config, [&](const std::string& name, const ParameterShape<std::int64_t>& of,
                                          auto member, std::size_t index) {
    if (!parameters.contains(name)) throw std::invalid_argument("parameters: " + name + " is missing");
    const py::object given = parameters[name.c_str()];
    const std::string title = "parameters: " + name;
    Argument array(given, title.c_str());
    if (!is_readable(array.view(), sizeof(S)) || !is_contiguous(array.view())) {
      bad_type(title, std::string("must be a contiguous array of ") + scalar_name(sizeof(S)),
               type_text(given));
    }
    if (!has_shape(array.view(), array_shape(of)))
      bad_value(title, "has a wrong shape", shape_text(array.view()));
    weights[index].*member = array.data<S>();
    alive.push_back(std::move(array.array()));
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
  for_each_parameter<Weights>(config, [&](const std::string& name, const ParameterShape<std::int64_t>& of,
                                          auto member, std::size_t index) {
    Argument array;
    array.make<S>(array_shape(of));
    weights[index].*member = array.mutable_data<S>();
    parameters[name.c_str()] = std::move(array.array());
  });
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (std::int64_t d = 0; d < config.directions(); ++d) {
      model.unpack(layer, d, weights[static_cast<std::size_t>(layer * config.directions() + d)]);
    }
  }
  return parameters;
}

template <class S>
py::tuple run(const Model<S>& model, py::handle given, bool return_cells) {
  Call<S> call(model.config(), given);
  call.make_outputs(return_cells);
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::forward(model, call.args(), scratch.get(), executor);
  }
  py::tuple last = py::make_tuple(std::move(call.h.array()), std::move(call.c.array()));
  if (return_cells) {
    return py::make_tuple(std::move(call.y.array()), std::move(last), std::move(call.cells.array()));
  }
  return py::make_tuple(std::move(call.y.array()), std::move(last));
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

py::tuple PyModel::forward(py::handle call, py::handle return_cells) const {
  const bool cells = scalar<bool>(return_cells, "return_cells", "must be True or False");
  return std::visit([&](const auto& model) { return run(*model, call, cells); }, model_);
}

namespace {

PyObject* forward(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"forward", {"call", "return_cells"}, 2, 2};
  return call_method<PyModel>(
      signature, self, given, count, names,
      [](PyModel& model, const py::handle* argument) { return model.forward(argument[0], argument[1]); });
}

}  // namespace

void register_model(py::module_& module) {
  py::class_<PyModel, std::shared_ptr<PyModel>> type(module, "Model");
  type.def(py::init([](const py::dict& options, const std::string& dtype, const py::dict& parameters) {
             return std::make_shared<PyModel>(options, dtype, parameters);
           }),
           py::arg("options"), py::arg("dtype"), py::arg("parameters"))
      .def("parameters", &PyModel::parameters);
  add_method(type, "forward", &forward, "forward($self, /, call, return_cells)\n--\n\n");
  register_training(type);
}

}  // namespace cellgate::python
