// Fuzzes the reader of whatever the content shows.
#include "fuzz_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::read(data, size, cellgate::files::Format::kAuto);
}
