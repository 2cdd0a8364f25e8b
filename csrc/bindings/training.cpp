// Recording a call, and its gradients.
#include <deque>

#include "bindings/call.hpp"
#include "bindings/model.hpp"
#include "bindings/tables.hpp"
#include "run/backward.hpp"

namespace cellgate::python {
namespace {

// Memory of the core's own, aligned to cache lines and in huge pages where there are any.
template <class S>
py::array aligned_array(std::int64_t count) {
  auto* buffer = new AlignedBuffer<S>(static_cast<std::size_t>(count));
  const py::capsule owner(buffer, [](void* held) { delete static_cast<AlignedBuffer<S>*>(held); });
  return py::array_t<S>({static_cast<py::ssize_t>(count)}, {static_cast<py::ssize_t>(sizeof(S))},
                        buffer->data(), owner);
}

template <class S>
py::tuple record(const Model<S>& model, py::handle given, py::handle training, bool return_cells,
                 py::handle out) {
  PyObject* const* given_out = outputs(out, "tuple (y, h, c, tape)", 4);
  Call<S> call(model.config(), given);
  ForwardArgs<S>& args = call.args();
  args.training = GivenTraining(training).checked(args.steps);
  const std::int64_t size = tape_size(model, args.batch, args.steps, call.layout().valid, args.training);
  call.make_outputs(return_cells, given_out);
  Argument tape;
  const py::object held = given_out[3] == Py_None ? py::object(aligned_array<S>(size))
                                                  : py::reinterpret_borrow<py::object>(given_out[3]);
  tape.take_or_make<S>(held, "out: tape", Shape{size});
  args.tape = tape.mutable_data<S>();
  args.tape[size - 1] = 0;
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::forward(model, args, scratch.get(), executor);
  }
  return py::make_tuple(call.y.array(), py::make_tuple(call.h.array(), call.c.array()),
                        call.cells.array_or_none(), tape.array());
}

// The gradients of the parameters: new arrays, or the caller's to add to or to write into.
template <class S>
class ParameterGradients {
 public:
  // `out`: None, or a tuple of arrays in the order of the parameters.
  ParameterGradients(const Config& config, py::handle accumulate, py::handle out) {
    const auto count = static_cast<py::ssize_t>(parameter_totals(config).arrays);
    PyObject* const* given =
        out.is_none() ? nullptr : items(out, "out: parameters", "tuple of arrays", count);
    pointers.assign(static_cast<std::size_t>(config.num_layers * config.directions()),
                    MutableLayerWeights<S>{});
    if (!accumulate.is_none() && !PyDict_Check(accumulate.ptr())) {
      bad_type("accumulate", "must be a dict of names to arrays", type_text(accumulate));
    }
    for_each_parameter<MutableLayerWeights<S>>(
        config,
        [&](const std::string& name, const ParameterShape<std::int64_t>& of, auto member, std::size_t index) {
          Argument& array = arguments_.emplace_back();
          if (!accumulate.is_none()) {
            take_sum(py::reinterpret_borrow<py::dict>(accumulate), name, array_shape(of), array);
          } else if (given) {
            array.take_or_make<S>(*given++, titles_.emplace_back("out: " + name).c_str(), array_shape(of));
          } else {
            array.make<S>(array_shape(of));
          }
          pointers[index].*member = array.mutable_data<S>();
          arrays[name.c_str()] = array.array();
        });
    if (!accumulate.is_none() && py::len(accumulate) != py::len(arrays)) {
      bad_value("accumulate",
                "must have the " + std::to_string(py::len(arrays)) + " parameters and no others",
                std::to_string(py::len(accumulate)) + " entries");
    }
  }

  std::vector<ArrayView> views() const {
    std::vector<ArrayView> all;
    for (const Argument& argument : arguments_) all.push_back(argument.view());
    return all;
  }

  py::dict arrays;
  std::vector<MutableLayerWeights<S>> pointers;

 private:
  void take_sum(const py::dict& accumulate, const std::string& name, const Shape& shape, Argument& array) {
    const std::string& title = titles_.emplace_back(kSumPrefix + name);
    if (!accumulate.contains(name)) throw std::invalid_argument(title + " is missing");
    array.take_output(accumulate[name.c_str()], title.c_str(), sizeof(S));
    require_contiguous_output(array.view(), sizeof(S), shape);
  }

  std::deque<Argument> arguments_;  // in a deque, as they and their names cannot be moved
  std::deque<std::string> titles_;
};

// Owns, or shares, what the backward pass reads and writes beside the call itself.
template <class S>
class BackwardCall {
 public:
  BackwardCall(const Model<S>& model, Call<S>& call, py::handle tape, py::handle derivatives, py::handle out)
      : BackwardCall(model, call, tape, items(derivatives, "derivatives", "Derivatives", 7),
                     outputs(out, "tuple (d_x, d_h, d_c, parameters)", 4)) {}

  BackwardArgs<S> args;
  ParameterGradients<S> parameters;
  Argument d_x, d_h0, d_c0;

 private:
  BackwardCall(const Model<S>& model, Call<S>& call, py::handle tape, PyObject* const* item,
               PyObject* const* out)
      : parameters(model.config(), item[6], out[3]) {
    const bool wants_input = scalar<bool>(item[5], "input_gradient", "must be True or False");
    args.accumulate = !py::handle(item[6]).is_none();
    take(tape, item);
    const DerivativeViews views{&tape_.view(),        &y_.view(),
                                d_y_.view_if_given(), d_cells_.view_if_given(),
                                d_h_.view_if_given(), d_c_.view_if_given()};
    ForwardArgs<S>& forward = call.args();
    const CallLayout& layout = call.layout();
    const std::int64_t size = tape_size(model, forward.batch, forward.steps, layout.valid, forward.training);
    check_derivatives(model.config(), sizeof(S), layout, size, views);
    if (args.accumulate) check_sums(parameters.views(), sizeof(S), views);
    read(call);
    make_outputs(model.config(), call, wants_input, out);
  }

  void take(py::handle tape, PyObject* const* item) {
    tape_.take(tape, "tape");
    y_.take(item[0], "y");
    d_y_.take_if_given(item[1], "d_output");
    d_h_.take_if_given(item[2], "d_state: h");
    d_c_.take_if_given(item[3], "d_state: c");
    d_cells_.take_if_given(item[4], "d_cells");
  }

  void read(Call<S>& call) {
    for (Argument* one : {&y_, &d_y_, &d_cells_}) {
      if (one->given()) one->make_readable<S>();
    }
    for (Argument* one : {&tape_, &d_h_, &d_c_}) {
      if (one->given()) one->make_readable<S>(true);
    }
    ForwardArgs<S>& forward = call.args();
    forward.tape = tape_.mutable_data<S>();  // read only, as y: see BackwardArgs
    forward.y = call.plane(y_.mutable_data<S>(), y_);
    args.forward = &forward;
    if (d_y_.given()) args.d_y = call.plane(d_y_.data<S>(), d_y_);
    if (d_cells_.given()) args.d_cells = call.plane(d_cells_.data<S>(), d_cells_);
    args.d_h_n = d_h_.data<S>();
    args.d_c_n = d_c_.data<S>();
    args.parameters = parameters.pointers;
  }

  void make_outputs(const Config& config, const Call<S>& call, bool wants_input, PyObject* const* out) {
    const std::int64_t rows = config.num_layers * config.directions();
    d_h0.take_or_make<S>(out[1], "out: d_h", call.layout().state(rows, config.output_size()));
    d_c0.take_or_make<S>(out[2], "out: d_c", call.layout().state(rows, config.hidden_size));
    args.d_h0 = d_h0.mutable_data<S>();
    args.d_c0 = d_c0.mutable_data<S>();
    if (!wants_input) return;
    d_x.take_or_make<S>(out[0], "out: d_x", call.layout().sequence(config.input_size));
    args.d_x = call.plane(d_x.mutable_data<S>(), d_x);
  }

  Argument tape_, y_, d_y_, d_h_, d_c_, d_cells_;
};

template <class S>
py::tuple backward(const Model<S>& model, py::handle tape, py::handle given, py::handle training,
                   py::handle derivatives, py::handle out) {
  Call<S> call(model.config(), given);
  call.args().training = GivenTraining(training).checked(call.args().steps);
  BackwardCall<S> way_back(model, call, tape, derivatives, out);
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::backward(model, way_back.args, scratch.get(), executor);
  }
  return py::make_tuple(way_back.d_x.array_or_none(),
                        py::make_tuple(way_back.d_h0.array(), way_back.d_c0.array()),
                        way_back.parameters.arrays);
}

}  // namespace

void register_training(py::class_<PyModel, std::shared_ptr<PyModel>>& type) {
  // As methods of a type of scalars that is known at run time only.
  const auto visit = [](const PyModel& self, const auto& f) { return std::visit(f, self.held()); };
  type.def(
      "copied",
      [visit](const PyModel& self, py::handle call) {
        return visit(self, [&](const auto& model) {
          using S = typename std::decay_t<decltype(*model)>::Scalar;
          return Call<S>(model->config(), call).copied();
        });
      },
      py::arg("call"));
  type.def(
      "tape_size",
      [visit](const PyModel& self, std::int64_t steps, std::int64_t batch, std::int64_t positions,
              bool dropout, std::int64_t checkpoint) {
        const Training training = check_training(dropout ? 0.5 : 0.0, 0, checkpoint, steps);
        return visit(self,
                     [&](const auto& model) { return tape_size(*model, batch, steps, positions, training); });
      },
      py::arg("steps"), py::arg("batch"), py::arg("positions"), py::arg("dropout"), py::arg("checkpoint"));
  type.def(
      "record",
      [visit](const PyModel& self, py::handle call, py::handle training, bool return_cells, py::handle out) {
        return visit(self,
                     [&](const auto& model) { return record(*model, call, training, return_cells, out); });
      },
      py::arg("call"), py::arg("training"), py::arg("return_cells"), py::arg("out") = py::none());
  type.def(
      "backward",
      [visit](const PyModel& self, py::handle tape, py::handle call, py::handle training,
              py::handle derivatives, py::handle out) {
        return visit(self, [&](const auto& model) {
          return backward(*model, tape, call, training, derivatives, out);
        });
      },
      py::arg("tape"), py::arg("call"), py::arg("training"), py::arg("derivatives"),
      py::arg("out") = py::none());
}

}  // namespace cellgate::python
