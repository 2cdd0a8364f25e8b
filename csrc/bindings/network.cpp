// Network: its parts in and out, and the whole-sequence call.
#include "bindings/network.hpp"

#include "bindings/call.hpp"
#include "bindings/network_parts.hpp"
#include "run/network_forward.hpp"

namespace cellgate::python {
namespace {

template <class S>
SharedNetwork<S> build(const SharedModel<S>& lstm, const py::dict& given) {
  // A copy, since the code of an array-like could remove items while they are read.
  const auto own = py::reinterpret_steal<py::dict>(PyDict_Copy(given.ptr()));
  if (!own) throw py::error_already_set();
  const GivenParts<S> parts(lstm->config(), own);
  const py::gil_scoped_release release;
  return std::make_shared<const Network<S>>(lstm, parts.parts());
}

template <class S>
py::tuple run(const Network<S>& network, py::handle given) {
  Call<S> call(network, given);
  call.make_outputs(network);
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::forward(network, call.args(), scratch.get(), executor);
  }
  return py::make_tuple(std::move(call.y.array()),
                        py::make_tuple(std::move(call.h.array()), std::move(call.c.array())));
}

PyObject* forward(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"forward", {"call"}, 1, 1};
  return call_method<PyNetwork>(
      signature, self, given, count, names,
      [](PyNetwork& network, const py::handle* argument) { return network.forward(argument[0]); });
}

}  // namespace

PyNetwork::PyNetwork(const PyModel& lstm, const py::dict& parts) {
  std::visit([&](const auto& held) { network_ = build(held, parts); }, lstm.held());
}

py::dict PyNetwork::parts() const {
  return std::visit([](const auto& network) { return parts_dict(network->config(), network->whole_parts()); },
                    network_);
}

std::shared_ptr<PyModel> PyNetwork::lstm() const {
  return std::visit([](const auto& network) { return std::make_shared<PyModel>(network->shared_lstm()); },
                    network_);
}

py::tuple PyNetwork::forward(py::handle call) const {
  return std::visit([&](const auto& network) { return run(*network, call); }, network_);
}

void register_network(py::module_& module) {
  py::class_<PyNetwork, std::shared_ptr<PyNetwork>> type(module, "Network");
  type.def(py::init([](const PyModel& lstm, const py::dict& parts) {
             return std::make_shared<PyNetwork>(lstm, parts);
           }),
           py::arg("lstm"), py::arg("parts"))
      .def("parts", &PyNetwork::parts)
      .def("lstm", &PyNetwork::lstm);
  add_method(type, "forward", &forward, "forward($self, /, call)\n--\n\n");
}

}  // namespace cellgate::python
