// The network as Python holds it: one of two scalar types. Used by module.cpp, network_stream.cpp and
// files.cpp.
#pragma once

#include <memory>
#include <variant>

#include "bindings/model.hpp"
#include "model/packed_network.hpp"

namespace cellgate::python {

template <class S>
using SharedNetwork = std::shared_ptr<const Network<S>>;

class PyNetwork : public MustBeInitialised {
 public:
  // The LSTM's packed weights are shared. `parts`: a dict of those parts that are not as in
  // NetworkParts<S>, see network_parts.hpp.
  PyNetwork(const PyModel& lstm, const py::dict& parts);
  template <class S>
  explicit PyNetwork(SharedNetwork<S> network) : network_(std::move(network)) {}

  py::dict parts() const;
  std::shared_ptr<PyModel> lstm() const;
  py::tuple forward(py::handle call) const;

  const std::variant<SharedNetwork<float>, SharedNetwork<double>>& held() const { return network_; }

 private:
  std::variant<SharedNetwork<float>, SharedNetwork<double>> network_;
};

void register_network(py::module_& module);
void register_network_stream(py::module_& module);
// Reading and writing model files.
void register_files(py::module_& module);

}  // namespace cellgate::python
