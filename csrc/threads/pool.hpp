// A pool of threads: an executor that its maker owns, and the base of the process's executor (executor.cpp).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "threads/crowding.hpp"
#include "threads/executor.hpp"
#include "threads/fork.hpp"

namespace cellgate {

// The caller is member 0; the other members, the workers, are started when first wanted, spin for a bounded
// time between jobs and then sleep. One call at a time has the pool; others, and calls in a child made by
// fork, run on their caller alone.
class Pool : public Executor {
 public:
  explicit Pool(int limit);
  ~Pool() override;  // no call may be running
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int limit() const noexcept override { return limit_; }
  // Whether it was made by a process of which this is a child.
  bool lost_to_fork() const { return born_in_ != fork_generation(); }

  int acquire(int wanted, bool whatever_the_load) noexcept override;
  void run(int size, const Job& job, bool even) noexcept override;
  void release() noexcept override;

 protected:
  // How many threads a call gets that wants `wanted`, once it has the pool.
  virtual int available(int wanted, bool whatever_the_load) noexcept;
  virtual void run_members(int size, const Job& job) noexcept;

 private:
  struct Worker;
  void serve(Worker& self, int member) noexcept;
  void hand_to(Worker& worker, const Job& job) noexcept;

  const int limit_;
  const std::uint32_t born_in_ = fork_generation();
  std::mutex busy_;  // held by the call that has the pool
  Crowding crowding_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<int> pending_{0};  // workers that have not ended the job
  std::atomic<bool> caller_asleep_{false};
  std::mutex caller_mutex_;
  std::condition_variable caller_wake_;
};

}  // namespace cellgate
