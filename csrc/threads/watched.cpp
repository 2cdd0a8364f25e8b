// Observes the members of a job.
#include "threads/watched.hpp"

#if defined(__linux__)
#include <sys/resource.h>
#endif

#include <algorithm>

#include "threads/barrier.hpp"
#include "threads/spin.hpp"

namespace cellgate {
namespace {

// A thread that is woken begins within some tens of microseconds, unless others have its core: then after
// what is left of their time slice, which is milliseconds.
constexpr std::chrono::microseconds kLate{500};

// How often the system took the processor from this thread so far.
std::int64_t interruptions() noexcept {
#if defined(__linux__)
  rusage usage{};
  if (getrusage(RUSAGE_THREAD, &usage) == 0) return usage.ru_nivcsw;
#endif
  return 0;
}

}  // namespace

std::chrono::nanoseconds Watched::now() { return std::chrono::steady_clock::now().time_since_epoch(); }

void Watched::call(void* given, int member) {
  Watched& self = *static_cast<Watched*>(given);
  const bool late = member != 0 && now() - self.begin_ > kLate;
  const std::int64_t before = interruptions();
  const std::chrono::nanoseconds slept_before = slept_at_barriers();
  self.job_(member);
  const std::chrono::nanoseconds slept = slept_at_barriers() - slept_before;
  if (late || interruptions() != before) self.interrupted_.fetch_add(1);
  if (member == 0) {
    self.caller_slept_ = slept;
    self.caller_done_ = now();
    return;
  }
  std::int64_t longest = self.slept_.load();
  while (slept.count() > longest && !self.slept_.compare_exchange_weak(longest, slept.count())) {
  }
}

Observation Watched::seen() const {
  const auto end = now();
  const auto for_last = std::max(std::chrono::nanoseconds{0}, end - caller_done_ - kSpin);
  const auto waited = std::max(caller_slept_ + for_last, std::chrono::nanoseconds(slept_.load()));
  return {size_, end - begin_, waited, interrupted_.load()};
}

}  // namespace cellgate
