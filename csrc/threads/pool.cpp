// The thread pool and its barrier.
#include "threads/pool.hpp"

#include <pthread.h>
#if defined(__linux__)
#include <sys/resource.h>
#endif

#include <algorithm>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#include "threads/openmp.hpp"

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

using Clock = std::chrono::steady_clock;

std::int64_t nanoseconds_since(Clock::time_point begin) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

// What members of a call waited for each other beyond the spin, in nanoseconds, and how often the
// system took the processor from one of them.
std::atomic<std::int64_t> waited{0}, interrupted{0};

// How often the system took the processor from this thread so far.
std::int64_t interruptions() noexcept {
#if defined(__linux__)
  rusage usage{};
  if (getrusage(RUSAGE_THREAD, &usage) == 0) return usage.ru_nivcsw;
#endif
  return 0;
}

// When other programs, or other threads of this one, take the cores, members of a team wait for one
// that the system has put aside, and many threads are slower than one: with one core of two taken, a
// sequence of short steps was seen to take 2.3 times as long on two threads as on one. Then calls run on
// the caller alone for a while, longer each time, before threads are tried again.
class Crowding {
 public:
  bool now() const noexcept { return Clock::now().time_since_epoch().count() < until_.load(); }

  // `lost` nanoseconds of waiting in a job on `size` threads that took `whole`. One member that is put
  // aside for half the time makes each of the others wait as long, and two threads worth one. Members
  // that wait because they had less to do are none of that: then no thread was interrupted.
  void learn(std::int64_t lost, std::int64_t whole, int size, std::int64_t interruptions) noexcept {
    if (lost * 5 < whole * (size - 1) * 2 || interruptions == 0) {
      pause_.store(kShortest);
      return;
    }
    const auto pause = pause_.load();
    until_.store((Clock::now() + pause).time_since_epoch().count());
    pause_.store(std::min(pause * 2, kLongest));
  }

 private:
  static constexpr Clock::duration kShortest = std::chrono::milliseconds(10),
                                   kLongest = std::chrono::seconds(1);
  std::atomic<Clock::rep> until_{0};
  std::atomic<Clock::duration> pause_{kShortest};
};

Crowding crowding;

// Spins until done() or the time is up; returns done().
template <class Done>
bool spin_until(const Done& done) noexcept {
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
  const auto begin = Clock::now();
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, passed);
  sleepers_.fetch_sub(1);
  waited.fetch_add(nanoseconds_since(begin));
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
    const auto begin = Clock::now();
    std::unique_lock<std::mutex> lock(caller_mutex_);
    caller_asleep_.store(true);
    caller_wake_.wait(lock, done);
    caller_asleep_.store(false);
    waited.fetch_add(nanoseconds_since(begin));
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

PoolLease::PoolLease(int wanted, bool whatever_the_load) {
  if (wanted <= 1 || (crowding.now() && !whatever_the_load)) return;
  Pool& shared = pool();
  if (!shared.busy.try_lock()) return;
  pool_ = &shared;
  size_ = 1 + shared.ensure_workers(wanted - 1);
  const int others = openmp_threads();
  // Beside its threads ours would wait for a core, so that fewer of its are better than more of ours.
  if (others < 2 || (others < size_ && whatever_the_load)) return;
  openmp_ = true;
  size_ = std::min(size_, others);
}

PoolLease::~PoolLease() {
  if (pool_) pool_->busy.unlock();
}

namespace {

// A job that tells how often its members were interrupted, and when the caller was done with its part.
struct CountedJob {
  Job job;
  Clock::time_point caller_done;
};

void call_counted(void* given, int member) {
  CountedJob& counted = *static_cast<CountedJob*>(given);
  const std::int64_t before = interruptions();
  counted.job.call(counted.job.data, member);
  interrupted.fetch_add(interruptions() - before);
  if (member == 0) counted.caller_done = Clock::now();
}

}  // namespace

void PoolLease::run_erased(int size, void (*call)(void*, int), void* data, bool even) noexcept {
  if (size <= 1) return call(data, 0);
  CountedJob counted{{call, data}, {}};
  const auto begin = Clock::now();
  waited.store(0);
  interrupted.store(0);
  if (openmp_ && run_on_openmp(size, call_counted, &counted)) {
    const std::int64_t spin = std::chrono::nanoseconds(kSpin).count();
    waited.fetch_add(std::max<std::int64_t>(0, nanoseconds_since(counted.caller_done) - spin));
  } else {
    pool_->run(size, {call_counted, &counted});
  }
  if (even) crowding.learn(waited.load(), nanoseconds_since(begin), size, interrupted.load());
}

}  // namespace cellgate
