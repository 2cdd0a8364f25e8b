// Stream: the running state of sequences of an LSTM.
#include "run/stream.hpp"

#include "bindings/stream.hpp"
#include "bindings/stream_docs.hpp"

namespace cellgate::python {
namespace {

template <class S>
struct OfLstm {
  using Scalar = S;
  using State = StreamState<S>;
  static std::int64_t width(const State& state) { return state.config().output_size(); }
  static CallLayout check_run(const State& state, bool batch_first, const ArrayView& x) {
    return cellgate::check_run(state.config(), sizeof(S), state.batch(), batch_first, x);
  }
  static void clear(State& state) { state.clear(); }
  static void clear_rows(State& state, const std::vector<std::int64_t>& rows) { state.clear_rows(rows); }
};

std::unique_ptr<PyStream> make_stream(const PyModel& model, std::int64_t batch, bool batch_first) {
  return std::visit(
      [&](const auto& held) -> std::unique_ptr<PyStream> {
        using S = typename std::decay_t<decltype(*held)>::Scalar;
        check_stream(held->config(), sizeof(S), batch);
        return std::make_unique<StreamOf<PyStream, OfLstm<S>>>(held, batch, batch_first);
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
