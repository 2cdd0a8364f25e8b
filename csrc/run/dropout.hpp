// Which values dropout keeps: a hash of the seed and of the place, so that the mask is the same
// whatever the threads and need not be stored. Used by forward.cpp and backward.cpp.
#pragma once

#include <cstdint>

namespace cellgate {

template <class S>
class Dropout {
 public:
  // The mask on what `layer` hands to the next.
  Dropout(double probability, std::uint64_t seed, std::int64_t layer)
      : threshold_(probability * 0x1p53),
        scale_(static_cast<S>(probability < 1 ? 1 / (1 - probability) : 0)),
        seed_(seed + 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(layer + 1)) {}

  // What element `index` of [T, B, width] is multiplied by. Finaliser: SplitMix64 (Steele, Lea &
  // Flood 2014); the multiplier before it is Steele & Vigna's (2021) for 64-bit congruential generators.
  S factor(std::int64_t index) const {
    std::uint64_t z = seed_ + static_cast<std::uint64_t>(index) * 0xd1342543de82ef95u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) < threshold_ ? S(0) : scale_;
  }

 private:
  double threshold_;
  S scale_;
  std::uint64_t seed_;
};

}  // namespace cellgate
