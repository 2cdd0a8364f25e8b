// Arguments of methods bound without pybind11's dispatcher.
#include "bindings/method.hpp"

#include <deque>
#include <string>

namespace cellgate::python {
namespace {

std::string text(PyObject* name) { return py::repr(name).cast<std::string>(); }

}  // namespace

void sort_arguments(const Signature& signature, PyObject* const* given, Py_ssize_t count, PyObject* names,
                    py::handle* sorted) {
  const auto refuse = [&](const std::string& reason) {
    throw py::type_error(std::string(signature.method) + "() " + reason);
  };
  if (count > signature.count) {
    refuse("takes at most " + std::to_string(signature.count) + " arguments, got " + std::to_string(count));
  }
  for (Py_ssize_t i = 0; i < count; ++i) sorted[i] = given[i];
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    int which = 0;
    while (which < signature.count &&
           PyUnicode_CompareWithASCIIString(name, signature.arguments[which]) != 0) {
      ++which;
    }
    if (which == signature.count) refuse("got an unexpected keyword argument " + text(name));
    if (sorted[which]) refuse("got multiple values for argument " + text(name));
    sorted[which] = given[count + i];
  }
  for (int which = 0; which < signature.count; ++which) {
    if (sorted[which]) continue;
    if (which < signature.required) {
      refuse(std::string("missing required argument '") + signature.arguments[which] + "'");
    }
    sorted[which] = Py_None;
  }
}

void refuse_uninitialised() {
  throw py::type_error("the object was never initialised: __init__ was not called");
}

void add_method(py::handle type, const char* name, VectorCall function, const char* doc) {
  static std::deque<PyMethodDef> definitions;  // which the methods point at for as long as the process lives
  PyMethodDef& definition = definitions.emplace_back();
  definition.ml_name = name;
  definition.ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
  definition.ml_flags = METH_FASTCALL | METH_KEYWORDS;
  definition.ml_doc = doc;
  PyObject* method = PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &definition);
  if (!method) throw py::error_already_set();
  type.attr(name) = py::reinterpret_steal<py::object>(method);
}

}  // namespace cellgate::python
