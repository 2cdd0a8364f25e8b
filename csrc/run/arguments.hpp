// Arguments as a caller has them, in plain structs: bindings and capi fill ArrayViews in, check.cpp refuses
// what is wrong, and the layouts below say where the core finds what was accepted.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <stdexcept>
#include <string>

#include "model/config.hpp"
#include "run/plane.hpp"

namespace cellgate {

// An argument of a wrong type: TypeError in Python. std::invalid_argument itself: a wrong shape or value.
class WrongType : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Up to three sizes, without an allocation: a streaming step makes several. NumPy counts in ptrdiff_t.
class Shape {
 public:
  Shape(std::initializer_list<std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    std::copy(sizes.begin(), sizes.end(), sizes_);
  }
  int rank() const { return rank_; }
  std::ptrdiff_t elements() const {
    return std::accumulate(begin(), end(), std::ptrdiff_t{1}, std::multiplies<>());
  }
  const std::ptrdiff_t* begin() const { return sizes_; }
  const std::ptrdiff_t* end() const { return sizes_ + rank_; }
  Shape without_last() const {
    Shape shorter = *this;
    --shorter.rank_;
    return shorter;
  }

 private:
  std::ptrdiff_t sizes_[3] = {};
  int rank_;
};

enum class Kind : unsigned char { kFloat, kSigned, kUnsigned, kBool, kOther };

// An array in the caller's memory, not yet checked. Nothing is owned.
struct ArrayView {
  const char* name = "";  // of the argument, as messages give it: "x", "state: h"
  const void* data = nullptr;
  const std::ptrdiff_t* shape = nullptr;    // [rank]
  const std::ptrdiff_t* strides = nullptr;  // [rank], in bytes; any, negative and zero too
  int rank = 0;
  int itemsize = 0;  // bytes of an element; may be 0 for kOther
  Kind kind = Kind::kOther;
  bool native = true;     // elements are in this machine's byte order
  bool writable = false;  // read for outputs only
  // What messages call the type of the elements; null: what kind and itemsize give.
  std::string (*type_text)(const void* owner) = nullptr;
  const void* owner = nullptr;  // handed to type_text
};

// The arguments that forward, record and backward share. Null pointers: not given.
struct CallViews {
  const ArrayView* x = nullptr;  // [T, B, I], [B, T, I] if batch_first, [T, I]; with batch_sizes [N, I]
  const ArrayView *h0 = nullptr, *c0 = nullptr;  // [L * D, B, P or H], [L * D, B, H]; both or neither
  const ArrayView* lengths = nullptr;            // [B]
  const ArrayView* reset = nullptr;              // laid out like x, without its last axis
  bool batch_first = false;
  const ArrayView* batch_sizes = nullptr;  // [T], as in torch's PackedSequence
};

// Where time and batch lie in the arrays of a call, found by check.cpp.
struct CallLayout {
  std::int64_t steps = 0, batch = 0;
  std::int64_t valid = 0;  // (t, b) pairs that are no padding
  bool unbatched = false, batch_first = false, packed = false;

  int time_axis() const { return !unbatched && batch_first ? 1 : 0; }

  // The shape of what is laid out like x, with another width.
  Shape sequence(std::int64_t width) const {
    if (packed) return {valid, width};
    if (unbatched) return {steps, width};
    return batch_first ? Shape{batch, steps, width} : Shape{steps, batch, width};
  }
  // The shape of a state, one row for each layer and direction.
  Shape state(std::int64_t rows, std::int64_t width) const {
    return unbatched ? Shape{rows, width} : Shape{rows, batch, width};
  }
  // Strides in units of `unit` bytes, of an array laid out like x.
  std::ptrdiff_t step_stride(const std::ptrdiff_t* strides, std::ptrdiff_t unit) const {
    return packed ? 0 : strides[time_axis()] / unit;
  }
  std::ptrdiff_t row_stride(const std::ptrdiff_t* strides, std::ptrdiff_t unit) const {
    return packed ? strides[0] / unit : unbatched ? 0 : strides[1 - time_axis()] / unit;
  }
  template <class T>
  Plane<T> plane(T* base, const std::ptrdiff_t* strides, const std::int64_t* offsets = nullptr) const {
    constexpr auto unit = static_cast<std::ptrdiff_t>(sizeof(T));
    return {base, step_stride(strides, unit), row_stride(strides, unit), offsets};
  }
};

}  // namespace cellgate
