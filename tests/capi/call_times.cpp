// Prints how long calls of process take, by what they are given: the slowest kind of signal over the median
// call. Wanted within 1.2, of a quiet core; not a test, for it depends on the machine. usage: call_times
// [ISA]
#include <time.h>

#include <algorithm>
#include <limits>

#include "common.hpp"

namespace {

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

enum Kind { kNoise, kLoud, kSilence, kSubnormal, kNan, kKinds };
constexpr const char* kNames[kKinds] = {"noise", "loud", "silence after sound", "subnormal", "NaN"};

float sample(Kind kind, test::Random& random) {
  const float number = random.number<float>();
  switch (kind) {
    case kLoud:
      return 1e6f * number;
    case kSilence:
      return 0;
    case kSubnormal:
      return number * std::numeric_limits<float>::min();
    case kNan:
      return std::numeric_limits<float>::quiet_NaN();
    default:
      return number;
  }
}

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

void measure(const char* isa, std::int64_t hidden, std::size_t frames) {
  constexpr int kRounds = 200, kCallsAtOnce = 50;
  const test::Described<float> described({1, hidden, 1, 0, false, 1});
  cg_model_options options{};
  options.struct_size = sizeof options;
  options.isa = isa;
  cg_model* model = described.create(&options);
  cg_stream* stream = nullptr;
  CHECK(cg_stream_create(model, &stream, nullptr) == CG_OK, "create");
  test::Random random(1);
  std::vector<float> x(frames), y(frames);
  std::vector<double> times[kKinds], all;
  for (int round = 0; round < kRounds; ++round) {
    for (int kind = 0; kind < kKinds; ++kind) {
      cg_stream_reset(stream, nullptr);
      for (float& value : x) value = sample(kNoise, random);
      for (int call = 0; call < 20; ++call) cg_stream_process(stream, x.data(), y.data(), frames, nullptr);
      for (float& value : x) value = sample(static_cast<Kind>(kind), random);
      const double begin = now();
      for (int call = 0; call < kCallsAtOnce; ++call)
        cg_stream_process(stream, x.data(), y.data(), frames, nullptr);
      times[kind].push_back((now() - begin) / kCallsAtOnce);
      all.push_back(times[kind].back());
    }
  }
  double slowest = 0;
  int of = 0;
  for (int kind = 0; kind < kKinds; ++kind) {
    if (const double time = median(times[kind]); time > slowest) slowest = time, of = kind;
  }
  std::printf("H %4lld, %3zu frames: median %9.1f ns, slowest %s: %.3f of it\n",
              static_cast<long long>(hidden), frames, median(all), kNames[of], slowest / median(all));
  cg_stream_destroy(stream);
  cg_model_release(model);
}

}  // namespace

int main(int argc, char** argv) {
  for (const std::int64_t hidden : {8, 16, 24, 40, 64, 128}) {
    for (const std::size_t frames : {std::size_t{1}, std::size_t{64}})
      measure(argc > 1 ? argv[1] : nullptr, hidden, frames);
  }
}
