// The interface of GNU's OpenMP runtime, which LLVM's and Intel's have too.
#include "threads/openmp.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

#include "threads/cpus.hpp"
#include "threads/fork.hpp"

namespace cellgate {
namespace {

struct OpenMP {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags);
  int (*thread_num)();
  int (*num_threads)();
  int (*max_threads)();
  int (*in_parallel)();
  int (*dynamic)();
  pthread_t owner;  // the thread whose team it is
};

std::atomic<const OpenMP*> runtime{nullptr};

template <class Function>
bool find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

struct Region {
  const OpenMP* openmp;
  int size;
  const Job& job;
  bool ran = false;
};

// In every thread of the team, which may have more than are wanted: a team that keeps its size keeps
// its threads.
void enter(void* given) {
  Region& region = *static_cast<Region*>(given);
  const int member = region.openmp->thread_num();
  if (region.openmp->num_threads() < region.size) return;
  if (member == 0) region.ran = true;
  if (member < region.size) region.job(member);
}

}  // namespace

bool use_openmp_of(const char* path) {
  if (fork_generation() != 0) return false;
  void* library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return false;
  OpenMP found{};
  const bool complete = find(library, "GOMP_parallel", found.parallel) &&
                        find(library, "omp_get_thread_num", found.thread_num) &&
                        find(library, "omp_get_num_threads", found.num_threads) &&
                        find(library, "omp_get_max_threads", found.max_threads) &&
                        find(library, "omp_in_parallel", found.in_parallel) &&
                        find(library, "omp_get_dynamic", found.dynamic);
  // `library` stays open, and what was found is never freed: calls may be using it.
  if (!complete) return false;
  found.owner = pthread_self();
  runtime.store(new OpenMP(found));
  return true;
}

int openmp_threads() noexcept {
  const OpenMP* openmp = runtime.load();
  if (!openmp || fork_generation() != 0 || !pthread_equal(openmp->owner, pthread_self())) return 0;
  if (openmp->in_parallel() || openmp->dynamic()) return 0;
  const int threads = openmp->max_threads();
  return threads <= get_num_threads() ? threads : 0;
}

bool run_on_openmp(int size, const Job& job) noexcept {
  const OpenMP* openmp = runtime.load();
  Region region{openmp, size, job};
  openmp->parallel(enter, &region, static_cast<unsigned>(openmp->max_threads()), 0);
  return region.ran;
}

}  // namespace cellgate
