// How many threads a call of this process may use. Used by the rest of threads and by bindings.
#pragma once

namespace cellgate {

constexpr int kMaxThreads = 1024;

// CPUs this process may run on: affinity mask and cgroup quota considered. At least 1.
int usable_cpus();

// Upper bound on the threads of one call of the process's executor. Initially CELLGATE_NUM_THREADS, else
// usable_cpus(). Both throw std::invalid_argument if that variable is no number from 1 to kMaxThreads.
int get_num_threads();
void set_num_threads(int count);  // 1 <= count <= kMaxThreads, or std::invalid_argument

}  // namespace cellgate
