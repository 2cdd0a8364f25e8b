// From Python objects to arrays and views of them.
#include "bindings/convert.hpp"

#include <iterator>

namespace cellgate::python {

namespace {

// An ndarray, not of a subclass: what almost every argument is.
bool is_plain(py::handle object) {
  return reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) ==
         reinterpret_cast<PyObject*>(py::detail::npy_api::get().PyArray_Type_);
}

bool is_array(py::handle object) { return is_plain(object) || py::isinstance<py::array>(object); }

py::object as_array(py::handle object, const char* name) {
  if (is_plain(object)) return py::reinterpret_borrow<py::object>(object);
  if (py::isinstance<py::array>(object)) {
    if (py::hasattr(object, "mask")) bad_type(name, "must be an array without a mask", type_text(object));
    // A subclass may override any method; what is called from here on must be NumPy's own.
    auto& api = py::detail::npy_api::get();
    PyObject* view = api.PyArray_View_(object.ptr(), nullptr, reinterpret_cast<PyObject*>(api.PyArray_Type_));
    if (!view) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(view);
  }
  try {
    return py::module_::import("numpy").attr("asarray")(object).cast<py::array>();
  } catch (py::error_already_set& error) {
    // MemoryError, KeyboardInterrupt and similar errors are not about the argument.
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    std::string reason = error.what();
    bad_type(name, "must be an array", type_text(object) + " (" + reason.substr(0, reason.find('\n')) + ")");
  }
}

struct Type {
  Kind kind;
  int bytes;
};

// By NumPy's type number, which a view must not make a dtype object to learn.
constexpr Type kTypes[] = {
    {Kind::kBool, 1},
    {Kind::kSigned, 1},
    {Kind::kUnsigned, 1},
    {Kind::kSigned, sizeof(short)},
    {Kind::kUnsigned, sizeof(short)},
    {Kind::kSigned, sizeof(int)},
    {Kind::kUnsigned, sizeof(int)},
    {Kind::kSigned, sizeof(long)},
    {Kind::kUnsigned, sizeof(long)},
    {Kind::kSigned, sizeof(long long)},
    {Kind::kUnsigned, sizeof(long long)},
    {Kind::kFloat, sizeof(float)},
    {Kind::kFloat, sizeof(double)},
    {Kind::kFloat, sizeof(long double)},
};
constexpr int kHalf = 23;

}  // namespace

std::string type_text(py::handle object) {
  return object.is_none() ? "None" : Py_TYPE(object.ptr())->tp_name;
}

std::string Argument::dtype_text(const void* owner) {
  const auto& argument = *static_cast<const Argument*>(owner);
  const auto dtype = py::reinterpret_borrow<py::array>(argument.array_).dtype();
  const auto name = py::str(dtype).cast<std::string>();
  if (dtype.kind() != 'O' || is_array(argument.given_)) return name;
  return argument.given_.is_none() ? "None" : type_text(argument.given_) + " (dtype " + name + ")";
}

void Argument::look() {
  const auto* array = py::detail::array_proxy(array_.ptr());
  const auto* type = py::detail::array_descriptor_proxy(array->descr);
  view_.data = array->data;
  view_.rank = array->nd;  // codespell:ignore nd
  view_.shape = array->dimensions;
  view_.strides = array->strides;
  view_.writable = (array->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) != 0;
  view_.native = type->byteorder == '=' || type->byteorder == '|';
  if (const auto number = static_cast<unsigned>(type->type_num); number < std::size(kTypes)) {
    view_.kind = kTypes[number].kind;
    view_.itemsize = kTypes[number].bytes;
  } else if (number == kHalf || type->kind == 'f') {  // 'f': also of another library, which NumPy converts
    view_.kind = Kind::kFloat;
    view_.itemsize = static_cast<int>(py::reinterpret_borrow<py::array>(array_).itemsize());
    view_.native = view_.native && number == kHalf;
  } else {
    view_.kind = Kind::kOther;
    view_.itemsize = 0;
  }
}

void Argument::hold(py::object array, py::handle given, const char* name) {
  array_ = std::move(array);
  given_ = given;
  view_.name = name;
  view_.type_text = dtype_text;
  view_.owner = this;
  look();
}

void Argument::take(py::handle given, const char* name) { hold(as_array(given, name), given, name); }

void Argument::take_integers(py::handle given, const char* name) {
  take(given, name);
  if (is_array(given) || py::reinterpret_borrow<py::array>(array_).size() != 0) return;
  view_.kind = Kind::kSigned;
  view_.itemsize = sizeof(std::int64_t);
}

void Argument::take_output(py::handle given, const char* name, int scalar_bytes) {
  if (!is_plain(given) && (!py::isinstance<py::array>(given) || py::hasattr(given, "mask"))) {
    bad_type(name, std::string("must be an array of ") + scalar_name(scalar_bytes), type_text(given));
  }
  hold(py::reinterpret_borrow<py::object>(given), given, name);
}

template <class S>
void Argument::make(const Shape& shape) {
  auto& api = py::detail::npy_api::get();
  PyObject* made = api.PyArray_NewFromDescr_(
      api.PyArray_Type_, py::dtype::of<S>().release().ptr(), shape.rank(),
      reinterpret_cast<const Py_intptr_t*>(shape.begin()), nullptr, nullptr, 0, nullptr);
  if (!made) throw py::error_already_set();
  array_ = py::reinterpret_steal<py::object>(made);
  look();
}

void Argument::make_copy(const char* dtype) {
  array_ = array_.attr("astype")(dtype, py::arg("order") = "C");
  look();
}

template <class S>
void Argument::make_readable(bool contiguous) {
  if (!is_readable(view_, sizeof(S)) || (contiguous && !is_contiguous(view_)))
    make_copy(scalar_name(sizeof(S)));
}

void take_pair(py::handle pair, const char* name, Argument& first, const char* first_name, Argument& second,
               const char* second_name) {
  if (!PyTuple_Check(pair.ptr()) && !PyList_Check(pair.ptr())) {
    bad_type(name, "must be a pair (h, c) of arrays", type_text(pair));
  }
  const py::ssize_t count = PySequence_Fast_GET_SIZE(pair.ptr());
  if (count != 2) bad_value(name, "must be a pair (h, c)", std::to_string(count) + " items");
  first.take(PySequence_Fast_GET_ITEM(pair.ptr(), 0), first_name);
  second.take(PySequence_Fast_GET_ITEM(pair.ptr(), 1), second_name);
}

template void Argument::make<float>(const Shape&);
template void Argument::make<double>(const Shape&);
template void Argument::make<std::int64_t>(const Shape&);
template void Argument::make_readable<float>(bool);
template void Argument::make_readable<double>(bool);

}  // namespace cellgate::python
