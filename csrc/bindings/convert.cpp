// Checks and conversions of arguments.
#include "bindings/convert.hpp"

#include <algorithm>
#include <cstdlib>

namespace cellgate::python {

namespace {

template <class Sizes>
std::string joined(const Sizes* begin, const Sizes* end) {
  std::string text = "(";
  for (const Sizes* size = begin; size != end; ++size)
    text += (size == begin ? "" : ", ") + std::to_string(*size);
  return text + (end - begin == 1 ? ",)" : ")");
}

bool is_aligned(const py::array& array) { return array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_; }

// An ndarray, not of a subclass: what almost every argument is.
bool is_plain(py::handle object) {
  return reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) ==
         reinterpret_cast<PyObject*>(py::detail::npy_api::get().PyArray_Type_);
}

// Whether scalars are S in native byte order; without creating a dtype object to compare with.
template <class S>
bool holds(const py::array& array) {
  const auto* type = py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr);
  return type->type_num == py::dtype::num_of<S>() && (type->byteorder == '=' || type->byteorder == '|');
}

bool last_axis_contiguous(const py::array& array) {
  const py::ssize_t rank = array.ndim();
  return rank == 0 || array.shape(rank - 1) <= 1 || array.strides(rank - 1) == array.itemsize();
}

// Whether two different indices may lead to one address: strides, in order of size, must each step
// over all that the smaller ones reach.
bool overlaps_itself(const py::array& array) {
  std::pair<py::ssize_t, py::ssize_t> axes[3];  // |stride|, size
  int count = 0;
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (array.shape(axis) == 0) return false;
    if (array.shape(axis) > 1) axes[count++] = {std::abs(array.strides(axis)), array.shape(axis)};
  }
  std::sort(axes, axes + count);
  py::ssize_t extent = array.itemsize();
  for (int i = 0; i < count; ++i) {
    if (axes[i].first < extent) return true;
    extent += axes[i].first * (axes[i].second - 1);
  }
  return false;
}

void require_shape(const char* name, const py::array& array, const Shape& shape) {
  if (!shape.is_of(array)) {
    bad_value(name, "must have shape " + shape_text(shape), "shape " + shape_text(array));
  }
}

// NumPy's own conversion, which the caller has found to lose nothing.
py::array converted(const py::array& array, const char* dtype, const char* order = "C") {
  return array.attr("astype")(dtype, py::arg("order") = order);
}

}  // namespace

std::string shape_text(const Shape& shape) { return joined(shape.begin(), shape.end()); }
std::string shape_text(const py::array& array) { return joined(array.shape(), array.shape() + array.ndim()); }

std::string type_text(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

void bad_value(const std::string& name, const std::string& wanted, const std::string& got) {
  throw py::value_error(name + ": " + wanted + ", got " + got);
}

void bad_type(const std::string& name, const std::string& wanted, const std::string& got) {
  throw py::type_error(name + ": " + wanted + ", got " + got);
}

py::array as_array(py::handle object, const char* name) {
  if (is_plain(object)) return py::reinterpret_borrow<py::array>(object);
  if (py::isinstance<py::array>(object)) {
    if (py::hasattr(object, "mask")) bad_type(name, "must be an array without a mask", type_text(object));
    // A subclass may override any method; what is called from here on must be NumPy's own.
    auto& api = py::detail::npy_api::get();
    PyObject* view = api.PyArray_View_(object.ptr(), nullptr, reinterpret_cast<PyObject*>(api.PyArray_Type_));
    if (!view) throw py::error_already_set();
    return py::reinterpret_steal<py::array>(view);
  }
  try {
    return py::module_::import("numpy").attr("asarray")(object).cast<py::array>();
  } catch (py::error_already_set& error) {
    // MemoryError, KeyboardInterrupt and their like are not about the argument.
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    std::string reason = error.what();
    bad_type(name, "must be an array", type_text(object) + " (" + reason.substr(0, reason.find('\n')) + ")");
  }
}

template <class S>
py::array as_floats(py::handle object, const char* name) {
  py::array array = as_array(object, name);
  if (!holds<S>(array)) {
    const py::dtype dtype = array.dtype();
    if (dtype.kind() != 'f' || dtype.itemsize() > static_cast<py::ssize_t>(sizeof(S))) {
      bad_type(name, std::string("dtype must be ") + dtype_name<S>() + " or a narrower float",
               py::str(dtype).cast<std::string>());
    }
    return converted(array, dtype_name<S>());
  }
  if (!is_aligned(array) || !last_axis_contiguous(array)) return converted(array, dtype_name<S>());
  return array;
}

template <class S>
std::pair<py::array, py::array> as_state(py::handle object, const Shape& h_shape, const Shape& c_shape) {
  const bool pair = py::isinstance<py::tuple>(object) || py::isinstance<py::list>(object);
  if (!pair) bad_type("state", "must be a pair (h, c) of arrays", type_text(object));
  const auto members = py::reinterpret_borrow<py::sequence>(object);
  if (members.size() != 2) {
    bad_value("state", "must be a pair (h, c)", std::to_string(members.size()) + " items");
  }
  py::array h = as_floats_of<S>(members[0], "state: h", h_shape, true);
  return {std::move(h), as_floats_of<S>(members[1], "state: c", c_shape, true)};
}

template <class S>
py::array as_floats_of(py::handle object, const char* name, const Shape& shape, bool contiguous) {
  py::array array = as_floats<S>(object, name);
  require_shape(name, array, shape);
  const bool good = !contiguous || (array.flags() & py::array::c_style);
  return good ? array : converted(array, dtype_name<S>());
}

py::array as_sizes(py::handle object, const char* name) {
  const py::array array = as_array(object, name);
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    bad_type(name, "dtype must be an integer", py::str(array.dtype()).cast<std::string>());
  }
  if (array.ndim() != 1) bad_value(name, "must have one axis", "shape " + shape_text(array));
  return converted(array, "int64");
}

py::array as_lengths(py::handle object, py::ssize_t batch, py::ssize_t steps, bool unbatched) {
  py::array array = as_array(object, "lengths");
  const char kind = array.dtype().kind();
  if (array.size() == 0 && batch == 0 && !py::isinstance<py::array>(object)) {
    array = py::array_t<std::int64_t>(0);  // [] and () have no integers to tell their dtype by
  } else if (kind != 'i' && kind != 'u') {
    bad_type("lengths", "dtype must be an integer", py::str(array.dtype()).cast<std::string>());
  }
  if (unbatched && array.ndim() == 0) array = array.reshape({1});
  require_shape("lengths", array, {batch});
  // An unsigned value too large for int64 turns negative here and is refused with the rest.
  py::array lengths = converted(array, "int64");
  const std::int64_t* first = data<std::int64_t>(lengths);
  const std::int64_t* bad =
      std::find_if(first, first + batch, [&](std::int64_t n) { return n < 0 || n > steps; });
  if (bad != first + batch) {
    const py::object value = array.attr("item")(bad - first);
    bad_value("lengths", "must be from 0 to " + std::to_string(steps), py::str(value).cast<std::string>());
  }
  return lengths;
}

py::array as_flags(py::handle object, const char* name, const Shape& shape) {
  py::array array = as_array(object, name);
  if (array.dtype().kind() != 'b') {
    bad_type(name, "dtype must be bool", py::str(array.dtype()).cast<std::string>());
  }
  require_shape(name, array, shape);
  return array;
}

template <class S>
py::array as_output(py::handle object, const char* name, const Shape& shape) {
  const auto wanted = [] { return std::string("must be an array of ") + dtype_name<S>(); };
  if (!is_plain(object) && (!py::isinstance<py::array>(object) || py::hasattr(object, "mask"))) {
    bad_type(name, wanted(), type_text(object));
  }
  py::array array = py::reinterpret_borrow<py::array>(object);
  if (!holds<S>(array)) bad_type(name, wanted(), py::str(array.dtype()).cast<std::string>());
  require_shape(name, array, shape);
  if (!array.writeable()) bad_value(name, "must be writable", "a read-only array");
  if (!is_aligned(array) || !last_axis_contiguous(array)) {
    bad_value(name, "must be aligned with a contiguous last axis", "strides that are not");
  }
  if (overlaps_itself(array)) bad_value(name, "must not overlap itself", "strides that make it");
  return array;
}

template <class S>
py::array as_contiguous_output(py::handle object, const char* name, const Shape& shape) {
  py::array array = as_output<S>(object, name, shape);
  if (!(array.flags() & py::array::c_style)) {
    bad_value(name, "must be contiguous in the order of C", "strides that are not");
  }
  return array;
}

bool may_share_memory(const py::array& a, const py::array& b) {
  const auto place = [](const py::array& array) {
    std::pair<const char*, const char*> bytes(static_cast<const char*>(array.data()), nullptr);
    bytes.second = bytes.first + (array.size() ? array.itemsize() : 0);
    for (py::ssize_t axis = 0; axis < (array.size() ? array.ndim() : 0); ++axis) {
      const py::ssize_t reach = array.strides(axis) * (array.shape(axis) - 1);
      (reach < 0 ? bytes.first : bytes.second) += reach;
    }
    return bytes;
  };
  const auto first = place(a), second = place(b);
  return first.first < second.second && second.first < first.second;
}

template <class S>
py::array new_array(const Shape& shape) {
  auto& api = py::detail::npy_api::get();
  PyObject* made = api.PyArray_NewFromDescr_(
      api.PyArray_Type_, py::dtype::of<S>().release().ptr(), shape.rank(),
      reinterpret_cast<const Py_intptr_t*>(shape.begin()), nullptr, nullptr, 0, nullptr);
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::array>(made);
}

template py::array new_array<float>(const Shape&);
template py::array new_array<double>(const Shape&);
template py::array as_floats<float>(py::handle, const char*);
template py::array as_floats<double>(py::handle, const char*);
template py::array as_floats_of<float>(py::handle, const char*, const Shape&, bool);
template py::array as_floats_of<double>(py::handle, const char*, const Shape&, bool);
template py::array as_contiguous_output<float>(py::handle, const char*, const Shape&);
template py::array as_contiguous_output<double>(py::handle, const char*, const Shape&);
template py::array as_output<float>(py::handle, const char*, const Shape&);
template py::array as_output<double>(py::handle, const char*, const Shape&);
template std::pair<py::array, py::array> as_state<float>(py::handle, const Shape&, const Shape&);
template std::pair<py::array, py::array> as_state<double>(py::handle, const Shape&, const Shape&);

}  // namespace cellgate::python
