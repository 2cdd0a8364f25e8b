// Counts forks.
#include "threads/fork.hpp"

#include <pthread.h>

#include <stdexcept>

namespace cellgate {
namespace {

std::atomic<std::uint32_t> forks{0};

}  // namespace

std::uint32_t fork_generation() {
  static const bool registered = [] {
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
    return true;
  }();
  static_cast<void>(registered);
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

}  // namespace cellgate
