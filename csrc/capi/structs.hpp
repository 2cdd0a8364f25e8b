// Structs that can grow, as a caller of any version has them, as this version knows them. Used by capi only.
#pragma once

#include <algorithm>
#include <cstring>

#include "capi/error.hpp"

namespace cellgate::capi {

// *to keeps what it has where the caller's struct ends earlier. Throws where it ends later and asks for
// something in what is beyond.
template <class T>
void copy_struct(const T* from, std::size_t size, const char* name, T* to) {
  if (size < sizeof(std::size_t) || size % alignof(T)) {
    throw Failure(
        CG_INVALID_ARGUMENT,
        std::string(name) + ": struct_size must be the size of the struct, got " + std::to_string(size));
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  for (std::size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i]) {
      throw Failure(CG_UNSUPPORTED, std::string(name) + ": must have members that version " + cg_version() +
                                        " has, got one at byte " + std::to_string(i));
    }
  }
  std::memcpy(static_cast<void*>(to), from, std::min(size, sizeof(T)));
}

// The options, all defaults if `given` is null.
cg_model_options read_options(const cg_model_options* given);

// `value` as an Enum whose last is `last`.
template <class Enum>
Enum checked_enum(const char* name, std::int32_t value, Enum last) {
  if (value < 0 || value > static_cast<std::int32_t>(last)) {
    throw Failure(CG_INVALID_ARGUMENT, std::string(name) + ": must be from 0 to " +
                                           std::to_string(static_cast<int>(last)) + ", got " +
                                           std::to_string(value));
  }
  return static_cast<Enum>(value);
}

}  // namespace cellgate::capi
