// Memory that one call works in and the next may use again. Used by run and by its callers.
#pragma once

#include <cstdint>

#include "memory/workspace.hpp"

namespace cellgate {

// Everything a call needs besides its arguments; keep one to make later calls allocate nothing.
struct Scratch {
  explicit Scratch(const MemorySource* source = nullptr) : memory(source), outer(source) {}

  Workspace memory;
  Workspace outer;         // of what a network has around its LSTM
  std::int64_t steps = 0;  // of all calls so far, see TeamArgs

  std::size_t bytes() const { return memory.bytes() + outer.bytes(); }
};

}  // namespace cellgate
