// The header of a safetensors file, and its numbers. Called by safetensors.cpp.
#include "files/tensors.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "files/fields.hpp"
#include "files/safetensors.hpp"

namespace cellgate::files {
namespace {

constexpr const char* kNotWhole = "is not a whole safetensors file: ";

struct Dtype {
  const char *name, *numpy;
  std::size_t bytes;
};
constexpr Dtype kDtypes[] = {
    {"BOOL", "bool", 1},           {"U8", "uint8", 1},  {"I8", "int8", 1},    {"F8_E5M2", "float8_e5m2", 1},
    {"F8_E4M3", "float8_e4m3", 1}, {"I16", "int16", 2}, {"U16", "uint16", 2}, {"F16", "float16", 2},
    {"BF16", "BF16", 2},           {"I32", "int32", 4}, {"U32", "uint32", 4}, {"F32", "float32", 4},
    {"F64", "float64", 8},         {"I64", "int64", 8}, {"U64", "uint64", 8}, {"C64", "complex64", 8}};

const Dtype* dtype_of(std::string_view name) {
  const auto* at = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                [&](const Dtype& dtype) { return name == dtype.name; });
  return at == std::end(kDtypes) ? nullptr : at;
}

std::uint64_t length_of(Bytes bytes) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::uint64_t{bytes.data[i]} << (8 * i);
  return length;
}

std::string_view header_of(Bytes bytes) {
  if (bytes.size < kLengthBytes) {
    malformed(kNotWhole + std::string("it has ") + std::to_string(bytes.size) + " bytes");
  }
  const std::uint64_t length = length_of(bytes);
  if (length > kMostHeaderBytes || length > bytes.size - kLengthBytes) {
    malformed(kNotWhole + std::string("its header claims ") + std::to_string(length) + " bytes of " +
                  std::to_string(bytes.size - kLengthBytes),
              0);
  }
  return {reinterpret_cast<const char*>(bytes.data) + kLengthBytes, static_cast<std::size_t>(length)};
}

// The tensor that a member of the header describes, inside `body`.
Tensor tensor_of(const Member& member, Bytes body) {
  const Field field(member.value, kNotWhole + in_quotes(member.name));
  Tensor tensor;
  tensor.name = member.name;
  tensor.dtype = field["dtype"].text();
  const Dtype* dtype = dtype_of(tensor.dtype);
  if (!dtype) unsupported(in_quotes(member.name) + ": has the unknown type " + in_quotes(tensor.dtype));
  const auto sizes_of = [&](const char* name) {
    const Field list = field[name];
    std::vector<std::int64_t> sizes;
    for (const double number : list.numbers()) sizes.push_back(Field(Value{number}, list.path()).integer(0));
    return sizes;
  };
  tensor.shape = sizes_of("shape");
  const std::vector<std::int64_t> offsets = sizes_of("data_offsets");
  if (offsets.size() != 2) field["data_offsets"].fail("have 2 elements", std::to_string(offsets.size()));
  const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
  if (begin > end || end > body.size) {
    field["data_offsets"].fail("lie in order within " + std::to_string(body.size) + " bytes",
                               std::to_string(begin) + " and " + std::to_string(end));
  }
  // In double: exact for what a file can hold, and of absurd sizes cannot overflow.
  double wanted = static_cast<double>(dtype->bytes);
  for (const std::int64_t size : tensor.shape) wanted *= static_cast<double>(size);
  if (!(wanted == static_cast<double>(end - begin))) {
    field["data_offsets"].fail("span the bytes of shape " + shape_text(tensor.shape),
                               std::to_string(end - begin));
  }
  tensor.data = body.data + begin;
  tensor.bytes = static_cast<std::size_t>(end - begin);
  return tensor;
}

// No byte twice and none left over, so that equal content means equal files.
void check_without_gaps(std::vector<const Tensor*> tensors, Bytes body) {
  std::sort(tensors.begin(), tensors.end(), [](const Tensor* a, const Tensor* b) {
    return a->data != b->data ? a->data < b->data : a->bytes < b->bytes;
  });
  const unsigned char* next = body.data;
  for (const Tensor* tensor : tensors) {
    if (tensor->data != next) {
      malformed(kNotWhole + in_quotes(tensor->name) + " does not begin where the tensor before it ends");
    }
    next += tensor->bytes;
  }
  if (next != body.data + body.size) {
    malformed(kNotWhole + std::string("its tensors have ") + std::to_string(next - body.data) + " bytes of " +
              std::to_string(body.size));
  }
}

float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = bits & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  if (exponent == 31) return fraction ? std::copysign(NAN, sign) : sign * INFINITY;
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

template <class Stored, class S, class Convert>
std::vector<S> converted(const Tensor& tensor, const Convert& convert) {
  std::vector<S> values(tensor.bytes / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, tensor.data + i * sizeof stored, sizeof stored);
    values[i] = static_cast<S>(convert(stored));
  }
  return values;
}

template <class S>
constexpr const char* kOwnDtype = sizeof(S) == 4 ? "F32" : "F64";

}  // namespace

const Tensor* TensorFile::find(std::string_view name) const {
  const auto at = std::lower_bound(tensors.begin(), tensors.end(), name,
                                   [](const Tensor& tensor, std::string_view n) { return tensor.name < n; });
  return at != tensors.end() && at->name == name ? &*at : nullptr;
}

TensorFile read_tensors(Bytes bytes) {
  const std::string_view text = header_of(bytes);
  const Value header = parse_json(text, kNotWhole + std::string("its header is not JSON"));
  const auto* members = std::get_if<Object>(&header.is);
  if (!members) malformed(kNotWhole + std::string("its header must be an object, got ") + kind_of(header));
  const Bytes body{bytes.data + kLengthBytes + text.size(), bytes.size - kLengthBytes - text.size()};
  TensorFile file;
  std::vector<const Tensor*> all;
  for (const Member& member : *members) {
    if (member.name != "__metadata__") file.tensors.push_back(tensor_of(member, body));
  }
  for (const Tensor& tensor : file.tensors) all.push_back(&tensor);
  check_without_gaps(std::move(all), body);
  const Value* metadata = header.find("__metadata__");
  const Value* own = metadata ? metadata->find(kMetadataKey) : nullptr;
  if (!own) {
    malformed(
        "has no metadata 'cellgate', so it was not written by LSTM.save; read its tensors with the "
        "safetensors "
        "package and pass them to load_state_dict");
  }
  file.configuration = Field(*own, "metadata 'cellgate'").text();
  return file;
}

std::string dtype_name(std::string_view dtype) {
  const Dtype* known = dtype_of(dtype);
  return known ? known->numpy : in_quotes(dtype);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + (shape.size() == 1 ? ",)" : ")");
}

template <class S>
bool accepts(const Tensor& tensor) {
  return tensor.dtype == "F16" || tensor.dtype == "F32" || tensor.dtype == kOwnDtype<S>;
}

template <class S>
Values<S> elements(const Tensor& tensor, bool borrow, bool& nonfinite) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(tensor.data) % alignof(S) == 0;
  const auto as_stored = [](auto stored) { return stored; };
  Values<S> values;
  if (borrow && aligned && tensor.dtype == kOwnDtype<S>) {
    values = Values<S>::borrowed(reinterpret_cast<const S*>(tensor.data), tensor.bytes / sizeof(S));
  } else if (tensor.dtype == "F16") {
    values = Values<S>(converted<std::uint16_t, S>(tensor, from_half));
  } else if (tensor.dtype == "F32") {
    values = Values<S>(converted<float, S>(tensor, as_stored));
  } else {
    values = Values<S>(converted<double, S>(tensor, as_stored));
  }
  nonfinite = !std::all_of(values.begin(), values.end(), [](S value) { return std::isfinite(value); });
  return values;
}

template bool accepts<float>(const Tensor&);
template bool accepts<double>(const Tensor&);
template Values<float> elements(const Tensor&, bool, bool&);
template Values<double> elements(const Tensor&, bool, bool&);

}  // namespace cellgate::files
