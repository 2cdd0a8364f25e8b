// Flush-to-zero for the time of a call. Used by every thread that runs kernels.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace cellgate {

// Denormal numbers cost a hundred cycles each on some CPUs, and the state of an LSTM decays into them;
// they are read and written as zero while this object exists. Rounding is to nearest and no exception
// traps, whatever the caller has set, so that bits do not depend on it. The destructor restores the
// caller's mode.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  // Writing the mode waits for all instructions before it, so it is written only if it differs; the lowest
  // six bits are flags of exceptions that occurred, which have no effect.
  FlushDenormals() : saved_(_mm_getcsr()), differs_((saved_ & ~0x3fu) != kMode) {
    if (differs_) _mm_setcsr(kMode);
  }
  ~FlushDenormals() {
    if (differs_) _mm_setcsr(saved_);
  }

 private:
  static constexpr unsigned kMode = 0x1f80u | 0x8040u;  // the default, FTZ, DAZ
  const unsigned saved_;
  const bool differs_;
#elif defined(__aarch64__)
  FlushDenormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, %0" ::"r"(std::uint64_t{1} << 24));  // the default, FZ
  }
  ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  std::uint64_t saved_;
#endif
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace cellgate
