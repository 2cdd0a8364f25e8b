// How many threads a call may use: affinity, quota of a container, environment, set_num_threads().
#include "threads/cpus.hpp"

#include <sched.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "kernels/dispatch.hpp"

namespace cellgate {
namespace {

int affinity_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

// The path of this process in the cgroup hierarchy that `controller` names ("" is cgroup v2).
std::string cgroup_path(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names.find("," + controller + ",") != std::string::npos) return line.substr(second + 1);
  }
  return "/";
}

// quota / period, or 0 where there is no quota. Inside a container the own group is mounted as
// the root, so both places are looked at.
double read_quota(const std::string& root, const std::string& path, bool v2) {
  for (const std::string& folder : {root + path, root}) {
    double quota = -1, period = 0;
    if (v2) {
      std::ifstream file(folder + "/cpu.max");
      if (!(file >> quota >> period)) continue;
    } else {
      std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
      if (!(quota_file >> quota) || !(period_file >> period)) continue;
    }
    if (quota > 0 && period > 0) return quota / period;
  }
  return 0;
}

int default_threads() {
  if (const char* text = std::getenv("CELLGATE_NUM_THREADS"); text && *text) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != 0 || value < 1 || value > kMaxThreads) {
      throw std::invalid_argument("CELLGATE_NUM_THREADS: must be a number from 1 to " +
                                  std::to_string(kMaxThreads) + ", got '" + printable(text) + "'");
    }
    return static_cast<int>(value);
  }
  return usable_cpus();
}

std::atomic<int>& thread_limit() {
  static std::atomic<int> limit{default_threads()};
  return limit;
}

}  // namespace

int usable_cpus() {
  double cpus = affinity_cpus();
  for (const double quota : {read_quota("/sys/fs/cgroup", cgroup_path(""), true),
                             read_quota("/sys/fs/cgroup/cpu", cgroup_path("cpu"), false)}) {
    if (quota > 0 && quota < cpus) cpus = std::ceil(quota);
  }
  return cpus < 1 ? 1 : static_cast<int>(cpus);
}

int get_num_threads() { return thread_limit().load(); }

void set_num_threads(int count) {
  if (count < 1 || count > kMaxThreads) {
    throw std::invalid_argument("num_threads: must be from 1 to " + std::to_string(kMaxThreads) + ", got " +
                                std::to_string(count));
  }
  thread_limit().store(count);
}

}  // namespace cellgate
