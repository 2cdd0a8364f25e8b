// Digests of results by name, kept in a file: written from AVX2 (and what else the machine has), to be
// reproduced by every instruction set with a fused multiply-add. Used by test_sequence, test_training.
#pragma once

#include <fstream>
#include <map>
#include <string>

#include "check.hpp"

namespace test {

class Stored {
 public:
  // Command line: FILE [all | ISA | --write].
  Stored(int argc, char** argv)
      : path_(argc > 1 ? argv[1] : ""), write_(argc > 2 && !std::strcmp(argv[2], "--write")) {
    CHECK(argc > 1, "usage: %s STORED [all | ISA | --write]", argv[0]);
    std::ifstream file(write_ ? "" : path_);
    for (std::string digest, name; file >> digest && std::getline(file >> std::ws, name);)
      digests_[name] = digest;
    CHECK(write_ || !digests_.empty(), "nothing stored in %s", path_.c_str());
    stored_ = digests_.size();
    tables_ = chosen_tables(write_ ? 0 : argc, argv, 2);
  }

  const std::vector<const cellgate::KernelTable*>& tables() const { return tables_; }

  // The baseline has no fused multiply-add and is compared with itself only.
  template <class S>
  static std::string name(const cellgate::KernelTable& table, const std::string& what) {
    const bool fused = std::string(table.name) != "baseline";
    return (sizeof(S) == 4 ? "float32 " : "float64 ") + what + (fused ? "" : kBaseline);
  }

  // Fails unless `digest` equals that of `name` in the file or of an earlier call; `how` says what ran.
  void check(const std::string& name, std::uint64_t digest, const std::string& how) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(digest));
    const auto known = digests_.emplace(name, text).first;
    CHECK(known->second == text, "%s %s: %s, stored %s", name.c_str(), how.c_str(), text,
          known->second.c_str());
  }

  // Writes the file, or fails if results were not in it.
  int finish() const {
    std::size_t fused = 0;
    std::ofstream file;
    if (write_) file.open(path_);
    for (const auto& [name, digest] : digests_) {
      if (name.find(kBaseline) != std::string::npos) continue;
      ++fused;
      if (write_) file << digest << ' ' << name << '\n';
    }
    if (write_) return file.good() ? 0 : 1;
    CHECK(fused == stored_, "%zu cases are not in %s", fused - stored_, path_.c_str());
    return 0;
  }

 private:
  static constexpr const char* kBaseline = " (baseline)";
  const std::string path_;
  const bool write_;
  std::map<std::string, std::string> digests_;
  std::size_t stored_ = 0;
  std::vector<const cellgate::KernelTable*> tables_;
};

}  // namespace test
