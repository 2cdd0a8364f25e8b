// Microseconds per sample of one LSTM layer with one input and a linear head with one output, for cellgate
// and for the libraries that shared objects given on the command line wrap (contender.h says how). usage:
// step_times [--sizes 8,16,...] [--calls 1,64] [--rounds N] [LIBRARY.so ...]
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "contender.h"

extern const Contender kCellgate;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSignal = 4096;       // samples of the input, a multiple of every call's length
constexpr double kTurn = 150e-6;    // seconds of one turn
constexpr int kTurnsPerBlock = 40;  // of these turns, the lower decile is one measurement
constexpr double kAtRest = 100e-6;  // seconds of calls that are not timed before a turn, to fill the caches

// SplitMix64 (Steele, Lea & Flood 2014), uniform in [-scale, scale).
struct Random {
  unsigned long long state = 7;
  float number(float scale) {
    unsigned long long z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return scale * (static_cast<float>(z >> 40) / static_cast<float>(1 << 23) - 1);
  }
  std::vector<float> numbers(int count, float scale) {
    std::vector<float> v(static_cast<std::size_t>(count));
    for (float& x : v) x = number(scale);
    return v;
  }
};

struct Runner {
  const Contender* of;
  void* network;
  std::vector<double> turns;   // µs per sample, of the current block
  std::vector<double> blocks;  // lower decile of each block's turns
  int samples_per_turn = 0;
};

std::vector<int> parse_list(const char* text) {
  std::vector<int> list;
  for (const char* at = text; *at;) {
    char* end = nullptr;
    const long value = std::strtol(at, &end, 10);
    if (end == at || value < 1 || value > 4096) {
      std::fprintf(stderr, "step_times: must be integers from 1 to 4096 with commas between, got '%s'\n",
                   text);
      std::exit(2);
    }
    list.push_back(static_cast<int>(value));
    at = *end ? end + 1 : end;
  }
  return list;
}

void add_library(const char* path, std::vector<const Contender*>& all) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void* symbol = library ? dlsym(library, CONTENDERS_SYMBOL) : nullptr;
  if (!symbol) {
    std::fprintf(stderr, "step_times: %s\n", dlerror());
    std::exit(2);
  }
  ContendersFunction list = nullptr;
  std::memcpy(&list, &symbol, sizeof list);
  for (const Contender* one = list(); one->name; ++one) all.push_back(one);
}

void play(const Runner& runner, const float* in, float* out, int samples, int call) {
  for (int done = 0; done < samples; done += call) {
    const int at = done % kSignal;
    runner.of->run(runner.network, in + at, out + at, call);
  }
}

double timed(const Runner& runner, const float* in, float* out, int samples, int call) {
  const auto begin = Clock::now();
  play(runner, in, out, samples, call);
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double quantile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(at * static_cast<double>(values.size() - 1) + 0.5)];
}

// Every network is new here and its state zero. False: outputs differ by more than the contender allows.
bool check(std::vector<Runner>& runners, const std::vector<float>& in, int call) {
  std::vector<float> expected(kSignal), out(kSignal);
  play(runners[0], in.data(), expected.data(), kSignal, call);
  bool agree = true;
  for (std::size_t i = 1; i < runners.size(); ++i) {
    play(runners[i], in.data(), out.data(), kSignal, call);
    float worst = 0;
    for (int t = 0; t < kSignal; ++t) {
      const float d = std::fabs(out[static_cast<std::size_t>(t)] - expected[static_cast<std::size_t>(t)]);
      worst = d > worst || std::isnan(d) ? d : worst;
    }
    if (!(worst <= runners[i].of->tolerance)) {
      std::printf("  %s: differs by %g, allowed are %g\n", runners[i].of->name, static_cast<double>(worst),
                  static_cast<double>(runners[i].of->tolerance));
      agree = false;
    }
  }
  return agree;
}

void measure(std::vector<Runner>& runners, const std::vector<float>& in, int call, int rounds) {
  std::vector<float> out(kSignal);
  for (Runner& r : runners) {
    timed(r, in.data(), out.data(), kSignal, call);
    const double one = timed(r, in.data(), out.data(), kSignal, call) / kSignal;
    r.samples_per_turn = std::max(1, static_cast<int>(kTurn / one) / call) * call;
  }
  for (int round = 0; round < rounds; ++round) {
    for (int turn = 0; turn < kTurnsPerBlock; ++turn) {
      for (std::size_t i = 0; i < runners.size(); ++i) {
        Runner& r = runners[turn % 2 ? runners.size() - 1 - i : i];  // every second turn the other way round
        const int warm = std::max(1, static_cast<int>(r.samples_per_turn * kAtRest / kTurn) / call) * call;
        play(r, in.data(), out.data(), warm, call);
        r.turns.push_back(timed(r, in.data(), out.data(), r.samples_per_turn, call) / r.samples_per_turn *
                          1e6);
      }
    }
    for (Runner& r : runners) {
      r.blocks.push_back(quantile(r.turns, 0.1));
      r.turns.clear();
    }
  }
}

std::vector<double> ratios(const Runner& other, const Runner& ours) {
  std::vector<double> all;
  for (std::size_t b = 0; b < other.blocks.size(); ++b) all.push_back(other.blocks[b] / ours.blocks[b]);
  return all;
}

double ratio(const Runner& other, const Runner& ours) { return quantile(ratios(other, ours), 0.5); }

// Of each library, which is the first word of a contender's name, the fastest; a name with a comma does not
// count.
void add_summary(int hidden, int call, const std::vector<Runner>& runners, std::string& summary) {
  std::map<std::string, std::pair<double, std::string>> best;
  for (const Runner& r : runners) {
    const std::string name = r.of->name;
    if (&r == &runners[0] || name.find(',') != std::string::npos) continue;
    const std::pair<double, std::string> one = {ratio(r, runners[0]), name};
    const auto [at, added] = best.try_emplace(name.substr(0, name.find(' ')), one);
    if (!added) at->second = std::min(at->second, one);
  }
  char line[200];
  std::snprintf(line, sizeof line, "| %d | %d | %.3f |", hidden, call, quantile(runners[0].blocks, 0.5));
  summary += line;
  for (const auto& [library, one] : best) {
    std::snprintf(line, sizeof line, " %.2f (%s) |", one.first, one.second.c_str());
    summary += line;
  }
  summary += "\n";
}

void report(int hidden, int call, const std::vector<Runner>& runners) {
  const double ours = quantile(runners[0].blocks, 0.5);
  std::printf("%5d %5d  %-28s %8.4f\n", hidden, call, runners[0].of->name, ours);
  for (std::size_t i = 1; i < runners.size(); ++i) {
    const std::vector<double> all = ratios(runners[i], runners[0]);
    std::printf("%5d %5d  %-28s %8.4f   %6.2f [%.2f .. %.2f]\n", hidden, call, runners[i].of->name,
                quantile(runners[i].blocks, 0.5), quantile(all, 0.5), quantile(all, 0), quantile(all, 1));
  }
  std::fflush(stdout);
}

bool run_size(int hidden, const std::vector<int>& calls, int rounds, const std::vector<const Contender*>& all,
              std::string& summary) {
  Random random;
  const float scale = 1 / std::sqrt(static_cast<float>(hidden));
  const std::vector<float> w_ih = random.numbers(4 * hidden, 1), head = random.numbers(hidden, scale),
                           w_hh = random.numbers(4 * hidden * hidden, scale),
                           bias = random.numbers(4 * hidden, scale), head_bias = random.numbers(1, 1),
                           in = random.numbers(kSignal, 1);
  const ContenderWeights weights{hidden,      w_ih.data(), w_hh.data(),
                                 bias.data(), head.data(), head_bias.data()};
  bool agree = true;
  for (const int call : calls) {
    std::vector<Runner> runners;
    for (const Contender* one : all) {
      if (void* network = one->create(&weights)) runners.push_back({one, network, {}, {}});
    }
    if (runners.empty() || runners[0].of != all[0]) return false;  // cellgate has said why
    if (check(runners, in, call)) {
      measure(runners, in, call, rounds);
      report(hidden, call, runners);
      add_summary(hidden, call, runners, summary);
    } else {
      agree = false;
    }
    for (const Runner& r : runners) r.of->destroy(r.network);
  }
  return agree;
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<int> sizes = {8, 16, 24, 32, 40, 64, 80, 128}, calls = {1, 64};
  int rounds = 9;
  std::vector<const Contender*> all = {&kCellgate};
  for (int i = 1; i < argc; ++i) {
    const bool value = i + 1 < argc;
    if (!std::strcmp(argv[i], "--sizes") && value) {
      sizes = parse_list(argv[++i]);
    } else if (!std::strcmp(argv[i], "--calls") && value) {
      calls = parse_list(argv[++i]);
    } else if (!std::strcmp(argv[i], "--rounds") && value) {
      rounds = parse_list(argv[++i]).front();
    } else if (argv[i][0] == '-') {
      std::fprintf(stderr,
                   "usage: step_times [--sizes 8,16,...] [--calls 1,64] [--rounds N] [LIBRARY.so ...]\n");
      return 2;
    } else {
      add_library(argv[i], all);
    }
  }
  for (const int call : calls) {
    if (kSignal % call) {
      std::fprintf(stderr, "step_times: --calls: must divide %d, got %d\n", kSignal, call);
      return 2;
    }
  }
  std::printf(
      "CPU: %s\nµs per sample: median over %d rounds of the lower decile of %d turns of %.0f µs each, taken "
      "in turn;\nratio: other / cellgate, median [lowest .. highest] over the rounds\n\n"
      "    H  call  contender                    µs/sample   ratio\n",
      cpu_name().c_str(), rounds, kTurnsPerBlock, kTurn * 1e6);
  bool agree = true;
  std::string summary;
  for (const int hidden : sizes) agree = run_size(hidden, calls, rounds, all, summary) && agree;
  std::printf(
      "\n| H | frames a call | cellgate | ratio of each library's fastest that computes the same |\n%s",
      summary.c_str());
  return agree ? 0 : 1;
}
