// Arrays that end where the accessible memory does: reading or writing one scalar further is a fault,
// on any build. What lies before them is watched for writes.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "check.hpp"

namespace test {

// Every scalar begins as a NaN with all bits set, which no computation gives.
template <class S>
class Fenced {
 public:
  explicit Fenced(std::int64_t count) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t used = static_cast<std::size_t>(count) * sizeof(S) + kWatched;
    open_ = (used + page - 1) / page * page;
    mapped_ = open_ + page;
    void* at = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED, "no memory for %ld scalars", long(count));
    base_ = static_cast<unsigned char*>(at);
    CHECK(mprotect(base_ + open_, page, PROT_NONE) == 0, "mprotect");
    std::memset(base_ + open_ - used, 0xff, used);
  }
  explicit Fenced(const std::vector<S>& values) : Fenced(static_cast<std::int64_t>(values.size())) {
    put(values);
  }
  Fenced(Fenced&& other) noexcept
      : count_(other.count_),
        open_(other.open_),
        mapped_(other.mapped_),
        base_(std::exchange(other.base_, nullptr)) {}
  ~Fenced() {
    if (!base_) return;
    CHECK(is_clear(base_ + open_ - static_cast<std::size_t>(count_) * sizeof(S) - kWatched, kWatched),
          "written before an array of %ld", long(count_));
    munmap(base_, mapped_);
  }

  S* data() const { return reinterpret_cast<S*>(base_ + open_) - count_; }
  std::int64_t size() const { return count_; }
  S& operator[](std::int64_t i) const { return data()[i]; }
  void put(const std::vector<S>& values) const { std::copy(values.begin(), values.end(), data()); }
  std::vector<S> take() const { return {data(), data() + count_}; }
  void clear() const { std::memset(static_cast<void*>(data()), 0xff, sizeof(S) * std::size_t(count_)); }

  static bool is_clear(const void* from, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(from);
    return bytes == 0 || (*at == 0xff && std::memcmp(at, at + 1, bytes - 1) == 0);
  }

 private:
  static constexpr std::size_t kWatched = 256;
  std::int64_t count_;
  std::size_t open_ = 0, mapped_ = 0;
  unsigned char* base_ = nullptr;
};

// The bits of both are the same, and there are as many.
template <class S>
bool same_bits(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), static_cast<std::int64_t>(a.size()));
}

}  // namespace test
