// The barrier.
#include "threads/barrier.hpp"

#include "threads/spin.hpp"

namespace cellgate {
namespace {

thread_local std::int64_t sleeps = 0;

}  // namespace

std::int64_t sleeps_at_barriers() noexcept { return sleeps; }

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
  ++sleeps;
}

}  // namespace cellgate
