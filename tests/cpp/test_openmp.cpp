// Jobs on the threads of an OpenMP runtime: every member once and at the same time, wherever it is called.
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "check.hpp"
#include "threads/barrier.hpp"
#include "threads/cpus.hpp"
#include "threads/executor.hpp"
#include "threads/openmp.hpp"

namespace {

// Members meet at a barrier, so that this ends only if all run at the same time. The threads they ran on.
std::vector<std::thread::id> run(int wanted) {
  cellgate::Lease lease(cellgate::default_executor(), wanted, true);
  std::vector<std::thread::id> ran(static_cast<std::size_t>(lease.size()));
  cellgate::Barrier barrier;
  auto job = [&](int member) {
    barrier.wait(lease.size());
    ran[static_cast<std::size_t>(member)] = std::this_thread::get_id();
    barrier.wait(lease.size());
  };
  lease.run(lease.size(), job);
  CHECK(lease.size() == wanted, "%d of %d threads", lease.size(), wanted);
  return ran;
}

bool on_openmp(const std::vector<std::thread::id>& threads) {
  std::vector<std::thread::id> team(threads.size());
#pragma omp parallel
  if (omp_get_thread_num() < static_cast<int>(team.size())) {
    team[static_cast<std::size_t>(omp_get_thread_num())] = std::this_thread::get_id();
  }
  return team == threads;
}

// Without regard to `wanted` threads of ours, a call has no more than the runtime's. It has fewer while the
// machine is crowded, which passes while calls run.
void check_no_more_than_openmp(int wanted, int others) {
  for (int round = 0; round < 5000; ++round) {
    cellgate::Lease lease(cellgate::default_executor(), wanted);
    CHECK(lease.size() <= others, "%d threads beside OpenMP's %d", lease.size(), others);
    if (lease.size() == others) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(false, "never on all threads of OpenMP's");
}

int status_of(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace

int main() {
  omp_set_dynamic(0);
  omp_set_num_threads(3);
  cellgate::set_num_threads(3);
  CHECK(!cellgate::use_openmp_of("no such library"), "a library that is not there was found");
  CHECK(!on_openmp(run(3)), "an OpenMP runtime was used before it was asked for");
  const pid_t early = fork();
  if (early == 0) _exit(cellgate::use_openmp_of("libgomp.so.1") ? 1 : 0);
  CHECK(status_of(early) == 0, "a child must not use its parent's OpenMP threads");

  CHECK(cellgate::use_openmp_of("libgomp.so.1"), "libgomp.so.1 was not found");
  for (int round = 0; round < 200; ++round) {
    CHECK(on_openmp(run(2 + round % 2)), "not on OpenMP's threads");
  }
  CHECK(!on_openmp(run(4)), "on more threads than OpenMP is set to");
  cellgate::set_num_threads(4);
  check_no_more_than_openmp(4, 3);
  cellgate::set_num_threads(2);
  CHECK(!on_openmp(run(2)), "OpenMP is set to more threads than are allowed");
  cellgate::set_num_threads(3);
  std::thread([] { CHECK(!on_openmp(run(2)), "another thread got a team of its own"); }).join();
  std::vector<std::thread::id> nested;
#pragma omp parallel num_threads(2)
  {
    CHECK(cellgate::openmp_threads() == 0, "a region inside a region");
#pragma omp critical
    if (omp_get_thread_num() == 0) nested = run(2);
  }
  CHECK(nested.size() == 2, "not run");
  const pid_t child = fork();
  if (child == 0) {
    const int threads = cellgate::openmp_threads();
    run(2);
    _exit(threads);
  }
  CHECK(status_of(child) == 0, "a child must not use its parent's OpenMP threads");
  return 0;
}
