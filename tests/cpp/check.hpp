// What the tests of the core share besides random.hpp: the instruction sets to test, a digest of bits.
#pragma once

#include "kernels/dispatch.hpp"
#include "random.hpp"

namespace test {

// The table named by the argument at `position`, or all this CPU supports if it is "all" or not there.
inline std::vector<const cellgate::KernelTable*> chosen_tables(int argc, char** argv, int position) {
  if (position >= argc || !std::strcmp(argv[position], "all")) return cellgate::supported_kernel_tables();
  return {&cellgate::kernel_table(argv[position])};
}

// FNV-1a over the bytes.
class Digest {
 public:
  template <class S>
  void add(const std::vector<S>& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(S); ++i) hash_ = (hash_ ^ bytes[i]) * 0x100000001b3u;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace test
