// Executors and their jobs; many callers of one model at once, with the pool and without; barriers; fork.
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include <map>
#include <set>
#include <thread>

#include "model_cases.hpp"
#include "threads/barrier.hpp"
#include "threads/cpus.hpp"
#include "threads/plan.hpp"
#include "threads/pool.hpp"

namespace {

constexpr bool kAnyLoad = true;  // of a Lease: take the threads even if other programs take the cores

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

// The threads on which a job's members ran, who meet, so that this ends only if all run at the same time.
std::vector<std::thread::id> run_members(cellgate::Lease& lease, int size) {
  std::vector<std::thread::id> ran(static_cast<std::size_t>(size));
  cellgate::Barrier barrier;
  auto job = [&](int member) {
    barrier.wait(size);
    CHECK(ran[static_cast<std::size_t>(member)] == std::thread::id(), "member %d ran twice", member);
    ran[static_cast<std::size_t>(member)] = std::this_thread::get_id();
    barrier.wait(size);
  };
  lease.run(size, job);
  return ran;
}

void check_jobs(cellgate::Executor& executor) {
  for (int round = 0; round < 500; ++round) {
    const int wanted = 1 + round % 5;
    cellgate::Lease lease(executor, wanted, kAnyLoad);
    CHECK(lease.size() == wanted, "%d threads of %d", lease.size(), wanted);
    for (int size = 1; size <= wanted; ++size) {
      const std::vector<std::thread::id> ran = run_members(lease, size);
      CHECK(ran[0] == std::this_thread::get_id(), "the caller is not member 0");
      CHECK(std::set<std::thread::id>(ran.begin(), ran.end()).size() == static_cast<std::size_t>(size),
            "members shared a thread");
    }
    cellgate::Lease second(executor, wanted, kAnyLoad);
    CHECK(second.size() == 1, "threads were lent twice");
    run_members(second, 1);
  }
}

// Pools that a caller of the core makes: of the size asked for, their threads end with them.
void check_own_pools() {
  for (int limit = 1; limit <= 3; ++limit) {
    cellgate::Pool pool(limit), unused(limit);
    CHECK(pool.limit() == limit, "limit %d", pool.limit());
    cellgate::Lease lease(pool, 3, kAnyLoad);
    CHECK(lease.size() == limit, "%d threads of a pool of %d", lease.size(), limit);
    run_members(lease, limit);
  }
  cellgate::CallerAlone alone;
  cellgate::Lease lease(alone, 8, kAnyLoad);
  CHECK(alone.limit() == 1 && lease.size() == 1, "%d threads for a caller alone", lease.size());
}

// A pool of four that counts on how many threads its jobs ran.
class CountingPool final : public cellgate::Pool {
 public:
  CountingPool() : Pool(4) {}
  void run(int size, const cellgate::Job& job, bool even) noexcept override {
    ++jobs[size];
    Pool::run(size, job, even);
  }
  std::map<int, int> jobs;  // of each size; one call at a time has the pool
};

void check_callers(const test::Case& k, cellgate::Executor& executor) {
  const auto model = test::make_model<float>(k.config, 1, cellgate::active_kernel_table());
  const test::Input<float> in(k, 2);
  cellgate::Scratch scratch;
  cellgate::CallerAlone one;
  const std::uint64_t alone = test::digest(test::run(k, model, in, scratch, one));
  const auto check = [&](cellgate::Scratch& own) {
    CHECK(test::digest(test::run(k, model, in, own, executor)) == alone, "%s", k.name);
  };
  check(scratch);
  std::vector<std::thread> threads;
  for (int caller = 0; caller < 6; ++caller) {
    threads.emplace_back([&] {
      cellgate::Scratch own;
      for (int round = 0; round < 20; ++round) check(own);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void check_split(cellgate::Split split, const char* name) {
  cellgate::set_split(split);
  std::map<int, int> cases;  // how many had a job on so many threads
  for (const test::Case& k : test::cases()) {
    if (k.config.hidden_size > 300) continue;  // the wide ones add time, not threads
    CountingPool pool;
    const bool shared = split == cellgate::Split::kAuto;
    check_callers(k, shared ? cellgate::default_executor() : pool);
    for (const auto& [size, jobs] : pool.jobs) cases[size] += jobs > 0;
  }
  // The cost model gives such small work few threads or one, and none while others take the cores.
  if (split != cellgate::Split::kAuto) CHECK(cases[4] >= 3, "%s: only %d cases on 4 threads", name, cases[4]);
}

#if !defined(__SANITIZE_THREAD__)  // ThreadSanitizer cannot start threads in a child of a threaded process
int status_of(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

void check_fork(cellgate::Executor& executor, const char* name) {
  const test::Case k = test::cases()[7];
  const auto model = test::make_model<float>(k.config, 1, cellgate::active_kernel_table());
  const test::Input<float> in(k, 2);
  cellgate::Scratch scratch;
  const std::uint64_t before = test::digest(test::run(k, model, in, scratch, executor));
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(test::digest(test::run(k, model, in, scratch, executor)) == before ? 0 : 1);
  CHECK(test::digest(test::run(k, model, in, scratch, executor)) == before, "%s: parent after fork", name);
  const int status = status_of(child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: child after fork: status %d", name, status);
}

// In a child the process's executor has threads again; a pool that was made before has none, and can be
// destroyed.
void check_threads_of_a_child() {
  auto* own = new cellgate::Pool(3);
  {
    cellgate::Lease lease(*own, 3, kAnyLoad);
    run_members(lease, lease.size());
  }
  const pid_t child = fork();
  if (child == 0) {
    check_jobs(cellgate::default_executor());
    {
      cellgate::Lease lease(*own, 3, kAnyLoad);
      if (lease.size() != 1) _exit(1);
      run_members(lease, 1);
    }
    delete own;
    _exit(0);
  }
  const int status = status_of(child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status %d", status);
  delete own;
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
// A caller alone makes no system call once its memory is there: the kernel ends a process that makes one.
const char* check_system_calls() {
  const test::Case k = test::cases()[7];
  const auto model = test::make_model<float>(k.config, 1, cellgate::active_kernel_table());
  const test::Input<float> in(k, 2);
  std::vector<float> y(in.x.size() * 64), h = in.h0, c = in.c0;
  cellgate::ForwardArgs<float> args;
  args.steps = k.steps;
  args.batch = k.batch;
  args.x = {in.x.data(), k.batch * k.config.input_size, k.config.input_size, nullptr};
  args.h0 = in.h0.data();
  args.c0 = in.c0.data();
  const std::int64_t width = k.config.directions() * k.config.output_size();
  args.y = {y.data(), k.batch * width, width, nullptr};
  args.h_n = h.data();
  args.c_n = c.data();
  cellgate::Scratch scratch;
  cellgate::CallerAlone alone;
  forward(model, args, scratch, alone);
  const pid_t child = fork();
  if (child == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(2);
    forward(model, args, scratch, alone);
    syscall(SYS_exit, 0);
  }
  const int status = status_of(child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return " (without seccomp: system calls not watched)";
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "system calls: status %d", status);
  return "";
}
#else
const char* check_system_calls() { return " (sanitised: system calls not watched)"; }
#endif
#endif

}  // namespace

// With --no-fork leaves the forks out: the emulator of another processor cannot fork a process that
// has threads.
int main(int argc, char**) {
  const bool forks = argc == 1;
  const char* left_out = forks ? "" : " (fork not run)";
  check_barrier();
  check_own_pools();
  cellgate::set_num_threads(5);
  check_jobs(cellgate::default_executor());
  cellgate::set_num_threads(4);
  for (const auto& [split, name] : {std::pair{cellgate::Split::kAuto, "auto"},
                                    {cellgate::Split::kRows, "rows"},
                                    {cellgate::Split::kUnits, "units"},
                                    {cellgate::Split::kLayers, "layers"}}) {
    check_split(split, name);
#if !defined(__SANITIZE_THREAD__)
    if (!forks) continue;
    cellgate::Pool own(4);
    check_fork(cellgate::default_executor(), name);
    check_fork(own, name);
#endif
  }
#if !defined(__SANITIZE_THREAD__)
  if (forks) {
    cellgate::set_num_threads(5);
    check_threads_of_a_child();
    left_out = check_system_calls();
  }
#endif
  std::printf("threads: passed%s\n", left_out);
  return 0;
}
