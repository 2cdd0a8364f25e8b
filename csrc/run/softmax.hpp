// exp(x_i) / sum of exp(x_j), the same bits on every machine: in float64, by operations that IEEE 754 rounds
// correctly, in index order. Used by head.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace cellgate {

// exp(x) for x <= 0, within 2 ulp of float64 (tests/cpp/test_network.cpp); 0 below -708. x = n ln2 + r with
// |r| <= ln2 / 2, and exp(r) by its Taylor series, whose first term left out is below 2^-57.
inline double exp_of_negative(double x) {
  constexpr double kLog2e = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42fefa38p-1;  // 42 bits: n * kLn2High is exact
  constexpr double kLn2Low = 0x1.ef35793c7673p-45;
  constexpr double kShift = 0x1.8p52;  // adding it rounds to an integer
  if (!(x >= -708.0)) return std::isnan(x) ? x : 0.0;
  const double n = (x * kLog2e + kShift) - kShift;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1.0 / 6227020800.0;  // 1 / 13!
  constexpr double kInverseFactorials[] = {1.0 / 479001600.0,
                                           1.0 / 39916800.0,
                                           1.0 / 3628800.0,
                                           1.0 / 362880.0,
                                           1.0 / 40320.0,
                                           1.0 / 5040.0,
                                           1.0 / 720.0,
                                           1.0 / 120.0,
                                           1.0 / 24.0,
                                           1.0 / 6.0,
                                           0.5,
                                           1.0,
                                           1.0};
  for (const double term : kInverseFactorials) sum = sum * r + term;
  const std::int64_t exponent = (static_cast<std::int64_t>(n) + 1023) << 52;
  double power;
  std::memcpy(&power, &exponent, sizeof power);
  return sum * power;
}

// In place. The largest of all is subtracted first; NaN anywhere makes every result NaN.
template <class S>
void softmax(S* x, std::int64_t count) noexcept {
  double largest = static_cast<double>(x[0]);
  for (std::int64_t i = 1; i < count; ++i) {
    const auto value = static_cast<double>(x[i]);
    if (value > largest || std::isnan(value)) largest = value;
  }
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += exp_of_negative(static_cast<double>(x[i]) - largest);
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = static_cast<S>(exp_of_negative(static_cast<double>(x[i]) - largest) / sum);
  }
}

}  // namespace cellgate
