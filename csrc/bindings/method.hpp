// Methods bound through the vectorcall protocol of CPython, for calls that are small: pybind11's dispatcher,
// which looks for an overload and converts each argument, takes about as many instructions as the arithmetic
// of a step.
#pragma once

#include <pybind11/pybind11.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace cellgate::python {

namespace py = pybind11;

constexpr int kMostArguments = 2;

struct Signature {
  const char* method;
  const char* arguments[kMostArguments];
  int count, required;  // what is left out of the others is None
};

// Sorts arguments given by position and by name; throws TypeError as Python does.
void sort_arguments(const Signature& signature, PyObject* const* given, Py_ssize_t count, PyObject* names,
                    py::handle* sorted);

[[noreturn]] void refuse_uninitialised();

// The T in an object of a class registered with pybind11; CPython has checked that it is of that class.
template <class T>
T& held_in(PyObject* object) {
  auto* instance = reinterpret_cast<py::detail::instance*>(object);
  if (!instance->simple_layout) return py::cast<T&>(py::handle(object));  // derived from two such classes
  if (void* held = instance->simple_value_holder[0]) return *static_cast<T*>(held);
  refuse_uninitialised();
}

// f(T&, arguments), its errors translated as pybind11 does.
template <class T, class F>
PyObject* call_method(const Signature& signature, PyObject* self, PyObject* const* given, Py_ssize_t count,
                      PyObject* names, const F& f) {
  try {
    py::handle sorted[kMostArguments];
    sort_arguments(signature, given, count, names, sorted);
    return f(held_in<T>(self), sorted).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
#if defined(__GLIBCXX__)
  } catch (abi::__forced_unwind&) {
    throw;
#endif
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

using VectorCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

// `doc` begins as CPython wants it, "name($self, /, x)\n--\n\n", to give the signature too. Nothing is
// copied.
void add_method(py::handle type, const char* name, VectorCall function, const char* doc);

}  // namespace cellgate::python
