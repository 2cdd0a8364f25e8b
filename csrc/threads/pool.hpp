// The core's own small thread pool. Called by forward.cpp; runs whatever job it is given.
// The caller is member 0; workers spin for a bounded time between jobs and then sleep. Created on
// first use, made anew after fork, never larger than the CPUs this process may use by default.
// Where PyTorch's threads are to be had (openmp.hpp), jobs run on those instead.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

namespace cellgate {

// CPUs this process may run on: affinity mask and cgroup quota considered. At least 1.
int usable_cpus();

// Upper bound on the threads of one call. Initially CELLGATE_NUM_THREADS, else usable_cpus().
int get_num_threads();
void set_num_threads(int count);  // 1 <= count <= kMaxThreads, or std::invalid_argument
constexpr int kMaxThreads = 1024;

// How many times this process and its ancestors have forked since the first use of the pool or of a
// ForkAwareMutex: tells a lock that a thread of the parent held from one of our own.
std::uint32_t fork_generation();

// A mutex that a child finds locked for ever if another thread of the parent held it at the fork.
// Locking it then throws std::runtime_error instead of waiting.
class ForkAwareMutex {
 public:
  bool try_lock();
  void lock();
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
  std::atomic<std::uint32_t> locked_in_{fork_generation()};
};

// Lets the members of a team wait for each other, often, for short times.
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

// The right to run jobs on up to `wanted` threads. When another call holds the pool, a thread cannot
// be started, or other programs were lately seen to take the cores, size() is smaller (1: the caller
// alone) and work goes on all the same.
class PoolLease {
 public:
  explicit PoolLease(int wanted, bool whatever_the_load = false);
  ~PoolLease();
  PoolLease(const PoolLease&) = delete;
  PoolLease& operator=(const PoolLease&) = delete;

  int size() const { return size_; }

  // Calls job(member) for every member in [0, size) at once; returns when all have returned. `even`:
  // the members have equally much to do, so that one that is late was kept from it by others.
  template <class Job>
  void run(int size, Job& job, bool even = true) noexcept {
    run_erased(size, [](void* j, int member) { (*static_cast<Job*>(j))(member); }, &job, even);
  }

 private:
  void run_erased(int size, void (*call)(void*, int), void* job, bool even) noexcept;
  class Pool* pool_ = nullptr;
  int size_ = 1;
  bool openmp_ = false;  // whether another library's threads run the jobs (openmp.hpp)
};

}  // namespace cellgate
