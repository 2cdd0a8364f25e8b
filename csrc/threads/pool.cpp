// The thread pool.
#include "threads/pool.hpp"

#include <algorithm>
#include <exception>
#include <thread>

#include "threads/load.hpp"
#include "threads/spin.hpp"
#include "threads/watched.hpp"

namespace cellgate {

struct Pool::Worker {
  std::atomic<const Job*> job{nullptr};  // without a function: the thread is to end
  std::atomic<bool> asleep{false};
  std::mutex mutex;
  std::condition_variable wake;
  std::thread thread;
};

Pool::Pool(int limit)
    : limit_(limit),
      crowding_([]() -> Crowding::Time { return std::chrono::steady_clock::now().time_since_epoch(); },
                &cores_for) {}

Pool::~Pool() {
  if (lost_to_fork()) {  // there are no threads to end, and their locks may be held
    for (auto& worker : workers_) static_cast<void>(worker.release());
    return;
  }
  const Job end{nullptr, nullptr};
  for (auto& worker : workers_) hand_to(*worker, end);
  for (auto& worker : workers_) worker->thread.join();
}

int Pool::acquire(int wanted, bool whatever_the_load) noexcept {
  if (lost_to_fork() || !busy_.try_lock()) return 0;
  const int use = crowding_.begin(std::min(wanted, limit_));
  return available(whatever_the_load ? wanted : use, whatever_the_load);
}

void Pool::release() noexcept {
  crowding_.end();
  busy_.unlock();
}

int Pool::available(int wanted, bool) noexcept {
  const int count = std::min(wanted, limit_) - 1;
  try {
    while (static_cast<int>(workers_.size()) < count) {
      workers_.reserve(workers_.size() + 1);
      auto worker = std::make_unique<Worker>();
      const int member = static_cast<int>(workers_.size()) + 1;
      worker->thread = std::thread(&Pool::serve, this, std::ref(*worker), member);
      workers_.push_back(std::move(worker));
    }
  } catch (const std::exception&) {  // no more threads to be had: go on with those there are
  }
  return 1 + std::min(count, static_cast<int>(workers_.size()));
}

void Pool::run(int size, const Job& job, bool even) noexcept {
  Watched watched(size, job);
  run_members(size, watched.job());
  if (even) crowding_.learn(watched.seen());
}

void Pool::run_members(int size, const Job& job) noexcept {
  pending_.store(size - 1);
  for (int i = 0; i < size - 1; ++i) hand_to(*workers_[static_cast<std::size_t>(i)], job);
  job(0);
  const auto done = [&] { return pending_.load() == 0; };
  if (spin_until(done)) return;
  std::unique_lock<std::mutex> lock(caller_mutex_);
  caller_asleep_.store(true);
  caller_wake_.wait(lock, done);
  caller_asleep_.store(false);
}

void Pool::hand_to(Worker& worker, const Job& job) noexcept {
  worker.job.store(&job);
  if (worker.asleep.load()) {
    std::lock_guard<std::mutex> lock(worker.mutex);
    worker.wake.notify_one();
  }
}

void Pool::serve(Worker& self, int member) noexcept {
  for (;;) {
    const auto called = [&] { return self.job.load() != nullptr; };
    if (!spin_until(called)) {
      std::unique_lock<std::mutex> lock(self.mutex);
      self.asleep.store(true);
      self.wake.wait(lock, called);
      self.asleep.store(false);
    }
    const Job* job = self.job.load();
    if (!job->call) return;
    (*job)(member);
    self.job.store(nullptr);
    if (pending_.fetch_sub(1) == 1 && caller_asleep_.load()) {
      std::lock_guard<std::mutex> lock(caller_mutex_);
      caller_wake_.notify_one();
    }
  }
}

}  // namespace cellgate
