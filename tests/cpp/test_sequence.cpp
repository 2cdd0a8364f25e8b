// Whole forward passes on every instruction set this CPU has, under every way to split the work:
// all must give the same bits, and the ones stored from AVX2 (except the baseline, which has no
// fused multiply-add and is compared with itself only).
// usage: test_sequence STORED [ISA | --write]
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "core/plan.hpp"
#include "model_cases.hpp"

namespace {

using Digests = std::map<std::string, std::string>;

Digests read(const char* path) {
  Digests digests;
  std::ifstream file(path);
  for (std::string digest, name; file >> digest && std::getline(file >> std::ws, name);)
    digests[name] = digest;
  return digests;
}

template <class S>
void check(const cellgate::KernelTable& table, Digests& digests) {
  const bool fused = std::string(table.name) != "baseline";
  for (const test::Case& k : test::cases()) {
    const std::string name =
        std::string(sizeof(S) == 4 ? "float32 " : "float64 ") + k.name + (fused ? "" : " (baseline)");
    const cellgate::Model<S> model = test::make_model<S>(k.config, 1, table);
    const test::Input<S> in(k, 2);
    cellgate::Scratch scratch;
    for (const auto split : {cellgate::Split::kAuto, cellgate::Split::kRows, cellgate::Split::kUnits}) {
      cellgate::set_split(split);
      for (const int threads : {1, 2, 3, 4, 7}) {
        cellgate::set_num_threads(threads);
        char text[17];
        std::snprintf(text, sizeof text, "%016llx",
                      static_cast<unsigned long long>(test::digest(test::run(k, model, in, scratch))));
        const auto known = digests.emplace(name, text).first;
        CHECK(known->second == text, "%s on %s: %s with %d threads (split %d), stored %s", name.c_str(),
              table.name, text, threads, static_cast<int>(split), known->second.c_str());
      }
    }
  }
  std::printf("%s %s: %d cases passed\n", table.name, sizeof(S) == 4 ? "float32" : "float64",
              static_cast<int>(test::cases().size()));
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: test_sequence STORED [ISA | --write]");
  const bool write = argc > 2 && !std::strcmp(argv[2], "--write");
  Digests digests = write ? Digests{} : read(argv[1]);
  CHECK(write || !digests.empty(), "nothing stored in %s", argv[1]);
  const std::size_t stored = digests.size();
  for (const cellgate::KernelTable* table : test::chosen_tables(write ? 0 : argc, argv, 2)) {
    check<float>(*table, digests);
    check<double>(*table, digests);
  }
  if (write) {
    std::ofstream file(argv[1]);
    for (const auto& [name, digest] : digests) {
      if (name.find("(baseline)") == std::string::npos) file << digest << ' ' << name << '\n';
    }
    return file.good() ? 0 : 1;
  }
  std::size_t fused = 0;
  for (const auto& entry : digests) fused += entry.first.find("(baseline)") == std::string::npos;
  CHECK(fused == stored, "%zu cases are not in %s", fused - stored, argv[1]);
  return 0;
}
