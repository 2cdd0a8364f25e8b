// Waiting for another thread on the core, for a bounded time. Used by barrier.cpp, pool.cpp and watched.cpp.
#pragma once

#include <chrono>

namespace cellgate {

// Waking a sleeping thread takes some tens of microseconds; spinning as long as that before going
// to sleep at most doubles the cost of a wait and keeps back-to-back calls and steps fast.
constexpr std::chrono::microseconds kSpin{30};

inline void pause_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Spins until done() or the time is up; returns done().
template <class Done>
bool spin_until(const Done& done) noexcept {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    pause_cpu();
  }
  for (const auto end = Clock::now() + kSpin; Clock::now() < end;) {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_cpu();
    }
  }
  return done();
}

}  // namespace cellgate
