// The process's executor.
#include "threads/executor.hpp"

#include <algorithm>
#include <atomic>
#include <new>

#include "threads/cpus.hpp"
#include "threads/openmp.hpp"
#include "threads/pool.hpp"

namespace cellgate {
namespace {

// A pool that leaves its jobs to the threads of another library where there are such.
class ProcessPool final : public Pool {
 public:
  ProcessPool() : Pool(kMaxThreads) {}

 private:
  int available(int wanted, bool whatever_the_load) noexcept override {
    const int own = Pool::available(wanted, whatever_the_load), others = openmp_threads();
    // Threads of ours would compete with its threads for the cores: fewer of its threads are better than more
    // of ours.
    borrows_ = others >= 2 && (others >= own || !whatever_the_load);
    return borrows_ ? std::min(own, others) : own;
  }
  void run_members(int size, const Job& job) noexcept override {
    if (!borrows_ || !run_on_openmp(size, job)) Pool::run_members(size, job);
  }

  bool borrows_ = false;
};

class ProcessExecutor final : public Executor {
 public:
  int limit() const noexcept override { return get_num_threads(); }

 private:
  int acquire(int wanted, bool whatever_the_load) noexcept override {
    Pool* found = pool();
    return found ? found->acquire(wanted, whatever_the_load) : 0;
  }
  void run(int size, const Job& job, bool even) noexcept override { pool_.load()->run(size, job, even); }
  void release() noexcept override { pool_.load()->release(); }

  // A pool is never destroyed: its workers sleep in it until the process ends, and in a child made by fork
  // its locks may be held for ever. Null: there is no memory for one.
  Pool* pool() noexcept {
    Pool* found = pool_.load();
    if (found && !found->lost_to_fork()) return found;
    Pool* fresh = new (std::nothrow) ProcessPool;
    if (!fresh || pool_.compare_exchange_strong(found, fresh)) return fresh;
    delete fresh;
    return found;
  }

  std::atomic<Pool*> pool_{nullptr};
};

}  // namespace

Executor& default_executor() {
  static ProcessExecutor* const executor = [] {
    get_num_threads();  // throws here rather than in limit()
    return new ProcessExecutor;
  }();
  return *executor;
}

}  // namespace cellgate
