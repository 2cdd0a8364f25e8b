// Where memory that lives longer than a call comes from. Used by workspace and all that owns buffers; capi
// makes one of the caller's allocator.
#pragma once

#include <cstddef>

namespace cellgate {

struct MemorySource {
  void* context;
  // At a multiple of `alignment`, a power of two up to kHugePage; null: there is none.
  void* (*allocate)(void* context, std::size_t bytes, std::size_t alignment);
  void (*release)(void* context, void* memory, std::size_t bytes);
};

}  // namespace cellgate
