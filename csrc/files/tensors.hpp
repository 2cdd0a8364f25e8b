// The tensors of a safetensors file: the header checked, the bytes not yet looked at. Called by
// safetensors.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "files/read.hpp"

namespace cellgate::files {

struct Tensor {
  std::string name;
  std::string dtype;  // "F32", ...
  std::vector<std::int64_t> shape;
  const unsigned char* data = nullptr;
  std::size_t bytes = 0;
};

struct TensorFile {
  std::vector<Tensor> tensors;  // sorted by name
  std::string configuration;    // the metadata of our key

  const Tensor* find(std::string_view name) const;
};

// Throws FileError unless the whole file is as its format demands: the header valid, each tensor's size that
// of its shape and type, the tensors one behind the other to the last byte.
TensorFile read_tensors(Bytes bytes);

std::string dtype_name(std::string_view dtype);                  // NumPy's: "float32", ...
std::string shape_text(const std::vector<std::int64_t>& shape);  // Python's: "(28, 5)", "(28,)"

// The elements in S, of a narrower type or S itself; `nonfinite` is set if one of them is not finite.
// Borrowed if asked for and possible. `accepts` tells beforehand whether the type is one of these.
template <class S>
bool accepts(const Tensor& tensor);
template <class S>
Values<S> elements(const Tensor& tensor, bool borrow, bool& nonfinite);

}  // namespace cellgate::files
