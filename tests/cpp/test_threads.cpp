// Many callers of one model at once, with the pool and without; barriers under pressure; fork.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "model_cases.hpp"
#include "threads/cpus.hpp"
#include "threads/plan.hpp"

namespace {

void check_barrier() {
  constexpr int kMembers = 4, kRounds = 2000;
  cellgate::Barrier barrier;
  std::vector<int> counts(kMembers);
  std::vector<std::thread> threads;
  for (int member = 0; member < kMembers; ++member) {
    threads.emplace_back([&, member] {
      for (int round = 1; round <= kRounds; ++round) {
        counts[static_cast<std::size_t>(member)] = round;
        barrier.wait(kMembers);
        for (const int count : counts) CHECK(count == round, "barrier let a member through early");
        barrier.wait(kMembers);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void check_pool() {
  for (int round = 0; round < 500; ++round) {
    const int wanted = 1 + round % 5;
    cellgate::Lease lease(cellgate::default_executor(), wanted);
    std::vector<int> ran(static_cast<std::size_t>(lease.size()));
    auto job = [&](int member) { ++ran[static_cast<std::size_t>(member)]; };
    lease.run(lease.size(), job);
    for (const int n : ran) CHECK(n == 1, "a member ran %d times", n);
    cellgate::Lease second(cellgate::default_executor(), wanted);
    CHECK(wanted == 1 || second.size() == 1, "the pool was lent twice");
  }
}

void check_callers(const test::Case& k) {
  const auto model = test::make_model<float>(k.config, 1, cellgate::active_kernel_table());
  const test::Input<float> in(k, 2);
  cellgate::Scratch scratch;
  const std::uint64_t alone = test::digest(test::run(k, model, in, scratch));
  std::vector<std::thread> threads;
  for (int caller = 0; caller < 6; ++caller) {
    threads.emplace_back([&] {
      cellgate::Scratch own;
      for (int round = 0; round < 20; ++round)
        CHECK(test::digest(test::run(k, model, in, own)) == alone, "%s", k.name);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

#if !defined(__SANITIZE_THREAD__)  // ThreadSanitizer cannot start threads in a child of a threaded process
void check_fork() {
  const test::Case k = test::cases()[7];
  const auto model = test::make_model<float>(k.config, 1, cellgate::active_kernel_table());
  const test::Input<float> in(k, 2);
  cellgate::Scratch scratch;
  const std::uint64_t before = test::digest(test::run(k, model, in, scratch));
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(test::digest(test::run(k, model, in, scratch)) == before ? 0 : 1);
  CHECK(test::digest(test::run(k, model, in, scratch)) == before, "parent after fork");
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child after fork: status %d", status);
}

#endif

}  // namespace

// With --no-fork leaves the fork out: the emulator of another processor cannot fork a process that
// has threads.
int main(int argc, char**) {
  check_barrier();
  check_pool();
  cellgate::set_num_threads(4);
  for (const auto split :
       {cellgate::Split::kAuto, cellgate::Split::kRows, cellgate::Split::kUnits, cellgate::Split::kLayers}) {
    cellgate::set_split(split);
    for (const test::Case& k : test::cases()) {
      if (k.config.hidden_size <= 300) check_callers(k);  // the wide ones add time, not threads
    }
#if !defined(__SANITIZE_THREAD__)
    if (argc == 1) check_fork();
#endif
  }
  std::printf("threads: passed%s\n", argc == 1 ? "" : " (fork not run)");
  return 0;
}
