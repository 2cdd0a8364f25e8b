// The model as Python holds it: one of two scalar types. Used by module.cpp and stream.cpp.
#pragma once

#include <memory>
#include <variant>

#include "../core/packed_weights.hpp"
#include "convert.hpp"

namespace cellgate::python {

template <class S>
using SharedModel = std::shared_ptr<const Model<S>>;

class PyModel {
 public:
  PyModel(std::int64_t input_size, std::int64_t hidden_size, std::int64_t num_layers, bool bias,
          bool bidirectional, std::int64_t proj_size, const std::string& dtype, const py::dict& parameters);

  py::dict parameters() const;
  py::tuple forward(py::handle x, py::handle state, py::handle lengths, py::handle reset,
                    bool batch_first, bool return_cells) const;

  const std::variant<SharedModel<float>, SharedModel<double>>& held() const { return model_; }

 private:
  std::variant<SharedModel<float>, SharedModel<double>> model_;
};

void register_model(py::module_& module);
void register_stream(py::module_& module);

}  // namespace cellgate::python
