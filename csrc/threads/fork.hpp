// What is different in a child made by fork: it has none of its parent's other threads, and finds the locks
// that these held locked for ever. Used by pool, openmp, bindings and network_stream.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace cellgate {

// How many times this process and its ancestors have forked since the first call: tells what belongs to this
// process from what a parent left. The first call has to be made before the first fork of interest.
std::uint32_t fork_generation();

// A mutex that may be locked by a thread of the parent at the moment of a fork. In the child, where nothing
// unlocks it, lock() then throws std::runtime_error instead of waiting.
class ForkAwareMutex {
 public:
  bool try_lock();
  void lock();
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
  std::atomic<std::uint32_t> locked_in_{fork_generation()};
};

}  // namespace cellgate
