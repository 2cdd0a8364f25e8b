// sigmoid and tanh of every instruction set this CPU has against the C library in more precision:
//   test_activations STRIDE [ISA]
// takes every STRIDE-th float32 (1: all 2^32, NaNs included) and samples of float64, with denormals
// kept and flushed, prints the worst error of each kernel and fails above the limits below.
#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <string>

#include "check.hpp"
#include "kernels/activations-inl.hpp"
#include "kernels/dispatch.hpp"
#include "run/floating_mode.hpp"

namespace {

using cellgate::KernelTable;
using Tables = std::vector<const KernelTable*>;

// Floats between the result and the correctly rounded one. float32 is the promise of the library.
// float64: tanh ends in four roundings of up to 1 ulp each and a division of half an ulp, below 4.5.
constexpr std::uint64_t kLimit32 = 2, kLimit64 = 4;

// What every instruction set with FMA gives for the arguments of check_bits, computed with avx2.
// Changes with any change to the arithmetic, and only then.
constexpr std::uint64_t kFusedDigest = 0xb86dfdb1c7464066u;

constexpr const char* kFunctionNames[2] = {"sigmoid", "tanh"};
constexpr std::int64_t kBlock = 4096;

template <class S>
struct Traits;
template <>
struct Traits<float> {
  using Bits = std::uint32_t;
  using Reference = double;  // wrong by one float32 in a near-tie, about once in 2^28
  static constexpr std::uint64_t limit = kLimit32;
};
template <>
struct Traits<double> {
  using Bits = std::uint64_t;
  using Reference = long double;
  static constexpr std::uint64_t limit = kLimit64;
};
template <class S>
using Bits = typename Traits<S>::Bits;
template <class S>
constexpr Bits<S> kSignBit = Bits<S>{1} << (sizeof(S) * 8 - 1);

template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// The place of a value among all of its type: neighbours differ by one, both zeros are in the middle
// and every NaN at the top. When denormals are flushed they all stand where zero does.
template <class S>
Bits<S> place(S value, bool flushed) {
  constexpr S infinity = std::numeric_limits<S>::infinity(), least = std::numeric_limits<S>::min();
  const Bits<S> bits = bits_as<Bits<S>>(value), denormals = bits_as<Bits<S>>(least) - 1;
  Bits<S> magnitude = bits & ~kSignBit<S>;
  if (magnitude > bits_as<Bits<S>>(infinity)) return kSignBit<S> + bits_as<Bits<S>>(infinity) + 1;
  if (flushed) magnitude = magnitude > denormals ? magnitude - denormals : 0;
  return bits & kSignBit<S> ? kSignBit<S> - magnitude : kSignBit<S> + magnitude;
}

template <class S>
void apply(const KernelTable& table, int function, const std::vector<S>& x, std::vector<S>& y) {
  const auto& kernels = cellgate::kernels<S>(table);
  (function == 0 ? kernels.sigmoid : kernels.tanh)(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
}

// Some arguments of one sign, their negatives, and where each correctly rounded result stands.
template <class S>
struct Block {
  std::vector<S> x[2];                  // [sign]
  std::vector<Bits<S>> right[2][2][2];  // [function][sign][flushed]

  explicit Block(const std::vector<S>& magnitudes) {
    using Reference = typename Traits<S>::Reference;
    for (S magnitude : magnitudes) {
      const Reference e = std::exp(-static_cast<Reference>(magnitude)),
                      t = std::tanh(static_cast<Reference>(magnitude));
      const Reference results[2][2] = {{1 / (1 + e), e / (1 + e)}, {t, -t}};
      for (int sign = 0; sign < 2; ++sign) {
        x[sign].push_back(sign ? -magnitude : magnitude);
        for (int function = 0; function < 2; ++function) {
          const S rounded = static_cast<S>(results[function][sign]);
          for (int flushed = 0; flushed < 2; ++flushed) {
            right[function][sign][flushed].push_back(place(rounded, flushed != 0));
          }
        }
      }
    }
  }
};

struct Worst {
  std::uint64_t distance = 0;
  double x = 0;
};

// The worst results of one instruction set in one type.
template <class S>
class Meter {
 public:
  explicit Meter(const KernelTable& table) : table_(table) {}

  void measure(const Block<S>& block) {
    for (int flushed = 0; flushed < 2; ++flushed) {
      for (int function = 0; function < 2; ++function) {
        for (int sign = 0; sign < 2; ++sign) {
          y_[sign].resize(block.x[sign].size());
          if (flushed) {
            const cellgate::FlushDenormals mode;
            apply(table_, function, block.x[sign], y_[sign]);
          } else {
            apply(table_, function, block.x[sign], y_[sign]);
          }
          compare(block.x[sign], block.right[function][sign][flushed], y_[sign], flushed != 0,
                  worst_[function][flushed]);
        }
        if (function == 1) check_odd(block);
      }
    }
  }

  // True if all is within the limit.
  bool report() const {
    bool good = true;
    for (int function = 0; function < 2; ++function) {
      for (int flushed = 0; flushed < 2; ++flushed) {
        const Worst& worst = worst_[function][flushed];
        std::printf("%-9s float%d %-8s denormals %-8s worst %llu ulp at %.9g (%a)\n", table_.name,
                    static_cast<int>(sizeof(S) * 8), kFunctionNames[function], flushed ? "flushed" : "kept",
                    static_cast<unsigned long long>(worst.distance), worst.x, worst.x);
        good &= worst.distance <= Traits<S>::limit;
      }
    }
    return good;
  }

 private:
  static void compare(const std::vector<S>& x, const std::vector<Bits<S>>& right, const std::vector<S>& y,
                      bool flushed, Worst& worst) {
    Bits<S> largest = 0;
    const auto distance = [&](std::size_t i) {
      const Bits<S> here = place(y[i], flushed);
      return here > right[i] ? here - right[i] : right[i] - here;
    };
    for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, distance(i));
    if (largest <= worst.distance) return;
    worst.distance = largest;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (distance(i) == largest) worst.x = static_cast<double>(x[i]);
    }
  }

  void check_odd(const Block<S>& block) const {
    bool odd = true;
    for (std::size_t i = 0; i < y_[0].size(); ++i) odd &= y_[0][i] == -y_[1][i] || y_[0][i] != y_[0][i];
    CHECK(odd, "%s: tanh(-x) is not -tanh(x) for some x from %a on", table_.name,
          static_cast<double>(block.x[0][0]));
  }

  const KernelTable& table_;
  std::vector<S> y_[2];
  Worst worst_[2][2];  // [function][flushed]
};

// Where something could change: zero, the ends of the range, the kernels' limits, one either side.
template <class S>
std::vector<S> special_magnitudes() {
  using Limits = std::numeric_limits<S>;
  std::vector<S> all = {0, Limits::denorm_min(), Limits::max(), Limits::infinity(), Limits::quiet_NaN()};
  for (double x : {double{Limits::min()},
                   0.17328679513998633,
                   0.34657359027997264,
                   1.0,
                   9.0,
                   10.0,
                   17.0,
                   20.0,
                   40.0,
                   87.3,
                   104.0,
                   105.0,
                   708.4,
                   745.1,
                   747.0,
                   0x1p22,
                   0x1p23,
                   0x1p31,
                   0x1p52,
                   0x1p63}) {
    const S at = static_cast<S>(x);
    for (S value : {std::nextafter(at, S{0}), at, std::nextafter(at, Limits::max())}) all.push_back(value);
  }
  return all;
}

template <class S, class Fill>
bool scan(const Tables& tables, Fill next_magnitudes) {
  std::vector<Meter<S>> meters;
  for (const KernelTable* table : tables) meters.emplace_back(*table);
  for (std::vector<S> magnitudes = special_magnitudes<S>(); !magnitudes.empty();) {
    const Block<S> block(magnitudes);
    for (Meter<S>& meter : meters) meter.measure(block);
    magnitudes.clear();
    next_magnitudes(magnitudes);
  }
  bool good = true;
  for (const Meter<S>& meter : meters) good &= meter.report();
  return good;
}

bool scan_float32(const Tables& tables, std::uint64_t stride) {
  std::uint64_t next = 0;
  return scan<float>(tables, [&](std::vector<float>& magnitudes) {
    for (; next < std::uint64_t{1} << 31 && magnitudes.size() < kBlock; next += stride) {
      magnitudes.push_back(bits_as<float>(static_cast<std::uint32_t>(next)));
    }
  });
}

bool scan_float64(const Tables& tables, std::uint64_t stride) {
  std::uint64_t left = std::clamp<std::uint64_t>((std::uint64_t{1} << 26) / stride, 1 << 15, 1 << 24);
  test::Random random(left);
  return scan<double>(tables, [&](std::vector<double>& magnitudes) {
    for (; left > 0 && magnitudes.size() < kBlock; --left) {
      const double uniform = static_cast<double>(random.bits() >> 11) * 0x1p-53;
      const double any = bits_as<double>(random.bits() & ~kSignBit<double>);
      const double candidates[4] = {uniform * 760, uniform * 22,
                                    std::ldexp(1 + uniform, -static_cast<int>(left % 40)), any};
      magnitudes.push_back(candidates[left % 4]);
    }
  });
}

// Any count, in place or not, gives the same and touches nothing behind it.
template <class S>
void check_arrays(const KernelTable& table) {
  test::Random random(3);
  for (int function = 0; function < 2; ++function) {
    for (std::int64_t count : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33}) {
      const std::vector<S> x = random.numbers<S>(count, 8);
      std::vector<S> out(x.size()), in_place = x, guarded(x.size() + 1, S{7}), one(1);
      apply(table, function, x, out);
      apply(table, function, in_place, in_place);
      apply(table, function, x, guarded);
      CHECK(test::same_bits(out.data(), in_place.data(), count), "%s in place, %d", table.name,
            static_cast<int>(count));
      CHECK(guarded.back() == S{7}, "%s wrote behind the end, %d", table.name, static_cast<int>(count));
      for (std::size_t i = 0; i < x.size(); ++i) {
        apply(table, function, std::vector<S>(1, x[i]), one);
        CHECK(test::same_bits(&out[i], one.data(), 1), "%s: the place in the array matters", table.name);
      }
    }
  }
}

void check_bits(const KernelTable& table) {
  test::Random random(4);
  std::vector<float> x32;
  std::vector<double> x64;
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 65537) {
    for (std::uint32_t sign : {0u, 0x80000000u}) x32.push_back(bits_as<float>(bits | sign));
    const int exponent = static_cast<int>(random.below(30)) - 20;
    x64.push_back(std::ldexp(random.number<double>(), exponent));
  }
  test::Digest digest;
  std::vector<float> y32(x32.size());
  std::vector<double> y64(x64.size());
  for (int function = 0; function < 2; ++function) {
    apply(table, function, x32, y32);
    apply(table, function, x64, y64);
    digest.add(y32);
    digest.add(y64);
  }
  CHECK(digest.value() == kFusedDigest, "%s: digest 0x%llx is not that of avx2", table.name,
        static_cast<unsigned long long>(digest.value()));
}

// The forms that limit their result against those that limit x, as this file is compiled: to the bit, but for
// the bits of NaN.
template <class S, class F>
void check_chain(std::uint64_t stride, std::uint64_t last, const F& value) {
  constexpr int lanes = Simd<S>::lanes;
  for (std::uint64_t first = 0; first <= last; first += stride * lanes) {
    typename Simd<S>::V x{};
    for (int j = 0; j < lanes; ++j) x[j] = value(first + static_cast<std::uint64_t>(j) * stride);
    const typename Simd<S>::V pairs[2][2] = {{sigmoid(x), sigmoid_of_chain(x)}, {tanh(x), tanh_of_chain(x)}};
    for (int function = 0; function < 2; ++function) {
      for (int j = 0; j < lanes; ++j) {
        const S a = pairs[function][0][j], b = pairs[function][1][j];
        CHECK(bits_as<Bits<S>>(a) == bits_as<Bits<S>>(b) || (std::isnan(a) && std::isnan(b)),
              "%s(%a): %a, as the end of a chain %a", kFunctionNames[function], static_cast<double>(x[j]),
              static_cast<double>(a), static_cast<double>(b));
      }
    }
  }
}

int run(std::uint64_t stride, const char* isa) {
  check_chain<float>(stride, 0xffffffffu,
                     [](std::uint64_t bits) { return bits_as<float>(static_cast<std::uint32_t>(bits)); });
  check_chain<double>(1, 1u << 22, [](std::uint64_t i) {
    return std::ldexp(static_cast<double>(i) - (1 << 21), i % 64 == 0 ? -11 : -9 - static_cast<int>(i % 20));
  });
  const Tables tables = isa ? Tables{&cellgate::kernel_table(isa)} : cellgate::supported_kernel_tables();
  for (const KernelTable* table : tables) {
    check_arrays<float>(*table);
    check_arrays<double>(*table);
    if (std::string(table->name) != "baseline") check_bits(*table);
  }
  const bool good32 = scan_float32(tables, stride), good64 = scan_float64(tables, stride);
  CHECK(good32, "float32: more than %d ulp", static_cast<int>(kLimit32));
  CHECK(good64, "float64: more than %d ulp", static_cast<int>(kLimit64));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t stride = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (stride == 0 || argc > 3) {
    std::fprintf(stderr, "usage: test_activations STRIDE [ISA]\n");
    return 2;
  }
  try {
    return run(stride, argc > 2 ? argv[2] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
