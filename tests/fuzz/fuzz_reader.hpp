// What the fuzzers of all readers do with their bytes: read, touch all that was read, write, read that again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "files/read.hpp"

namespace fuzz {

// A network that was read must be one that can be written, and come back as the same file.
inline int read(const std::uint8_t* data, std::size_t size, cellgate::files::Format format) {
  using namespace cellgate::files;
  if (size == 0) return 0;
  ReadOptions options;
  options.format = format;
  options.allow_nonfinite = data[size - 1] & 1;
  options.borrow = data[size - 1] & 2;
  try {
    const cellgate::AnyNetwork network = read_network({data, size}, options);
    const auto file = write_network(network);
    ReadOptions again;
    again.allow_nonfinite = options.allow_nonfinite;
    if (write_network(read_network({file.data(), file.size()}, again)) != file) std::abort();
  } catch (const FileError&) {
  }
  return 0;
}

}  // namespace fuzz
