// Where the members of a team wait for each other. Used by run, once for each step or wave.
#pragma once

#include <cstdint>

#if !defined(CELLGATE_NO_THREADS)
#include <atomic>
#include <condition_variable>
#include <mutex>
#endif

namespace cellgate {

#if defined(CELLGATE_NO_THREADS)

class Barrier {
 public:
  void wait(int) noexcept {}
};

#else

// Made for many short waits: spins first, then sleeps.
class Barrier {
 public:
  void wait(int members) noexcept;

 private:
  std::atomic<int> arrived_{0};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
};

// How often this thread has slept at barriers so far, each time after kSpin of spinning.
std::int64_t sleeps_at_barriers() noexcept;

#endif

}  // namespace cellgate
