// Stream: the running state of sequences of an LSTM, which is a network with nothing around it.
#include "bindings/stream.hpp"
#include "bindings/stream_docs.hpp"

namespace cellgate::python {
namespace {

std::unique_ptr<PyStream> make_stream(const PyModel& model, std::int64_t batch, bool batch_first) {
  return std::visit(
      [&](const auto& held) -> std::unique_ptr<PyStream> {
        using S = typename std::decay_t<decltype(*held)>::Scalar;
        check_stream(held->config(), sizeof(S), batch);
        auto network = std::make_shared<const Network<S>>(held, NetworkParts<S>{});
        return std::make_unique<StreamOf<PyStream, S>>(std::move(network), batch, batch_first);
      },
      model.held());
}

}  // namespace

void register_stream(py::module_& module) {
  py::class_<PyStream> type(module, "Stream");
  type.def(py::init(&make_stream), py::arg("model"), py::arg("batch_size"), py::arg("batch_first"))
      .def_property_readonly("batch_size", &PyStream::batch_size, "B, the number of sequences.")
      .def_property("state", &PyStream::state, &PyStream::set_state, kStateDoc);
  add_method(type, "step", &step<PyStream>, kStepDoc);
  add_method(type, "run", &run<PyStream>, kRunDoc);
  add_method(type, "reset", &reset<PyStream>, kResetDoc);
}

}  // namespace cellgate::python
