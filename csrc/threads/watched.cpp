// Measures the members of a job.
#include "threads/watched.hpp"

#include <time.h>
#if defined(__linux__)
#include <sys/resource.h>
#endif

#include "threads/barrier.hpp"
#include "threads/spin.hpp"

namespace cellgate {
namespace {

// A thread that is woken begins within some tens of microseconds, unless its core is taken: then when the
// time slice of that thread ends, after milliseconds.
constexpr std::chrono::microseconds kLate{500};

// How often the system has preempted this thread so far.
std::int64_t interruptions() noexcept {
#if defined(__linux__)
  rusage usage{};
  if (getrusage(RUSAGE_THREAD, &usage) == 0) return usage.ru_nivcsw;
#endif
  return 0;
}

// The CPU time that this thread has worked so far, without what it spun at barriers before it slept.
std::int64_t worked() noexcept {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  const std::int64_t spun = sleeps_at_barriers() * std::chrono::nanoseconds(kSpin).count();
  return std::int64_t{time.tv_sec} * 1000000000 + time.tv_nsec - spun;
}

}  // namespace

std::chrono::nanoseconds Watched::now() { return std::chrono::steady_clock::now().time_since_epoch(); }

void Watched::call(void* given, int member) {
  Watched& self = *static_cast<Watched*>(given);
  // With two members there is no need to count: fewer than two threads are one.
  const bool counts = self.size_ > 2;
  const bool late = counts && member != 0 && now() - self.begin_ > kLate;
  const std::int64_t interrupted = counts ? interruptions() : 0, before = worked();
  self.job_(member);
  self.work_.fetch_add(worked() - before);
  if (late || (counts && interruptions() != interrupted)) self.interrupted_.fetch_add(1);
}

Observation Watched::seen() const {
  return {size_, now() - begin_, std::chrono::nanoseconds(work_.load()), interrupted_.load()};
}

}  // namespace cellgate
