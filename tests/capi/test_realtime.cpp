// The promise to real-time threads, watched from outside while 10^5 calls run: a call of malloc, free or
// pthread aborts, the kernel kills at any system call, and no page fault is counted. Each watch is first
// shown to work. The caller's floating-point mode has no influence and is afterwards as it was.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cfenv>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <limits>

#include "common.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

// ---- watch 1: malloc and pthread ---------------------------------------------------------------

namespace {

volatile bool watching = false;

void seen(const char* what) {
  if (!watching) return;
  watching = false;
  const auto ignored = write(2, what, std::strlen(what));
  static_cast<void>(ignored);
  std::abort();
}

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t bytes) { return seen("malloc\n"), __libc_malloc(bytes); }
void* calloc(std::size_t count, std::size_t bytes) { return seen("calloc\n"), __libc_calloc(count, bytes); }
void* realloc(void* memory, std::size_t bytes) { return seen("realloc\n"), __libc_realloc(memory, bytes); }
void* memalign(std::size_t to, std::size_t bytes) { return seen("memalign\n"), __libc_memalign(to, bytes); }
void* aligned_alloc(std::size_t to, std::size_t bytes) { return memalign(to, bytes); }
void free(void* memory) {
  seen("free\n");
  __libc_free(memory);
}

#define WATCHED(name, parameters, arguments)               \
  int name parameters {                                    \
    seen(#name "\n");                                      \
    static auto* const real = next<int parameters>(#name); \
    return real arguments;                                 \
  }
WATCHED(pthread_mutex_lock, (pthread_mutex_t * m), (m))
WATCHED(pthread_mutex_trylock, (pthread_mutex_t * m), (m))
WATCHED(pthread_mutex_unlock, (pthread_mutex_t * m), (m))
WATCHED(pthread_cond_signal, (pthread_cond_t * c), (c))
WATCHED(pthread_cond_broadcast, (pthread_cond_t * c), (c))
WATCHED(pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t* m), (c, m))
WATCHED(pthread_once, (pthread_once_t * o, void (*f)()), (o, f))
WATCHED(pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l))
WATCHED(pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l))
WATCHED(pthread_create, (pthread_t * t, const pthread_attr_t* a, void* (*f)(void*), void* d), (t, a, f, d))
}

namespace {

// ---- watch 2: system calls ---------------------------------------------------------------------

// From here on every system call but exit_group and getrusage kills the process.
void forbid_system_calls() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrusage, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof filter / sizeof *filter, filter};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "this system has no seccomp filters");
}

// ---- watch 3: page faults ----------------------------------------------------------------------

long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

// The code of this program itself: in the order of pages, so that the watch counts what the library does.
void touch_own_code() {
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void*) {
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto& segment = object->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD) continue;
          const auto* begin = reinterpret_cast<const volatile char*>(object->dlpi_addr + segment.p_vaddr);
          for (std::size_t at = 0; at < segment.p_memsz; at += 4096) static_cast<void>(begin[at]);
        }
        return 1;  // the first object is the program
      },
      nullptr);
}

// Exit status or signal of what prepare() returns, in a child under all three watches; page faults make the
// status 3. prepare() runs in the child too, before: after a fork the first write to each page is a fault.
template <class Prepare>
int watched(const Prepare& prepare) {
  const pid_t child = fork();
  CHECK(child >= 0, "fork");
  if (child == 0) {
    char touched[64 * 1024];  // what a call may use of the stack
    std::memset(touched, 1, sizeof touched);
    watching = false;  // its page too
    __asm__ volatile("" : : "r"(touched) : "memory");
    touch_own_code();
    page_faults();
    auto run = prepare();
    forbid_system_calls();
    const long before = page_faults();
    watching = true;
    const bool passed = run();
    watching = false;
    _exit(!passed ? 2 : page_faults() != before ? 3 : 0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child, "waitpid");
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void check_watches() {
  CHECK(watched([] { return [] { return true; }; }) == 0, "nothing at all");
  CHECK(watched([] { return [] { return false; }; }) == 2, "a wrong result");
  const int saved = dup(2), null = open("/dev/null", O_WRONLY);
  dup2(null, 2);
  const int allocating = watched([] {
    return [] {
      void* volatile memory = std::malloc(10);
      std::free(memory);
      return true;
    };
  });
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  const int locking = watched([] { return [] { return pthread_mutex_lock(&mutex) == 0; }; });
  dup2(saved, 2);
  // The watch writes and aborts, which are system calls themselves.
  CHECK(allocating < 0, "an allocation gives %d", allocating);
  CHECK(locking < 0, "a lock gives %d", locking);
  const int calling = watched([] { return [] { return syscall(SYS_getppid) > 0; }; });
  CHECK(calling == -SIGSYS, "a system call gives %d", calling);
  static auto* fresh = static_cast<volatile char*>(std::aligned_alloc(4096, std::size_t{64} << 20));
  const int faulting = watched([] { return [] { return (fresh[std::size_t{60} << 20] = 1) == 1; }; });
  CHECK(faulting == 3, "a page fault gives %d", faulting);
}

// ---- signals -----------------------------------------------------------------------------------

// Noise, silence, subnormal numbers, infinity and NaN, silence: of `count` numbers.
template <class S>
std::vector<S> signal_of(std::size_t count) {
  test::Random random(5);
  std::vector<S> x(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t part = i * 10 / count;
    x[i] = part < 4 ? random.number<S>() : S(0);
    if (part == 6) x[i] = random.number<S>() * std::numeric_limits<S>::min();
    if (part == 8 && i % 7 == 0) x[i] = i % 2 ? std::numeric_limits<S>::infinity() : std::nan("");
  }
  return x;
}

// ---- what is watched ---------------------------------------------------------------------------

constexpr std::size_t kMostFrames = 100;

template <class S>
struct Watched {
  cg_stream* stream;
  std::size_t inputs, outputs;
  std::vector<S> x, y, state;
  std::vector<const S*> in;
  std::vector<S*> out;

  Watched(cg_model* model, cg_stream* made) : stream(made) {
    cg_info info{};
    info.struct_size = sizeof info;
    CHECK(cg_model_get_info(model, &info, nullptr) == CG_OK, "info");
    inputs = static_cast<std::size_t>(info.input_size);
    outputs = static_cast<std::size_t>(info.output_size);
    x = signal_of<S>(4096 * inputs);
    y.resize(kMostFrames * outputs);
    std::size_t count = 0;
    CHECK(cg_stream_state_count(stream, &count, nullptr) == CG_OK, "count");
    state.resize(count);
    for (std::size_t i = 0; i < inputs; ++i) in.push_back(x.data() + i * kMostFrames);
    for (std::size_t j = 0; j < outputs; ++j) out.push_back(y.data() + j * kMostFrames);
  }

  // `calls` calls of everything that is promised, most of them process.
  bool run(long calls) {
    constexpr std::size_t kFrames[] = {1, 1, 1, 2, 7, 1, 64, 1, 16, 1, 65, 1, kMostFrames};
    cg_error error;
    std::size_t at = 0;
    bool fine = true;
    for (long call = 0; call < calls; ++call) {
      const std::size_t frames = kFrames[call % 13];
      if (at + frames > 4096) at = 0;
      fine &= test::process(stream, x.data() + at * inputs, y.data(), frames, &error) == CG_OK;
      at += frames;
      if (call % 5 == 0) fine &= test::process_planar(stream, in.data(), out.data(), frames, &error) == CG_OK;
      if (call % 101 == 0) fine &= test::get_state(stream, state.data(), state.size()) == CG_OK;
      if (call % 103 == 0) fine &= test::set_state(stream, state.data(), state.size()) == CG_OK;
      if (call % 1009 == 0) fine &= cg_stream_reset(stream, &error) == CG_OK;
      if (call % 107 == 0) {  // failing calls too
        fine &= test::process(stream, static_cast<const S*>(nullptr), y.data(), 1, &error) != CG_OK;
        fine &=
            test::set_state(stream, state.data(), 0) != CG_OK && cg_stream_reset(nullptr, &error) != CG_OK;
      }
    }
    return fine;
  }
};

// In memory of the caller's if `placed`.
cg_stream* make_stream(cg_model* model, bool placed) {
  cg_stream* stream = nullptr;
  if (!placed) {
    CHECK(cg_stream_create(model, &stream, nullptr) == CG_OK, "create");
    return stream;
  }
  std::size_t bytes = 0;
  CHECK(cg_stream_size(model, &bytes, nullptr) == CG_OK, "size");
  void* memory = std::aligned_alloc(CG_STREAM_ALIGNMENT, (bytes + 63) / 64 * 64);
  CHECK(cg_stream_init(model, memory, bytes, &stream, nullptr) == CG_OK, "init");
  return stream;
}

template <class S>
void check_stream(const char* name, const test::Sizes& sizes, long calls, const char* isa) {
  for (const bool placed : {false, true}) {
    const int status = watched([&] {
      const test::Described<S> described(sizes);
      cg_model_options options{};
      options.struct_size = sizeof options;
      options.isa = isa;
      cg_model* model = described.create(&options);
      return [watch = Watched<S>(model, make_stream(model, placed)), calls]() mutable {
        return watch.run(calls / 2);
      };
    });
    CHECK(status == 0, "%s on %s: %s %d", name, isa ? isa : "the best", status < 0 ? "signal" : "status",
          status);
  }
}

template <class S>
void check_floating_mode() {
  const test::Described<S> described({2, 17, 2, 0, false, 3, CG_SOFTMAX, CG_POOL_NONE, true});
  cg_model* model = described.create();
  const std::vector<S> x = signal_of<S>(200);
  std::vector<S> wanted(300), y(300);
  for (const int rounding : {FE_TONEAREST, FE_UPWARD, FE_TOWARDZERO}) {
    cg_stream* stream = nullptr;
    CHECK(cg_stream_create(model, &stream, nullptr) == CG_OK, "create");
    std::fesetround(rounding);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() & ~0x8040u &
               ~0x1000u);  // subnormals are not flushed, and inexact results trap not
    _mm_setcsr(_mm_getcsr() | 0x1000u);
    const unsigned before = _mm_getcsr();
#endif
    const cg_status status = test::process(stream, x.data(), y.data(), 100);
#if defined(__x86_64__)
    const unsigned after = _mm_getcsr();
    CHECK(after == before, "the mode was %x and is %x", before, after);
#endif
    CHECK(std::fegetround() == rounding && status == CG_OK, "the rounding was changed");
    std::fesetround(FE_TONEAREST);
    if (rounding == FE_TONEAREST) wanted = y;
    CHECK(std::memcmp(wanted.data(), y.data(), y.size() * sizeof(S)) == 0,
          "bits depend on the caller's mode");
    cg_stream_destroy(stream);
  }
  cg_model_release(model);
}

}  // namespace

int main() {
  check_watches();
  check_floating_mode<float>();
  check_floating_mode<double>();
  check_stream<float>("audio", {1, 8, 1, 0, false, 1, CG_LINEAR, CG_POOL_NONE, false, true, 1.0, 0.5, 2.0},
                      100000, nullptr);
  for (const char* isa : {"avx512", "avx2", "baseline", "neon"}) {
    const char* active = nullptr;
    cg_model* model = nullptr;
    cg_model_options options{};
    options.struct_size = sizeof options;
    options.isa = isa;
    const test::Described<float> described({});
    if (cg_model_create(&described.description, &options, &model, nullptr) != CG_OK) continue;
    cg_model_release(model);
    CHECK(cg_active_isa(&active, nullptr) == CG_OK, "isa");
    check_stream<float>("audio", {1, 40, 1, 0, false, 1, CG_LINEAR, CG_POOL_NONE, false, false, 1.0}, 10000,
                        isa);
    check_stream<float>("a classifier", {7, 33, 2, 0, false, 5, CG_SOFTMAX, CG_POOL_MEAN, true, true}, 4000,
                        isa);
    check_stream<float>("projections", {3, 20, 2, 5, false, 3, CG_SIGMOID, CG_POOL_NONE, true}, 4000, isa);
    check_stream<float>("no head", {20, 130, 1, 0, false, 0, CG_LINEAR, CG_POOL_LAST}, 1000, isa);
    check_stream<double>("float64", {2, 24, 3, 0, false, 2, CG_TANH, CG_POOL_NONE, false, true, 0.5}, 4000,
                         isa);
    check_stream<double>("float64, projections", {1, 9, 1, 4, false, 70, CG_RELU}, 4000, isa);
    std::printf("real-time: passed on %s\n", isa);
  }
}
