// What this machine can do at most: multiply-adds per second, and bytes read per second.
// Compiled on demand and called through ctypes by machine.py; no part of the package.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

// The loops of one instruction set. `fma` returns the operations of `rounds` rounds; `read` reads
// `bytes`, a multiple of 4 KiB, once.
struct Isa {
  const char* name;
  bool (*supported)();
  double (*fma)(long rounds);
  void (*read)(const char* memory, std::size_t bytes, int streams, std::size_t ahead);
};

// MULTIPLY_ADDS independent chains hide the latency of 4 or 5 cycles on two ports and still leave
// registers for both operands on 16 of them. The empty asm makes each value unknown to the
// compiler. Reading goes in `streams` places at once, for that many prefetchers of the hardware,
// and asks for what lies `ahead` bytes further, unless that is 0: machine.py takes the best.
#define MULTIPLY_ADDS 12
#define LOOPS(NAME, TARGET, VECTOR, SPLAT, MULTIPLY_ADD, LOAD, REGISTER)                            \
  TARGET double fma_##NAME(long rounds) {                                                           \
    VECTOR sums[MULTIPLY_ADDS];                                                                     \
    VECTOR factor = SPLAT(0.5F), summand = SPLAT(0.25F);                                            \
    _Pragma("GCC unroll 12") for (VECTOR & sum : sums) sum = SPLAT(1.0F);                           \
    for (long round = 0; round < rounds; ++round) {                                                 \
      _Pragma("GCC unroll 12") for (VECTOR & sum : sums) {                                          \
        sum = MULTIPLY_ADD(sum, factor, summand);                                                   \
        asm volatile("" : "+" REGISTER(sum));                                                       \
      }                                                                                             \
    }                                                                                               \
    return 2.0 * sizeof(VECTOR) / sizeof(float) * MULTIPLY_ADDS * rounds;                           \
  }                                                                                                 \
  template <int Streams, bool Ahead>                                                                \
  TARGET void read_##NAME(const char* memory, std::size_t bytes, std::size_t ahead) {               \
    const std::size_t part = bytes / Streams;                                                       \
    for (std::size_t at = 0; at < part; at += 256) {                                                \
      _Pragma("GCC unroll 8") for (int stream = 0; stream < Streams; ++stream) {                    \
        const char* from = memory + stream * part + at;                                             \
        if (Ahead) {                                                                                \
          for (int line = 0; line < 256; line += 64) __builtin_prefetch(from + ahead + line, 0, 2); \
        }                                                                                           \
        _Pragma("GCC unroll 16") for (unsigned i = 0; i < 256; i += sizeof(VECTOR)) {               \
          VECTOR value = LOAD((const float*)(from + i));                                            \
          asm volatile("" : : REGISTER(value));                                                     \
        }                                                                                           \
      }                                                                                             \
    }                                                                                               \
  }                                                                                                 \
  void read_any_##NAME(const char* memory, std::size_t bytes, int streams, std::size_t ahead) {     \
    if (streams == 1 && !ahead) read_##NAME<1, false>(memory, bytes, ahead);                        \
    if (streams == 1 && ahead) read_##NAME<1, true>(memory, bytes, ahead);                          \
    if (streams == 4 && !ahead) read_##NAME<4, false>(memory, bytes, ahead);                        \
    if (streams == 4 && ahead) read_##NAME<4, true>(memory, bytes, ahead);                          \
  }

#if defined(__x86_64__)
#define SSE_MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f")))
LOOPS(avx512, AVX512, __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_load_ps, "v")
LOOPS(avx2, AVX2, __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_load_ps, "x")
LOOPS(baseline, , __m128, _mm_set1_ps, SSE_MULTIPLY_ADD, _mm_load_ps, "x")

const Isa isas[] = {
    {"avx512", [] { return bool(__builtin_cpu_supports("avx512f")); }, fma_avx512, read_any_avx512},
    {"avx2", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }, fma_avx2,
     read_any_avx2},
    {"baseline", [] { return true; }, fma_baseline, read_any_baseline},
};
#elif defined(__aarch64__)
#define NEON_MULTIPLY_ADD(a, b, c) vfmaq_f32(c, a, b)
LOOPS(neon, , float32x4_t, vdupq_n_f32, NEON_MULTIPLY_ADD, vld1q_f32, "w")

const Isa isas[] = {{"neon", [] { return true; }, fma_neon, read_any_neon}};
#else
#error "probe.cpp knows x86-64 and aarch64 only"
#endif

const Isa* find(const char* name) {
  for (const Isa& isa : isas)
    if (!std::strcmp(isa.name, name) && isa.supported()) return &isa;
  return nullptr;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds that `threads` threads take for `work(thread)` when they start together.
template <class Work>
double together(int threads, Work work) {
  std::atomic<int> ready{0};
  std::vector<double> begin(threads), end(threads);
  auto run = [&](int thread) {
    ready.fetch_add(1);
    while (ready.load() < threads) std::this_thread::yield();
    begin[thread] = now();
    work(thread);
    end[thread] = now();
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  for (std::thread& other : others) other.join();
  return *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
}

}  // namespace

extern "C" {

// 1 if this CPU has it, else 0.
int probe_supported(const char* isa) { return find(isa) != nullptr; }

// Float operations per second of all threads together; the best of `trials` of `seconds` each.
double probe_fma(const char* name, int threads, int trials, double seconds) {
  const Isa* isa = find(name);
  if (!isa) return 0.0;
  const double once = together(1, [&](int) { isa->fma(10000); });
  const long rounds = std::max(1L, long(10000 * seconds / once));
  double best = 0.0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> done(threads);
    const double took = together(threads, [&](int thread) { done[thread] = isa->fma(rounds); });
    double sum = 0.0;
    for (double operations : done) sum += operations;
    best = std::max(best, sum / took);
  }
  return best;
}

// Bytes per second of all threads together, each reading its share of `bytes` over and over; the
// best of `trials` of `seconds` each. 0 if there is no memory for it.
double probe_read(const char* name, int threads, int trials, double seconds, std::size_t bytes, int streams,
                  std::size_t ahead) {
  const Isa* isa = find(name);
  if (!isa) return 0.0;
  const std::size_t page = 4096, huge = std::size_t(2) << 20;
  const std::size_t share = std::max(page, bytes / threads / page * page);
  std::vector<char*> memory(threads, nullptr);
  bool complete = true;
  for (char*& own : memory) {
    const std::size_t align = share < huge ? page : huge;
    own = static_cast<char*>(std::aligned_alloc(align, (share + align - 1) / align * align));
    if (!own) {
      complete = false;
      break;
    }
#if defined(__linux__)
    if (share >= huge) madvise(own, share, MADV_HUGEPAGE);
#endif
    std::memset(own, 1, share);
  }
  double best = 0.0;
  if (complete) {
    auto read = [&](int thread, long passes) {
      for (long pass = 0; pass < passes; ++pass) isa->read(memory[thread], share, streams, ahead);
    };
    together(threads, [&](int thread) { read(thread, 1); });
    const long few = std::max<long>(1, (1 << 20) / share);
    const double once = together(1, [&](int) { read(0, few); }) / few;
    const long passes = std::max(1L, long(seconds / once));
    for (int trial = 0; trial < trials; ++trial) {
      const double took = together(threads, [&](int thread) { read(thread, passes); });
      best = std::max(best, double(share) * threads * passes / took);
    }
  }
  for (char* own : memory) std::free(own);
  return best;
}
}
