// Where the rows of every time step lie: arrays that are padded to T steps, and compact ones that
// hold the valid steps only. Used by everything in core that walks over time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cellgate {

// [T, B, width], the last axis contiguous; strides count scalars and may be anything. With offsets
// the plane is compact: the row that is i-th in order of falling length lies, at step t, at
// (offsets[t] + i) * row.
template <class S>
struct Plane {
  S* base = nullptr;
  std::ptrdiff_t step = 0, row = 0;
  const std::int64_t* offsets = nullptr;

  S* at(std::int64_t t, std::int64_t i, std::int64_t original_row) const {
    return base + (offsets ? (offsets[t] + i) * row : t * step + original_row * row);
  }
};

// Row pointers for a kernel, which adds `offset` scalars to each.
template <class S>
struct Rows {
  S* const* pointers;
  std::ptrdiff_t offset;
};

// The rows of one plane that a team works on, by step s in the order of processing: step 0 is the
// last valid one of each row in the reverse direction.
template <class S>
struct RowSteps {
  S** first = nullptr;  // [rows]; null: there is no such array
  std::ptrdiff_t stride = 0;
  const std::int64_t* offsets = nullptr;  // of a compact plane
  const std::int64_t* lengths = nullptr;  // [rows]; in the reverse direction of a compact plane, else null

  explicit operator bool() const { return first != nullptr; }
  std::ptrdiff_t offset(std::int64_t s, std::int64_t row) const {
    if (!offsets) return s * stride;
    return offsets[lengths ? lengths[row] - 1 - s : s] * stride;
  }
  S* at(std::int64_t s, std::int64_t row) const { return first[row] + offset(s, row); }

  // Rows [begin, end) at step s; `room` [rows] holds their pointers if they cannot share an offset.
  Rows<S> rows(std::int64_t s, std::int64_t begin, std::int64_t end, S** room) const {
    if (!lengths) return {first + begin, offset(s, begin)};
    for (std::int64_t row = begin; row < end; ++row) room[row] = at(s, row);
    return {room + begin, 0};
  }

  // Fills in `first` for the rows in `order` (of falling length) of `plane`, `column` scalars in.
  void point(const Plane<S>& plane, const std::int64_t* order, const std::int64_t* row_lengths,
             std::int64_t rows, bool reverse, std::ptrdiff_t column) {
    offsets = plane.offsets;
    lengths = plane.offsets && reverse ? row_lengths : nullptr;
    stride = plane.offsets ? plane.row : reverse ? -plane.step : plane.step;
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t start = !plane.offsets && reverse && row_lengths[i] > 0 ? row_lengths[i] - 1 : 0;
      first[i] =
          plane.base + column + (plane.offsets ? i * plane.row : start * plane.step + order[i] * plane.row);
    }
  }
};

}  // namespace cellgate
