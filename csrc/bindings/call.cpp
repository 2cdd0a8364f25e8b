// Arguments of a call over whole sequences.
#include "bindings/call.hpp"

namespace cellgate::python {

PyObject* const* items(py::handle tuple, const char* argument, const char* type, py::ssize_t count) {
  if (!PyTuple_Check(tuple.ptr()) || PyTuple_GET_SIZE(tuple.ptr()) != count) {
    bad_type(argument, std::string("must be a ") + type, type_text(tuple));
  }
  return reinterpret_cast<PyTupleObject*>(tuple.ptr())->ob_item;
}

PyObject* const* new_arrays() {
  static PyObject* const none[] = {Py_None, Py_None, Py_None, Py_None};
  return none;
}

GivenTraining::GivenTraining(py::handle training) {
  PyObject* const* item = items(training, "training", "Training", 3);
  dropout = scalar<double>(item[0], "dropout", "must be a number");
  seed = scalar<std::uint64_t>(item[1], "seed", "must be an integer from 0 to 2^64 - 1");
  checkpoint = scalar<std::int64_t>(item[2], "checkpoint", "must be an integer");
}

template <class S>
Call<S>::Call(const Config& config, py::handle call)
    : Call(config, call, [&](const CallViews& views) { return check_call(config, sizeof(S), views); }) {}

template <class S>
Call<S>::Call(const Network<S>& network, py::handle call)
    : Call(network.config(), call, [&](const CallViews& views) { return check_call(network, views); }) {}

template <class S>
template <class Check>
Call<S>::Call(const Config& config, py::handle call, const Check& check) : config_(config) {
  PyObject* const* item = items(call, "call", "Call", 6);
  const py::handle x = item[0], state = item[1], lengths = item[2], reset = item[3], batch_sizes = item[5];
  batch_first_ = scalar<bool>(item[4], "batch_first", "must be True or False");
  x_.take(x, "x");
  if (!state.is_none()) take_state(state, h0_, c0_);
  if (!lengths.is_none()) lengths_.take_integers(lengths, "lengths");
  reset_.take_if_given(reset, "reset");
  if (!batch_sizes.is_none()) batch_sizes_.take_integers(batch_sizes, "batch_sizes");

  CallViews views;
  views.x = &x_.view();
  views.h0 = h0_.view_if_given();
  views.c0 = c0_.view_if_given();
  views.lengths = lengths_.view_if_given();
  views.reset = reset_.view_if_given();
  views.batch_first = batch_first_;
  views.batch_sizes = batch_sizes_.view_if_given();
  checked_ = check(views);
  x_.make_readable<S>();
  if (h0_.given()) {
    h0_.make_readable<S>(true);
    c0_.make_readable<S>(true);
  }
  args_ = forward_args<S>(checked_, views);
}

template <class S>
void Call<S>::make_outputs(bool wants_cells, PyObject* const* out) {
  const CallLayout& shapes = layout();
  const std::int64_t directions = config_.directions();
  y.take_or_make<S>(out[0], "out: y", shapes.sequence(directions * config_.output_size()));
  args_.y = plane(y.mutable_data<S>(), y);
  make_state(out);
  if (!wants_cells) return;
  cells.make<S>(shapes.sequence(directions * config_.hidden_size));
  args_.cells = plane(cells.mutable_data<S>(), cells);
}

template <class S>
void Call<S>::make_outputs(const Network<S>& network) {
  y.make<S>(output_shape(network, layout()));
  args_.y = output_plane(network, layout(), y.mutable_data<S>(), y.view().strides);
  make_state(new_arrays());
}

template <class S>
void Call<S>::make_state(PyObject* const* out) {
  const std::int64_t rows = config_.num_layers * config_.directions();
  h.take_or_make<S>(out[1], "out: h", layout().state(rows, config_.output_size()));
  c.take_or_make<S>(out[2], "out: c", layout().state(rows, config_.hidden_size));
  args_.h_n = h.mutable_data<S>();
  args_.c_n = c.mutable_data<S>();
}

template <class S>
py::tuple Call<S>::copied() {
  for (Argument* floats : {&x_, &h0_, &c0_}) {
    if (floats->given()) floats->make_copy(scalar_name(sizeof(S)));
  }
  for (Argument* integers : {&lengths_, &batch_sizes_}) {
    if (integers->given()) integers->make_copy("int64");
  }
  if (reset_.given()) reset_.make_copy("bool");
  py::object state = py::none();
  if (h0_.given()) state = py::make_tuple(h0_.array(), c0_.array());
  return py::make_tuple(x_.array(), state, lengths_.array_or_none(), reset_.array_or_none(), batch_first_,
                        batch_sizes_.array_or_none());
}

template class Call<float>;
template class Call<double>;

void register_calls(py::module_& module) {
  const py::object namedtuple = py::module_::import("collections").attr("namedtuple");
  const auto add = [&](const char* name, const char* fields, const py::tuple& defaults, const char* doc) {
    py::object type =
        namedtuple(name, fields, py::arg("defaults") = defaults, py::arg("module") = module.attr("__name__"));
    type.attr("__doc__") = doc;
    module.attr(name) = type;
  };
  const py::none none;
  add("Call", "x state lengths reset batch_first batch_sizes", py::make_tuple(none, none, none, false, none),
      "The arguments of a call over whole sequences; with batch_sizes x is [N, I], as in a PackedSequence.");
  add("Training", "dropout seed checkpoint", py::make_tuple(0.0, 0, 0),
      "What a recording does that a call does not; a checkpoint of 0: none.");
  add("Derivatives", "output d_output d_h d_c d_cells input_gradient accumulate",
      py::make_tuple(none, none, none, none, none, true, none),
      "What backward is given: y of the forward pass, the derivatives of the loss by its results, None for "
      "zero, whether d_x is wanted, and the sums to add to or None.");
}

}  // namespace cellgate::python
