// NumPy arrays in and out: every check of an argument's type, dtype, rank and shape is made here.
// Called by model.cpp and stream.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

namespace cellgate::python {

namespace py = pybind11;

// Up to three axes, without an allocation: a streaming step makes several.
class Shape {
 public:
  Shape(std::initializer_list<py::ssize_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    std::copy(sizes.begin(), sizes.end(), sizes_);
  }
  // An array's, which must have three axes at most.
  explicit Shape(const py::array& array) : rank_(static_cast<int>(array.ndim())) {
    std::copy_n(array.shape(), rank_, sizes_);
  }
  int rank() const { return rank_; }
  const py::ssize_t* begin() const { return sizes_; }
  const py::ssize_t* end() const { return sizes_ + rank_; }
  py::ssize_t& back() { return sizes_[rank_ - 1]; }
  Shape without_last() const {
    Shape shorter = *this;
    --shorter.rank_;
    return shorter;
  }
  bool is_of(const py::array& array) const {
    return array.ndim() == rank_ && std::equal(begin(), end(), array.shape());
  }

 private:
  py::ssize_t sizes_[3] = {};
  int rank_;
};

std::string shape_text(const Shape& shape);  // "(7, 3, 39)"
std::string shape_text(const py::array& array);
std::string type_text(py::handle object);  // "NoneType", "list", ...

[[noreturn]] void bad_value(const std::string& name, const std::string& wanted, const std::string& got);
[[noreturn]] void bad_type(const std::string& name, const std::string& wanted, const std::string& got);

// Whatever `object` is, as an array. TypeError if NumPy cannot make one of it.
py::array as_array(py::handle object, const char* name);

// As an array of S that is aligned, in native byte order, and whose last axis is contiguous; the
// object itself if it is one already. Narrower floating types are widened; the rest is refused.
template <class S>
py::array as_floats(py::handle object, const char* name);

// (h, c) with exactly these shapes, C-contiguous.
template <class S>
std::pair<py::array, py::array> as_state(py::handle object, const Shape& h_shape, const Shape& c_shape);

// [B] of int64 in [0, steps], contiguous. `unbatched` also takes a scalar.
py::array as_lengths(py::handle object, py::ssize_t batch, py::ssize_t steps, bool unbatched);

// [any] of int64, contiguous.
py::array as_sizes(py::handle object, const char* name);

// Bool with exactly this shape; strides may be anything.
py::array as_flags(py::handle object, const char* name, const Shape& shape);

// A writable, aligned array of exactly S and this shape with a contiguous last axis, to write into.
template <class S>
py::array as_output(py::handle object, const char* name, const Shape& shape);

// As as_output, and C-contiguous.
template <class S>
py::array as_contiguous_output(py::handle object, const char* name, const Shape& shape);

// As as_floats, with this shape, and C-contiguous if `contiguous`.
template <class S>
py::array as_floats_of(py::handle object, const char* name, const Shape& shape, bool contiguous);

// Whether the places of two arrays in memory, from first to last byte, have any in common.
bool may_share_memory(const py::array& a, const py::array& b);

// A new array, its values not yet set.
template <class S>
py::array new_array(const Shape& shape);

// Strides count scalars, as the core wants them.
template <class S>
std::ptrdiff_t stride(const py::array& array, py::ssize_t axis) {
  return array.strides(axis) / static_cast<py::ssize_t>(sizeof(S));
}

template <class S>
const S* data(const py::array& array) {
  return static_cast<const S*>(array.data());
}

template <class S>
S* mutable_data(py::array& array) {
  return static_cast<S*>(array.mutable_data());
}

template <class S>
constexpr const char* dtype_name() {
  return sizeof(S) == 4 ? "float32" : "float64";
}

}  // namespace cellgate::python
