// Model: parameters in and out, and the whole-sequence call.
#include "model.hpp"

#include "../core/sequence.hpp"

namespace cellgate::python {
namespace {

// Calls visit(name, shape, member of LayerWeights, index of the layer and direction) in PyTorch's
// order for all parameters that the configuration has.
template <class Weights, class Visit>
void for_each_parameter(const Config& c, const Visit& visit) {
  const std::int64_t gates = 4 * c.hidden_size, width = c.output_size();
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    for (std::int64_t d = 0; d < c.directions(); ++d) {
      const std::string suffix = "_l" + std::to_string(layer) + (d ? "_reverse" : "");
      const auto index = static_cast<std::size_t>(layer * c.directions() + d);
      visit("weight_ih" + suffix, Shape{gates, c.layer_input_size(layer)}, &Weights::w_ih, index);
      visit("weight_hh" + suffix, Shape{gates, width}, &Weights::w_hh, index);
      if (c.bias) visit("bias_ih" + suffix, Shape{gates}, &Weights::b_ih, index);
      if (c.bias) visit("bias_hh" + suffix, Shape{gates}, &Weights::b_hh, index);
      if (c.proj_size) visit("weight_hr" + suffix, Shape{c.proj_size, c.hidden_size}, &Weights::w_hr, index);
    }
  }
}

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
py::tuple run(const Model<S>& model, py::handle x_given, py::handle state, py::handle lengths_given,
              py::handle reset_given, bool batch_first, bool return_cells) {
  const Config& config = model.config();
  const py::array x = as_floats<S>(x_given, "x");
  const bool unbatched = x.ndim() == 2;
  if (x.ndim() != 2 && x.ndim() != 3) {
    bad_value("x", std::string("must be (T, I) or ") + (batch_first ? "(B, T, I)" : "(T, B, I)"),
              "shape " + shape_text(x));
  }
  if (x.shape(x.ndim() - 1) != config.input_size) {
    bad_value("x", "last axis must be " + std::to_string(config.input_size), "shape " + shape_text(x));
  }
  const py::ssize_t time_axis = !unbatched && batch_first ? 1 : 0, batch_axis = 1 - time_axis;
  ForwardArgs<S> args;
  args.steps = x.shape(time_axis);
  args.batch = unbatched ? 1 : x.shape(batch_axis);
  args.x = data<S>(x);
  args.x_step = stride<S>(x, time_axis);
  args.x_row = unbatched ? 0 : stride<S>(x, batch_axis);

  // An axis for x's first ones is followed by `width`.
  const auto laid_out = [&](std::int64_t width) {
    if (unbatched) return Shape{args.steps, width};
    return batch_first ? Shape{args.batch, args.steps, width} : Shape{args.steps, args.batch, width};
  };
  const std::int64_t cells_count = config.num_layers * config.directions();
  const auto state_shape = [&](std::int64_t width) {
    return unbatched ? Shape{cells_count, width} : Shape{cells_count, args.batch, width};
  };
  std::pair<py::object, py::object> initial;
  if (!state.is_none()) {
    auto given = as_state<S>(state, state_shape(config.output_size()), state_shape(config.hidden_size));
    args.h0 = data<S>(given.first);
    args.c0 = data<S>(given.second);
    initial = std::move(given);
  }
  py::object lengths_kept, reset_kept;  // py::array() would create an empty array
  if (!lengths_given.is_none()) {
    py::array lengths = as_lengths(lengths_given, args.batch, args.steps, unbatched);
    args.lengths = data<std::int64_t>(lengths);
    lengths_kept = std::move(lengths);
  }
  if (!reset_given.is_none()) {
    py::array reset = as_flags(reset_given, "reset", laid_out(0).without_last());
    args.reset = data<unsigned char>(reset);
    args.reset_step = reset.strides(time_axis);
    args.reset_row = unbatched ? 0 : reset.strides(batch_axis);
    reset_kept = std::move(reset);
  }

  py::array y = new_array<S>(laid_out(config.directions() * config.output_size()));
  py::array h = new_array<S>(state_shape(config.output_size())),
            c = new_array<S>(state_shape(config.hidden_size));
  args.y = mutable_data<S>(y);
  args.y_step = stride<S>(y, time_axis);
  args.y_row = unbatched ? 0 : stride<S>(y, batch_axis);
  args.h_n = mutable_data<S>(h);
  args.c_n = mutable_data<S>(c);
  py::object cells = py::none();
  if (return_cells) {
    py::array all = new_array<S>(laid_out(config.directions() * config.hidden_size));
    args.cells = mutable_data<S>(all);
    args.cells_step = stride<S>(all, time_axis);
    args.cells_row = unbatched ? 0 : stride<S>(all, batch_axis);
    cells = std::move(all);
  }
  {
    const py::gil_scoped_release release;
    Scratch scratch;
    cellgate::forward(model, args, scratch);
  }
  py::tuple last = py::make_tuple(std::move(h), std::move(c));
  if (return_cells) return py::make_tuple(std::move(y), std::move(last), std::move(cells));
  return py::make_tuple(std::move(y), std::move(last));
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
                           bool batch_first, bool return_cells) const {
  return std::visit(
      [&](const auto& model) { return run(*model, x, state, lengths, reset, batch_first, return_cells); },
      model_);
}

void register_model(py::module_& module) {
  py::class_<PyModel, std::shared_ptr<PyModel>>(module, "Model")
      .def(py::init([](std::int64_t input_size, std::int64_t hidden_size, std::int64_t num_layers, bool bias,
                       bool bidirectional, std::int64_t proj_size, const std::string& dtype,
                       const py::dict& parameters) {
             return std::make_shared<PyModel>(input_size, hidden_size, num_layers, bias, bidirectional,
                                              proj_size, dtype, parameters);
           }),
           py::arg("input_size"), py::arg("hidden_size"), py::arg("num_layers"), py::arg("bias"),
           py::arg("bidirectional"), py::arg("proj_size"), py::arg("dtype"), py::arg("parameters"))
      .def("parameters", &PyModel::parameters)
      .def("forward", &PyModel::forward, py::arg("x"), py::arg("state"), py::arg("lengths"), py::arg("reset"),
           py::arg("batch_first"), py::arg("return_cells"));
}

}  // namespace cellgate::python
