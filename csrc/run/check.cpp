// Checks of one array at a time. Called by check_call.cpp, and by bindings and capi for outputs.
#include "run/check.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace cellgate {
namespace {

std::string joined(const std::ptrdiff_t* begin, const std::ptrdiff_t* end) {
  std::string text = "(";
  for (const std::ptrdiff_t* size = begin; size != end; ++size)
    text += (size == begin ? "" : ", ") + std::to_string(*size);
  return text + (end - begin == 1 ? ",)" : ")");
}

std::string needs(const std::string& what, double bytes) {
  char text[64];
  std::snprintf(text, sizeof text, " would need %.3g bytes, which no machine has", bytes);
  return what + text;
}

bool is_empty(const ArrayView& view) {
  return std::find(view.shape, view.shape + view.rank, 0) != view.shape + view.rank;
}

// Whether each element is aligned and the last axis contiguous; axes of one element have no stride that
// matters, and of an array without elements none has.
bool lies_well(const ArrayView& view) {
  auto bits = reinterpret_cast<std::uintptr_t>(view.data);
  bool contiguous = true;
  for (int axis = 0; axis < view.rank; ++axis) {
    if (view.shape[axis] == 0) return true;
    if (view.shape[axis] == 1) continue;
    bits |= static_cast<std::uintptr_t>(view.strides[axis]);
    contiguous = axis < view.rank - 1 || view.strides[axis] == view.itemsize;
  }
  return contiguous && (bits & static_cast<std::uintptr_t>(view.itemsize - 1)) == 0;  // itemsize: 4 or 8
}

bool is_exactly(const ArrayView& view, int scalar_bytes) {
  return view.kind == Kind::kFloat && view.itemsize == scalar_bytes && view.native;
}

}  // namespace

TooLarge::TooLarge(const std::string& what_needs, double bytes) : text_(needs(what_needs, bytes)) {}

void bad_value(const std::string& name, const std::string& wanted, const std::string& got) {
  throw std::invalid_argument(name + ": " + wanted + ", got " + got);
}

void bad_type(const std::string& name, const std::string& wanted, const std::string& got) {
  throw WrongType(name + ": " + wanted + ", got " + got);
}

const char* scalar_name(int scalar_bytes) { return scalar_bytes == 4 ? "float32" : "float64"; }

std::string shape_text(const ArrayView& view) { return joined(view.shape, view.shape + view.rank); }

std::string type_text(const ArrayView& view) {
  if (view.type_text) return view.type_text(view.owner);
  const std::string bits = std::to_string(8 * view.itemsize),
                    order = view.native ? "" : " in foreign byte order";
  switch (view.kind) {
    case Kind::kFloat:
      return "float" + bits + order;
    case Kind::kSigned:
      return "int" + bits + order;
    case Kind::kUnsigned:
      return "uint" + bits + order;
    case Kind::kBool:
      return "bool";
    default:
      return "another type";
  }
}

bool has_shape(const ArrayView& view, const Shape& shape) {
  return view.rank == shape.rank() && std::equal(shape.begin(), shape.end(), view.shape);
}

bool is_contiguous(const ArrayView& view) {
  if (is_empty(view)) return true;
  std::ptrdiff_t wanted = view.itemsize;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    if (view.shape[axis] != 1 && view.strides[axis] != wanted) return false;
    wanted *= view.shape[axis];
  }
  return true;
}

bool is_readable(const ArrayView& view, int scalar_bytes) {
  return is_exactly(view, scalar_bytes) && lies_well(view);
}

// Strides, in order of size, must each step over all that the smaller ones reach.
bool overlaps_itself(const ArrayView& view) {
  std::pair<std::ptrdiff_t, std::ptrdiff_t> axes[3];  // |stride|, size
  int count = 0;
  for (int axis = 0; axis < view.rank; ++axis) {
    if (view.shape[axis] == 0) return false;
    if (view.shape[axis] == 1) continue;
    std::pair<std::ptrdiff_t, std::ptrdiff_t> next(std::abs(view.strides[axis]), view.shape[axis]);
    int at = count++;
    for (; at > 0 && next < axes[at - 1]; --at) axes[at] = axes[at - 1];
    axes[at] = next;
  }
  std::ptrdiff_t extent = view.itemsize;
  for (int i = 0; i < count; ++i) {
    if (axes[i].first < extent) return true;
    extent += axes[i].first * (axes[i].second - 1);
  }
  return false;
}

bool may_share_memory(const ArrayView& a, const ArrayView& b) {
  if (is_empty(a) || is_empty(b)) return false;
  const auto place = [](const ArrayView& view) {
    auto first = reinterpret_cast<std::uintptr_t>(view.data);
    std::uintptr_t end = first + static_cast<std::uintptr_t>(view.itemsize);
    for (int axis = 0; axis < view.rank; ++axis) {
      const std::ptrdiff_t reach = view.strides[axis] * (view.shape[axis] - 1);
      (reach < 0 ? first : end) += static_cast<std::uintptr_t>(reach);
    }
    return std::pair(first, end);
  };
  const auto one = place(a), other = place(b);
  return one.first < other.second && other.first < one.second;
}

void require_floats(const ArrayView& view, int scalar_bytes) {
  if (view.kind != Kind::kFloat || view.itemsize > scalar_bytes) {
    bad_type(view.name, std::string("dtype must be ") + scalar_name(scalar_bytes) + " or a narrower float",
             type_text(view));
  }
}

void require_floats(const ArrayView& view, int scalar_bytes, const Shape& shape) {
  require_floats(view, scalar_bytes);
  require_shape(view, shape);
}

void require_shape(const ArrayView& view, const Shape& shape) {
  if (!has_shape(view, shape)) {
    bad_value(view.name, "must have shape " + joined(shape.begin(), shape.end()),
              "shape " + shape_text(view));
  }
}

void require_output(const ArrayView& view, int scalar_bytes, const Shape& shape) {
  if (!is_exactly(view, scalar_bytes)) {
    bad_type(view.name, std::string("must be an array of ") + scalar_name(scalar_bytes), type_text(view));
  }
  require_shape(view, shape);
  if (!view.writable) bad_value(view.name, "must be writable", "a read-only array");
  if (!is_readable(view, scalar_bytes)) {
    bad_value(view.name, "must be aligned with a contiguous last axis", "strides that are not");
  }
  if (overlaps_itself(view)) bad_value(view.name, "must not overlap itself", "strides that make it");
}

void require_contiguous_output(const ArrayView& view, int scalar_bytes, const Shape& shape) {
  require_output(view, scalar_bytes, shape);
  if (!is_contiguous(view)) {
    bad_value(view.name, "must be contiguous in the order of C", "strides that are not");
  }
}

void require_flags(const ArrayView& view, const Shape& shape) {
  if (view.kind != Kind::kBool) bad_type(view.name, "dtype must be bool", type_text(view));
  require_shape(view, shape);
}

// ---- integers ----------------------------------------------------------------------------------

void require_integers(const ArrayView& view) {
  if (view.kind != Kind::kSigned && view.kind != Kind::kUnsigned) {
    bad_type(view.name, "dtype must be an integer", type_text(view));
  }
}

namespace {

template <class T>
std::int64_t loaded(const unsigned char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<std::int64_t>(value);  // an unsigned one too large for int64 turns negative
}

// Of one axis, or of none.
std::int64_t integer_at(const ArrayView& view, std::int64_t index) {
  unsigned char bytes[8];
  const auto size = static_cast<std::size_t>(view.itemsize);
  std::memcpy(bytes, static_cast<const char*>(view.data) + (view.rank ? index * view.strides[0] : 0), size);
  if (!view.native) std::reverse(bytes, bytes + size);
  const bool is_signed = view.kind == Kind::kSigned;
  switch (size) {
    case 1:
      return is_signed ? loaded<std::int8_t>(bytes) : loaded<std::uint8_t>(bytes);
    case 2:
      return is_signed ? loaded<std::int16_t>(bytes) : loaded<std::uint16_t>(bytes);
    case 4:
      return is_signed ? loaded<std::int32_t>(bytes) : loaded<std::uint32_t>(bytes);
    default:
      return is_signed ? loaded<std::int64_t>(bytes) : loaded<std::uint64_t>(bytes);
  }
}

}  // namespace

std::string integer_text(const ArrayView& view, std::int64_t value) {
  return view.kind == Kind::kUnsigned ? std::to_string(static_cast<std::uint64_t>(value))
                                      : std::to_string(value);
}

std::vector<std::int64_t> integers(const ArrayView& view, std::int64_t count) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = integer_at(view, i);
  return values;
}

std::vector<std::int64_t> integers_in_range(const ArrayView& view, std::int64_t count, std::int64_t last) {
  std::vector<std::int64_t> values = integers(view, count);
  for (const std::int64_t value : values) {
    if (value < 0 || value > last) {
      bad_value(view.name, last ? "must be from 0 to " + std::to_string(last) : "must be 0",
                integer_text(view, value));
    }
  }
  return values;
}

}  // namespace cellgate
