// NetworkStream: the running state of sequences of a network.
#include "bindings/network.hpp"
#include "bindings/network_stream_docs.hpp"
#include "bindings/stream.hpp"

namespace cellgate::python {
namespace {

class PyNetworkStream : public PyStream {
 public:
  virtual py::object pooled() = 0;
  virtual void set_pooled(py::handle value) = 0;
};

template <class S>
class NetworkStreamOf final : public StreamOf<PyNetworkStream, S> {
  using StreamOf<PyNetworkStream, S>::stream_;

 public:
  using StreamOf<PyNetworkStream, S>::StreamOf;

  py::object pooled() override {
    if (!stream_.network().pools()) return py::none();
    Argument steps, sums;
    steps.make<std::int64_t>({stream_.batch()});
    sums.make<S>({stream_.batch(), stream_.network().features()});
    auto* steps_to = steps.mutable_data<std::int64_t>();
    S* sums_to = sums.mutable_data<S>();
    exclusively(stream_.mutex(), false, [&] { stream_.get_pooled(steps_to, sums_to); });
    return py::make_tuple(std::move(steps.array()), std::move(sums.array()));
  }

  void set_pooled(py::handle value) override {
    if (!stream_.network().pools()) bad_value("pooled", "must be None without pooling", type_text(value));
    Argument steps, sums;
    take_pair(value, "pooled", steps, "pooled: steps", sums, "pooled: sums");
    const std::vector<std::int64_t> counts =
        check_pooled(stream_.network(), stream_.batch(), steps.view(), sums.view());
    sums.make_readable<S>(true);
    exclusively(stream_.mutex(), false, [&] { stream_.set_pooled(counts.data(), sums.data<S>()); });
  }
};

std::unique_ptr<PyNetworkStream> make_stream(const PyNetwork& network, std::int64_t batch, bool batch_first) {
  return std::visit(
      [&](const auto& held) -> std::unique_ptr<PyNetworkStream> {
        using S = typename std::decay_t<decltype(*held)>::Scalar;
        check_stream(*held, batch);
        return std::make_unique<NetworkStreamOf<S>>(held, batch, batch_first);
      },
      network.held());
}

}  // namespace

void register_network_stream(py::module_& module) {
  py::class_<PyNetworkStream> type(module, "NetworkStream");
  type.def(py::init(&make_stream), py::arg("network"), py::arg("batch_size"), py::arg("batch_first"))
      .def_property_readonly("batch_size", &PyNetworkStream::batch_size, "B, the number of sequences.")
      .def_property("state", &PyNetworkStream::state, &PyNetworkStream::set_state, kNetworkStateDoc)
      .def_property("_pooled", &PyNetworkStream::pooled, &PyNetworkStream::set_pooled);
  add_method(type, "step", &step<PyNetworkStream>, kNetworkStepDoc);
  add_method(type, "run", &run<PyNetworkStream>, kNetworkRunDoc);
  add_method(type, "reset", &reset<PyNetworkStream>, kNetworkResetDoc);
}

}  // namespace cellgate::python
