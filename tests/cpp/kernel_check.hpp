// What test_kernels and test_training_kernels share: terms of a sum as each instruction set rounds
// them, packed matrices, rows that stand apart.
#pragma once

#include <cmath>
#include <string>

#include "fenced.hpp"

namespace test {

inline bool is_fused(const cellgate::KernelTable& table) { return std::string(table.name) != "baseline"; }

// One term of a sum: fused wherever the instruction set has the instruction.
template <class S>
S term(bool fused, S a, S b, S sum) {
  if (fused) return std::fma(a, b, sum);
  volatile S product = a * b;  // two roundings: the compiler must not fuse them
  return product + sum;
}

template <class S>
std::vector<S> full_numbers(Random& random, std::int64_t count) {
  std::vector<S> v(static_cast<std::size_t>(count));
  for (S& x : v) x = random.full<S>();
  return v;
}

// A panel-packed random matrix, and a way to read it by column.
template <class S>
struct Panels {
  std::int64_t count, depth, lanes;
  Fenced<S> packed;
  Panels(Random& random, std::int64_t panels, std::int64_t depth_, std::int64_t lanes_)
      : count(panels),
        depth(depth_),
        lanes(lanes_),
        packed(full_numbers<S>(random, panels * depth_ * 4 * lanes_)) {}
  S at(std::int64_t panel, std::int64_t k, std::int64_t column) const {
    return packed[(panel * depth + k) * 4 * lanes + column];
  }
};

// Random rows, each with a gap of NaN after it and the last with nothing at all.
template <class S>
struct Rows {
  static constexpr std::int64_t kGap = 3;
  std::int64_t width;
  Fenced<S> values;
  std::vector<S*> pointers;
  Rows(Random& random, std::int64_t rows, std::int64_t width_)
      : width(width_), values(rows ? rows * (width_ + kGap) - kGap : 0) {
    for (std::int64_t r = 0; r < rows; ++r) {
      S* row = values.data() + r * (width + kGap);
      for (std::int64_t j = 0; j < width; ++j) row[j] = random.full<S>();
      pointers.push_back(row);
    }
  }
};

}  // namespace test
