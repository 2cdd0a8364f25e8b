// Aligned memory: owned buffers for weights, and an arena that one call lays its arrays out in.
// Used by model, run and bindings.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

#include "memory/source.hpp"

namespace cellgate {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector
constexpr std::size_t kHugePage = std::size_t{1} << 21;

// Large blocks get huge pages where the system has them: walking megabytes of weights for each step would
// otherwise miss the address translation cache at every other panel, and fresh memory costs a fault for each
// page. A hint: refusal changes nothing.
inline void advise_huge_pages([[maybe_unused]] void* block, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kPage =
      4096;  // the least that Linux has; an address between larger ones is refused
  if (bytes < 2 * kHugePage) return;
  const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(block) + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(block) + bytes;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

template <class S>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // `source` must outlive this; null: the C library's allocator.
  explicit AlignedBuffer(std::size_t count, const MemorySource* source = nullptr)
      : count_(count), source_(source) {
    if (count == 0) return;
    if (count > (std::numeric_limits<std::size_t>::max() - kAlignment) / sizeof(S)) throw std::bad_alloc();
    // Aligned to them, for huge pages: see advise_huge_pages().
    const std::size_t alignment = count * sizeof(S) >= kHugePage ? kHugePage : kAlignment;
    data_ = static_cast<S*>(source ? source->allocate(source->context, bytes(alignment), alignment)
                                   : std::aligned_alloc(alignment, bytes(alignment)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == kHugePage && !source)
      madvise(data_, bytes(alignment), MADV_HUGEPAGE);  // a hint: refusal changes nothing
#endif
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AlignedBuffer() {
    if (!source_) {
      std::free(data_);
    } else if (data_) {
      source_->release(source_->context, data_,
                       bytes(count_ * sizeof(S) >= kHugePage ? kHugePage : kAlignment));
    }
  }

  S* data() { return data_; }
  const S* data() const { return data_; }
  std::size_t size() const { return count_; }

 private:
  std::size_t bytes(std::size_t alignment) const {
    return (count_ * sizeof(S) + alignment - 1) / alignment * alignment;
  }
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(source_, other.source_);
  }

  S* data_ = nullptr;
  std::size_t count_ = 0;
  const MemorySource* source_ = nullptr;
};

// Hands out consecutive aligned arrays. A layout is walked twice: once over no memory to learn its
// size, once over a block of that size; see Workspace.
class Arena {
 public:
  explicit Arena(std::byte* base = nullptr) : base_(base) {}

  template <class S>
  S* take(std::int64_t count) {
    const std::size_t n = static_cast<std::size_t>(count);
    if (n > (std::numeric_limits<std::size_t>::max() / 4 - used_) / sizeof(S)) throw std::bad_alloc();
    S* at = base_ ? reinterpret_cast<S*>(base_ + used_) : nullptr;
    used_ += (n * sizeof(S) + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

// Memory that grows to the largest layout asked for and is kept: the second call of the same shape
// allocates nothing.
class Workspace {
 public:
  explicit Workspace(const MemorySource* source = nullptr) : source_(source) {}

  // Layout must be constructible from an Arena&, followed by `args`.
  template <class Layout, class... Args>
  Layout lay_out(const Args&... args) {
    Arena measure;
    Layout(measure, args...);
    if (measure.used() > memory_.size()) {
      memory_ = AlignedBuffer<std::byte>();  // not both at once
      memory_ = AlignedBuffer<std::byte>(measure.used(), source_);
    }
    Arena arena(memory_.data());
    return Layout(arena, args...);
  }

  std::size_t bytes() const { return memory_.size(); }

 private:
  const MemorySource* source_;
  AlignedBuffer<std::byte> memory_;
};

}  // namespace cellgate
