// Model files as bytes: to models and networks, and back.
#include "bindings/network.hpp"
#include "bindings/tables.hpp"
#if defined(CELLGATE_FILES)
#include "files/read.hpp"
#endif

namespace cellgate::python {

#if defined(CELLGATE_FILES)
namespace {

struct Loaded {
  std::variant<SharedModel<float>, SharedModel<double>> lstm;
  std::variant<SharedNetwork<float>, SharedNetwork<double>> network;  // null for an LSTM alone
  Config config;
  bool is_network, batch_first;
  double dropout;
};

template <class S>
Loaded packed(const NetworkDescription<S>& file) {
  Loaded loaded{{}, {}, file.config, file.is_network, file.batch_first, file.dropout};
  const auto lstm = std::make_shared<const Model<S>>(file.config, file.weights());
  loaded.lstm = lstm;
  if (file.is_network) loaded.network = std::make_shared<const Network<S>>(lstm, file);
  return loaded;
}

// What is in a file: a dict of all options, the LSTM, and the network or None. Weights that are not finite
// are in our own files only, where they were saved.
py::tuple read_network(const py::bytes& data, const std::string& source, bool safetensors) {
  char* begin = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(data.ptr(), &begin, &size) != 0) throw py::error_already_set();
  files::ReadOptions options;
  options.format = safetensors ? files::Format::kSafetensors : files::Format::kAuto;
  options.source = source;
  options.allow_nonfinite = safetensors;
  options.borrow = true;  // until it is packed
  const files::Bytes bytes{reinterpret_cast<const unsigned char*>(begin), static_cast<std::size_t>(size)};
  const Loaded loaded = [&] {
    const py::gil_scoped_release release;
    return std::visit([](const auto& file) { return packed(file); }, files::read_network(bytes, options));
  }();
  py::dict config = dict_of(loaded.config);
  config["batch_first"] = loaded.batch_first;
  config["dropout"] = loaded.dropout;
  config["dtype"] = std::visit(
      [](const auto& lstm) { return scalar_name(sizeof(typename std::decay_t<decltype(*lstm)>::Scalar)); },
      loaded.lstm);
  const py::object lstm =
      std::visit([](const auto& held) { return py::cast(std::make_shared<PyModel>(held)); }, loaded.lstm);
  if (!loaded.is_network) return py::make_tuple(config, lstm, py::none());
  const py::object network = std::visit(
      [](const auto& held) { return py::cast(std::make_shared<PyNetwork>(held)); }, loaded.network);
  return py::make_tuple(config, lstm, network);
}

// The file of a Model or a Network, and how Python calls and trains its LSTM.
template <class Held>
py::bytes write_network(const Held& model, bool batch_first, double dropout) {
  const std::vector<unsigned char> file = std::visit(
      [&](const auto& held) {
        const py::gil_scoped_release release;
        auto description = describe(*held);
        description.batch_first = batch_first;
        description.dropout = dropout;
        return files::write_network(std::move(description));
      },
      model.held());
  return py::bytes(reinterpret_cast<const char*>(file.data()), file.size());
}

}  // namespace

void register_files(py::module_& module) {
  module.def("read_network", &read_network, py::arg("data"), py::arg("source"), py::arg("safetensors"));
  module.def("write_network", &write_network<PyModel>, py::arg("model"), py::arg("batch_first"),
             py::arg("dropout"));
  module.def("write_network", &write_network<PyNetwork>, py::arg("model"), py::arg("batch_first"),
             py::arg("dropout"));
}
#else
void register_files(py::module_& module) {
  const auto refuse = [](const py::args&, const py::kwargs&) {
    py::set_error(PyExc_NotImplementedError,
                  "this cellgate was built with CELLGATE_FILES=OFF: it neither reads nor writes model files");
    throw py::error_already_set();
  };
  module.def("read_network", refuse);
  module.def("write_network", refuse);
}
#endif

}  // namespace cellgate::python
