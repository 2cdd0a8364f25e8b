// The threads of an OpenMP runtime that the process has loaded already. Used by executor.cpp and
// module.cpp.
//
// After a parallel region such a runtime lets its threads spin for milliseconds. A pool of our own would have
// to share the cores with them; a call that follows one of the other library's runs on the same threads. A
// runtime keeps a team for each thread that enters regions, so only the thread that called use_openmp_of()
// uses it; all others have our own pool.
#pragma once

#include "threads/executor.hpp"

namespace cellgate {

// From now on this thread uses the runtime that the library at `path`, loaded before, is linked to. False:
// there is none, or this process is a child made by fork, where the runtime's threads are missing.
bool use_openmp_of(const char* path);

// The threads that a region would have here; 0 if it must not be entered: on another thread, in a child
// made by fork, inside another region, or if the runtime is set to more than get_num_threads().
int openmp_threads() noexcept;

// Runs job for every member in [0, size), all at once; size is at most openmp_threads(). False, and nothing
// was run, if the runtime gave fewer threads. The first region of a runtime ends the process if the system
// has no threads to give.
bool run_on_openmp(int size, const Job& job) noexcept;

}  // namespace cellgate
