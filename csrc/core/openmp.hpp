// The threads of an OpenMP runtime that the process has loaded already. Called by threads.cpp.
//
// After a parallel region such a runtime lets its threads spin for milliseconds. A pool of our own would
// have to share the cores with them; a call that follows one of PyTorch's runs on the same threads.
#pragma once

namespace cellgate {

// Uses the runtime that the library at `path`, loaded before, is linked to. False: there is none.
bool use_openmp_of(const char* path);

// Whether a region of `threads` would run on threads that the runtime keeps: not in a child made by
// fork, not inside another region, and not if it is set to fewer.
bool openmp_has(int threads) noexcept;

// Calls call(data, member) for every member in [0, size), all at once. False, and nothing was called, if
// the runtime gave fewer threads than it has.
bool run_on_openmp(int size, void (*call)(void*, int), void* data) noexcept;

}  // namespace cellgate
