// What the C++ tests of the core and those of the C library share, of neither: a check that says where it
// failed, numbers that are the same on every machine, equality of bits.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#define CHECK(condition, ...)                                                      \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s: ", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                                           \
      std::fprintf(stderr, "\n");                                                  \
      std::exit(1);                                                                \
    }                                                                              \
  } while (0)

namespace test {

// SplitMix64 (Steele, Lea & Flood 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(n));
  }
  // Uniform in [-1, 1), exact in float.
  template <class S>
  S number() {
    return static_cast<S>(static_cast<std::int64_t>(bits() >> 40) - (1 << 23)) / static_cast<S>(1 << 23);
  }
  // Uniform in [-1, 1) with all the digits S has, so that products and sums of these are rounded:
  // sums of number<double>() are exact in any order.
  template <class S>
  S full() {
    constexpr int digits = std::numeric_limits<S>::digits;
    const auto whole = static_cast<std::int64_t>(bits() >> (63 - digits));
    constexpr std::int64_t half = std::int64_t{1} << digits;
    return static_cast<S>(whole - half) / static_cast<S>(half);
  }
  template <class S>
  std::vector<S> numbers(std::int64_t count, S scale = 1) {
    std::vector<S> v(static_cast<std::size_t>(count));
    for (S& x : v) x = scale * number<S>();
    return v;
  }

 private:
  std::uint64_t state_;
};

template <class S>
bool same_bits(const S* a, const S* b, std::int64_t count) {
  return count == 0 || std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(S)) == 0;
}

}  // namespace test
