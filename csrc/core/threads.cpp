// The thread pool and its barrier.
#include "threads.hpp"

#include <pthread.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

namespace cellgate {
namespace {

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

}  // namespace

void Barrier::wait(int members) noexcept {
  if (members == 1) return;
  const std::uint32_t generation = generation_.load();
  if (arrived_.fetch_add(1) + 1 == members) {
    arrived_.store(0);
    generation_.store(generation + 1);
    if (sleepers_.load() > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    return;
  }
  const auto passed = [&] { return generation_.load() != generation; };
  if (spin_until(passed)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, passed);
  sleepers_.fetch_sub(1);
}

namespace {

struct Job {
  void (*call)(void*, int);
  void* data;
};

// One waiting thread. It owns itself: a worker outlives everything but the process.
struct Worker {
  std::atomic<const Job*> job{nullptr};
  std::atomic<bool> asleep{false};
  std::mutex mutex;
  std::condition_variable wake;
};

}  // namespace

class Pool {
 public:
  std::mutex busy;  // held by the lease

  // Threads beyond the caller, started as far as needed and possible.
  int ensure_workers(int count) {
    try {
      while (static_cast<int>(workers_.size()) < count) {
        workers_.reserve(workers_.size() + 1);
        auto worker = std::make_unique<Worker>();
        const int member = static_cast<int>(workers_.size()) + 1;
        std::thread(&Pool::serve, this, worker.get(), member).detach();
        workers_.push_back(std::move(worker));
      }
    } catch (const std::exception&) {  // no more threads to be had: go on with those there are
    }
    const int have = static_cast<int>(workers_.size());
    return have < count ? have : count;
  }

  void run(int size, const Job& job) noexcept {
    pending_.store(size - 1);
    for (int i = 0; i < size - 1; ++i) {
      Worker& worker = *workers_[static_cast<std::size_t>(i)];
      worker.job.store(&job);
      if (worker.asleep.load()) {
        std::lock_guard<std::mutex> lock(worker.mutex);
        worker.wake.notify_one();
      }
    }
    job.call(job.data, 0);
    const auto done = [&] { return pending_.load() == 0; };
    if (spin_until(done)) return;
    std::unique_lock<std::mutex> lock(caller_mutex_);
    caller_asleep_.store(true);
    caller_wake_.wait(lock, done);
    caller_asleep_.store(false);
  }

 private:
  void serve(Worker* self, int member) noexcept {
    for (;;) {
      const auto called = [&] { return self->job.load() != nullptr; };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(self->mutex);
        self->asleep.store(true);
        self->wake.wait(lock, called);
        self->asleep.store(false);
      }
      const Job* job = self->job.load();
      job->call(job->data, member);
      self->job.store(nullptr);
      if (pending_.fetch_sub(1) == 1 && caller_asleep_.load()) {
        std::lock_guard<std::mutex> lock(caller_mutex_);
        caller_wake_.notify_one();
      }
    }
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<int> pending_{0};
  std::atomic<bool> caller_asleep_{false};
  std::mutex caller_mutex_;
  std::condition_variable caller_wake_;
};

namespace {

// Never destroyed: workers sleep in it until the process ends. A forked child has none of the
// parent's threads and may find the old pool's locks held, so it starts over with a new one.
std::atomic<Pool*> current_pool{nullptr};
std::atomic<std::uint32_t> forks{0};

void watch_forks() {
  static const bool registered = [] {
    pthread_atfork(nullptr, nullptr, [] {
      current_pool.store(nullptr);
      forks.fetch_add(1);
    });
    return true;
  }();
  static_cast<void>(registered);
}

Pool& pool() {
  watch_forks();
  Pool* found = current_pool.load();
  if (!found) {
    Pool* fresh = new Pool;
    if (current_pool.compare_exchange_strong(found, fresh)) return *fresh;
    delete fresh;
  }
  return *found;
}

}  // namespace

std::uint32_t fork_generation() {
  watch_forks();
  return forks.load();
}

bool ForkAwareMutex::try_lock() {
  const bool locked = mutex_.try_lock();
  if (locked) locked_in_.store(fork_generation());
  return locked;
}

void ForkAwareMutex::lock() {
  if (try_lock()) return;
  if (locked_in_.load() != fork_generation()) {
    throw std::runtime_error("stream: another thread was using it when this process was forked");
  }
  mutex_.lock();
  locked_in_.store(fork_generation());
}

PoolLease::PoolLease(int wanted) {
  if (wanted <= 1) return;
  Pool& shared = pool();
  if (!shared.busy.try_lock()) return;
  pool_ = &shared;
  size_ = 1 + shared.ensure_workers(wanted - 1);
}

PoolLease::~PoolLease() {
  if (pool_) pool_->busy.unlock();
}

void PoolLease::run_erased(int size, void (*call)(void*, int), void* data) noexcept {
  if (size <= 1) return call(data, 0);
  const Job job{call, data};
  pool_->run(size, job);
}

}  // namespace cellgate
