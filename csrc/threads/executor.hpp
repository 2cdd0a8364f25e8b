// Where a call gets its threads. Handed to forward() and backward() by bindings and capi, and to a stream
// when it is made; run asks it for threads through a Lease.
#pragma once

namespace cellgate {

// What each member of a team calls: call(data, member), for every member in [0, size) at once.
struct Job {
  void (*call)(void*, int);
  void* data;
  void operator()(int member) const { call(data, member); }
};

// Implementations: CallerAlone below; Pool (pool.hpp), whose threads belong to its owner; and
// default_executor(), the one of the process.
class Executor {
 public:
  virtual ~Executor() = default;

  // Upper bound on the threads of one call, the caller's own included. At least 1.
  virtual int limit() const noexcept = 0;

 protected:
  friend class Lease;
  // How many threads a call that wants `wanted` gets, the caller's own included. If none but that one is
  // free, or can be started, or pays because others take the cores, that is 1. 0: as 1, without release().
  virtual int acquire(int wanted, bool whatever_the_load) noexcept = 0;
  // Between acquire() and release(): runs the job and returns when all members have; 1 < size <= acquired.
  // `even`: the members have equally much to do, so that one that is late was kept from it by others.
  virtual void run(int size, const Job& job, bool even) noexcept = 0;
  virtual void release() noexcept = 0;
};

// Runs everything on the thread that calls; takes no lock, no memory and makes no system call.
class CallerAlone final : public Executor {
 public:
  int limit() const noexcept override { return 1; }

 protected:
  int acquire(int, bool) noexcept override { return 0; }
  void run(int size, const Job& job, bool) noexcept override {
    for (int member = 0; member < size; ++member) job(member);
  }
  void release() noexcept override {}
};

// The process's own: the threads of another library where use_openmp_of() found them (openmp.hpp), else a
// pool that is made on first use and anew after fork; at most get_num_threads() of them. Throws
// std::invalid_argument if CELLGATE_NUM_THREADS is no such number.
Executor& default_executor();

// The right of one call to run jobs on up to size() threads of an executor.
class Lease {
 public:
  // `whatever_the_load`: take the threads even if others were seen to take the cores.
  Lease(Executor& executor, int wanted, bool whatever_the_load = false)
      : executor_(executor), acquired_(wanted > 1 ? executor.acquire(wanted, whatever_the_load) : 0) {}
  ~Lease() {
    if (acquired_ > 0) executor_.release();
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  int size() const { return acquired_ > 1 ? acquired_ : 1; }

  // Calls job(member) for every member in [0, size) at once, and returns when all have returned.
  template <class F>
  void run(int size, F& job, bool even = true) noexcept {
    if (size <= 1) return job(0);
    executor_.run(size, {[](void* data, int member) { (*static_cast<F*>(data))(member); }, &job}, even);
  }

 private:
  Executor& executor_;
  const int acquired_;
};

}  // namespace cellgate
