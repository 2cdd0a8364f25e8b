// NumPy arrays in and out, as the ArrayViews that run/check.hpp checks. Called by the other bindings.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>

#include "memory/workspace.hpp"
#include "run/check.hpp"

namespace cellgate::python {

namespace py = pybind11;

std::string type_text(py::handle object);  // "None", "list", ...

// One argument: whatever Python gave, as an array, and the view of it. Stays where it is, since the view
// points at it.
class Argument {
 public:
  Argument() = default;
  Argument(py::handle given, const char* name) { take(given, name); }
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;

  // Anything that NumPy converts to an array, else WrongType. No dtype is refused here.
  void take(py::handle given, const char* name);
  void take_if_given(py::handle given, const char* name) {
    if (!given.is_none()) take(given, name);
  }
  // As take, for integers: an empty sequence, whose elements give no dtype, is one of integers.
  void take_integers(py::handle given, const char* name);
  // Only what is an array already, to write into.
  void take_output(py::handle given, const char* name, int scalar_bytes);
  // A new array, its values not yet set.
  template <class S>
  void make(const Shape& shape);
  // The array that the caller has for an output, or a new one if `given` is None.
  template <class S>
  void take_or_make(py::handle given, const char* name, const Shape& shape);

  // By NumPy, what run/check.hpp has accepted: as the core can read it, and C-contiguous if `contiguous`.
  template <class S>
  void make_readable(bool contiguous = false);
  // A contiguous copy, `dtype` being one that loses nothing.
  void make_copy(const char* dtype);

  bool given() const { return static_cast<bool>(array_); }
  const ArrayView& view() const { return view_; }
  const ArrayView* view_if_given() const { return given() ? &view_ : nullptr; }
  template <class S>
  const S* data() const {
    return static_cast<const S*>(view_.data);
  }
  template <class S>
  S* mutable_data() const {
    return const_cast<S*>(data<S>());
  }
  py::object& array() { return array_; }
  py::object array_or_none() const { return given() ? array_ : py::none(); }

 private:
  static std::string dtype_text(const void* owner);
  void hold(py::object array, py::handle given, const char* name);
  void look();

  py::handle given_;
  py::object array_;
  ArrayView view_;
};

template <class S>
void Argument::take_or_make(py::handle given, const char* name, const Shape& shape) {
  if (given.is_none()) return make<S>(shape);
  take_output(given, name, sizeof(S));
  require_contiguous_output(view_, sizeof(S), shape);
  advise_huge_pages(mutable_data<S>(), static_cast<std::size_t>(shape.elements()) * sizeof(S));
}

// A tuple or list of two arrays.
void take_pair(py::handle pair, const char* name, Argument& first, const char* first_name, Argument& second,
               const char* second_name);
// A state, which must be a pair.
inline void take_state(py::handle state, Argument& h, Argument& c) {
  take_pair(state, "state", h, "state: h", c, "state: c");
}

// A number or a bool of exactly T's kind; `wanted` says which in the message.
template <class T>
T scalar(py::handle object, const char* name, const char* wanted) {
  py::detail::make_caster<T> caster;
  if (!caster.load(object, !std::is_same_v<T, bool>)) bad_type(name, wanted, type_text(object));
  return py::detail::cast_op<T>(caster);
}

}  // namespace cellgate::python
