// What is wrong with a file. Thrown by all of files; bindings and capi translate it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cellgate::files {

enum class Fault {
  kMalformed,    // not what its format says
  kUnsupported,  // whole, but not an LSTM that this library runs
  kTooLarge,     // over a limit
  kUnreadable,   // the system does not give its bytes
};

class FileError : public std::runtime_error {
 public:
  FileError(Fault fault, const std::string& message, std::int64_t position = -1)
      : std::runtime_error(message), fault_(fault), position_(position) {}

  Fault fault() const { return fault_; }
  // Offset of the byte at fault, or -1 where there is no single one.
  std::int64_t position() const { return position_; }

 private:
  Fault fault_;
  std::int64_t position_;
};

[[noreturn]] inline void malformed(const std::string& message, std::int64_t position = -1) {
  throw FileError(Fault::kMalformed, message, position);
}
[[noreturn]] inline void unsupported(const std::string& message) {
  throw FileError(Fault::kUnsupported, message);
}

// `text` of a file for a message: in quotes, printable ASCII only, and not longer than a name is.
std::string in_quotes(std::string_view text);

}  // namespace cellgate::files
