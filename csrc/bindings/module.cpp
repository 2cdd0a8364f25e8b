// The module cellgate._core: registers what the other bindings define.
#include "bindings/call.hpp"
#include "bindings/model.hpp"
#include "bindings/network.hpp"
#include "bindings/tables.hpp"
#if defined(CELLGATE_FILES)
#include "files/error.hpp"
#endif
#include "kernels/dispatch.hpp"
#include "run/floating_mode.hpp"
#include "threads/cpus.hpp"
#include "threads/fork.hpp"
#include "threads/openmp.hpp"
#include "threads/plan.hpp"

#include <vector>

namespace cellgate::python {
namespace {

py::list names(const std::vector<const KernelTable*>& tables) {
  py::list list;
  for (const KernelTable* table : tables) list.append(table->name);
  return list;
}

py::dict build_info() {
  py::dict info;
  info["version"] = CELLGATE_VERSION;
  info["compiler"] = CELLGATE_COMPILER;
  info["isas_built"] = names(built_kernel_tables());
  info["isas_supported"] = names(supported_kernel_tables());
  info["isa_active"] = active_kernel_table().name;
  info["threads"] = get_num_threads();
  return info;
}

template <class S>
py::object activated(const std::string& name, Argument& x) {
  require_floats(x.view(), sizeof(S));
  x.make_copy(scalar_name(sizeof(S)));  // to be contiguous, and overwritten
  const auto size = py::reinterpret_borrow<py::array>(x.array()).size();
  const Kernels<S>& kernels = cellgate::kernels<S>(active_kernel_table());
  const FlushDenormals flush;
  (name == "tanh" ? kernels.tanh : kernels.sigmoid)(x.data<S>(), x.mutable_data<S>(), size);
  return x.array();
}

py::object activation(const std::string& name, py::handle given) {
  if (name != "sigmoid" && name != "tanh") bad_value("name", "must be sigmoid or tanh", name);
  Argument x(given, "x");
  return x.view().itemsize == sizeof(float) ? activated<float>(name, x) : activated<double>(name, x);
}

// The only place where errors of the core become Python's. pybind11 itself turns std::invalid_argument into
// ValueError, std::bad_alloc into MemoryError and the rest into RuntimeError, each with its message.
void translate(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const WrongType& error) {
    py::set_error(PyExc_TypeError, error.what());
#if defined(CELLGATE_FILES)
  } catch (const files::FileError& error) {
    py::set_error(PyExc_ValueError, error.what());
#endif
  }
}

void set_split_by_name(const std::string& name) {
  if (name == "auto") return set_split(Split::kAuto);
  if (name == "rows") return set_split(Split::kRows);
  if (name == "units") return set_split(Split::kUnits);
  if (name == "layers") return set_split(Split::kLayers);
  bad_value("split", "must be auto, rows, units or layers", name);
}

}  // namespace

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  fork_generation();                              // counts from here on
  module.attr("__version__") = CELLGATE_VERSION;  // without build_info, which needs the environment
  py::register_local_exception_translator(&translate);
  module.def("build_info", &build_info);
  module.def("active_isa", [] { return active_kernel_table().name; });
  module.def("get_num_threads", &get_num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("num_threads"));
  module.def(
      "use_openmp_of", [](const std::string& path) { return use_openmp_of(path.c_str()); }, py::arg("path"));
  module.def("_activation", &activation, py::arg("name"), py::arg("x"));
  module.def("_set_split", &set_split_by_name, py::arg("split"));
  register_tables(module);
  register_calls(module);
  register_model(module);
  register_stream(module);
  register_network(module);
  register_network_stream(module);
  register_files(module);
}

}  // namespace cellgate::python
