// The core's tables of options and parameters as Python sees them. Used by model.cpp, training.cpp and
// files.cpp.
#pragma once

#include "bindings/convert.hpp"
#include "model/weights.hpp"

namespace cellgate::python {

// From a dict that may lack what has a standard value. Ranges are not checked: see validate().
Config config_of(const py::dict& options);
// All options by name.
py::dict dict_of(const Config& config);

inline Shape array_shape(const ParameterShape<std::int64_t>& shape) {
  return shape.rank == 2 ? Shape{shape.sizes[0], shape.sizes[1]} : Shape{shape.sizes[0]};
}

void register_tables(py::module_& module);

}  // namespace cellgate::python
