// START HERE: from the bytes of a file of any known format to a network, and back. Called by bindings and
// capi.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "files/error.hpp"
#include "model/network.hpp"

namespace cellgate::files {

enum class Format { kAuto, kSafetensors, kRtneural, kProteus, kNam };

struct Bytes {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
};

struct ReadOptions {
  Format format = Format::kAuto;  // kAuto: as the content shows
  std::string source = "data";    // opens every message: a path, or what the caller calls these bytes
  std::size_t byte_limit = std::numeric_limits<std::size_t>::max();
  // NaN, infinity and what overflows float32 in weights. JSON itself has neither NaN nor infinity.
  bool allow_nonfinite = false;
  // Weights may refer to the bytes, which then must outlive the network. Of safetensors only, and only where
  // type and alignment are those of the network; what cannot be borrowed is copied.
  bool borrow = false;
};

// Throws FileError, or std::bad_alloc. What it returns has passed validate().
AnyNetwork read_network(Bytes bytes, const ReadOptions& options = {});

// The format that the content shows, never kAuto. Throws FileError if it is none of these.
Format detect(Bytes bytes);

// A safetensors file of ours (see safetensors.hpp). Throws std::invalid_argument as validate() does, and for
// metadata that is not UTF-8.
std::vector<unsigned char> write_network(const AnyNetwork& network);

// All of a file. Throws FileError, also if it has more than `byte_limit` bytes.
std::vector<unsigned char> read_bytes(const std::string& path,
                                      std::size_t byte_limit = std::numeric_limits<std::size_t>::max());

}  // namespace cellgate::files
