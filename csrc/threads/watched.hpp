// A job that measures what its members lose to other threads, for Crowding. Used by pool.cpp.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "threads/crowding.hpp"
#include "threads/executor.hpp"

namespace cellgate {

class Watched {
 public:
  Watched(int size, const Job& job) : job_(job), size_(size), begin_(now()) {}

  // Calls the job that was given, and measures; to be run once, before seen().
  Job job() { return {call, this}; }
  Observation seen() const;

 private:
  static std::chrono::nanoseconds now();
  static void call(void* given, int member);

  const Job job_;
  const int size_;
  const std::chrono::nanoseconds begin_;
  std::atomic<std::int64_t> work_{0};  // nanoseconds
  std::atomic<int> interrupted_{0};
};

}  // namespace cellgate
