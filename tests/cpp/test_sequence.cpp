// Whole forward passes on every instruction set this CPU has, under every way to split the work:
// all must give the same bits, and the ones stored from AVX2.
// usage: test_sequence STORED [ISA | --write]
#include "model_cases.hpp"
#include "stored.hpp"
#include "threads/cpus.hpp"
#include "threads/plan.hpp"

namespace {

template <class S>
void check(const cellgate::KernelTable& table, test::Stored& stored) {
  for (const test::Case& k : test::cases()) {
    const std::string name = test::Stored::name<S>(table, k.name);
    const cellgate::Model<S> model = test::make_model<S>(k.config, 1, table);
    const test::Input<S> in(k, 2);
    cellgate::Scratch scratch;
    for (const auto split : {cellgate::Split::kAuto, cellgate::Split::kRows, cellgate::Split::kUnits,
                             cellgate::Split::kLayers}) {
      cellgate::set_split(split);
      for (const int threads : {1, 2, 3, 4, 7}) {
        cellgate::set_num_threads(threads);
        char how[100];
        std::snprintf(how, sizeof how, "on %s with %d threads (split %d)", table.name, threads,
                      static_cast<int>(split));
        stored.check(name, test::digest(test::run(k, model, in, scratch)), how);
      }
    }
  }
  std::printf("%s %s: %d cases passed\n", table.name, sizeof(S) == 4 ? "float32" : "float64",
              static_cast<int>(test::cases().size()));
}

}  // namespace

int main(int argc, char** argv) {
  test::Stored stored(argc, argv);
  for (const cellgate::KernelTable* table : stored.tables()) {
    check<float>(*table, stored);
    check<double>(*table, stored);
  }
  return stored.finish();
}
