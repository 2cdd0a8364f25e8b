// Recordings and their gradients on every instruction set this CPU has, with and without checkpoints,
// in padded and in compact arrays, under every way to split the work: all must give the same bits, and
// the ones stored from AVX2. Then two callers of one model at once.
// usage: test_training STORED [all | ISA | --write] [N: one in N of the ways to split the work]
#include <thread>

#include "stored.hpp"
#include "threads/cpus.hpp"
#include "threads/plan.hpp"
#include "training_run.hpp"

namespace {

using cellgate::Split;
using test::Results;
using test::Way;

constexpr double kDropout = 0.3;

template <class S>
void check_same(const Results<S>& got, const Results<S>& wanted, const std::string& what) {
  CHECK(got.size() == wanted.size(), "%s", what.c_str());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK(test::same_bits(got[i].second, wanted[i].second), "%s: %s", what.c_str(), got[i].first.c_str());
  }
}

// One in n of all combinations, counted over all cases: with n prime, each case has others.
class OneIn {
 public:
  explicit OneIn(int n) : n_(n) {}
  bool next() const { return count()++ % n_ == 0; }

 private:
  static int& count() {
    static int asked = 0;
    return asked;
  }
  int n_;
};

// One case, one instruction set.
template <class S>
class Check {
 public:
  Check(const test::Case& k, const cellgate::KernelTable& table, bool sorted)
      : k_(k), table_(table), model_(test::make_model<S>(k.config, 1, table)), in_(k, 2, sorted) {}

  // Every way to do the same, or those that `ways` picks.
  std::uint64_t same_in_all_ways(Way way, bool packed, OneIn ways) {
    set(Split::kAuto, 1);
    const Results<S> first = run(way);
    for (const std::int64_t checkpoint : {std::int64_t{0}, std::int64_t{1}, std::int64_t{3}, k_.steps + 2}) {
      for (const Split split : {Split::kAuto, Split::kRows, Split::kUnits}) {
        for (const int threads : {1, 2, 3, 4, 7}) {
          if (!ways.next()) continue;
          set(split, threads);
          way.checkpoint = checkpoint;
          way.batch_first = threads % 2 == 0;
          way.packed = packed;
          char how[100];
          std::snprintf(how, sizeof how, "checkpoint %ld, split %d, threads %d", long(checkpoint),
                        static_cast<int>(split), threads);
          check_same(run(way), first, describe(how));
        }
      }
    }
    return test::digest(first);
  }

  // Recording changes nothing in what a forward pass gives.
  void same_as_forward() {
    set(Split::kUnits, 2);
    const test::Output<S> plain = test::run(k_, model_, in_, scratch_);
    for (const std::int64_t checkpoint : {0, 3}) {
      Way way;
      way.checkpoint = checkpoint;
      Results<S> recorded = run(way);
      recorded.resize(4);
      check_same(recorded, {{"y", plain.y}, {"h", plain.h}, {"c", plain.c}, {"cells", plain.cells}},
                 describe("forward"));
    }
  }

  // Gradients that are not wanted, not given or added to others.
  void same_with_less() {
    set(Split::kUnits, 3);
    Way way;
    Results<S> wanted = run(way);
    way.accumulates = true;
    Results<S> added = wanted;
    for (std::size_t i = kParameters; i < added.size(); ++i) {
      std::vector<S>& values = added[i].second;
      const std::vector<S> before = test::before<S>(static_cast<std::int64_t>(values.size()));
      for (std::size_t j = 0; j < values.size(); ++j) values[j] += before[j];
    }
    check_same(run(way), added, describe("accumulate"));
    way.accumulates = false;
    way.no_d_x = true;
    wanted.erase(wanted.begin() + kInput);
    check_same(run(way), wanted, describe("without d_x"));

    way.no_d_x = false;
    way.no_other = true;
    const Results<S> d_y_only = run(way);
    way.no_other = false;
    way.no_d_y = true;
    const Results<S> others_only = run(way);
    way.no_d_y = false;
    const auto zero = [](std::vector<S>& values) {
      return std::exchange(values, std::vector<S>(values.size()));
    };
    const std::vector<S> d_y = zero(in_.d_y);
    check_same(run(way), others_only, describe("without d_y"));
    in_.d_y = d_y;
    for (std::vector<S>* other : {&in_.d_cells, &in_.d_h, &in_.d_c}) zero(*other);
    check_same(run(way), d_y_only, describe("without d_cells and d_state"));
  }

 private:
  static constexpr std::ptrdiff_t kInput = 4;    // of d_x among the results
  static constexpr std::size_t kParameters = 7;  // the first of them

  static void set(Split split, int threads) {
    cellgate::set_split(split);
    cellgate::set_num_threads(threads);
  }
  Results<S> run(const Way& way) { return test::TrainingRun<S>(k_, model_, in_, way).run(scratch_); }
  std::string describe(const std::string& what) const {
    return std::string(k_.name) + " on " + table_.name + ", float" + std::to_string(8 * sizeof(S)) + ", " +
           what;
  }

  const test::Case& k_;
  const cellgate::KernelTable& table_;
  const cellgate::Model<S> model_;
  test::TrainingInput<S> in_;
  cellgate::Scratch scratch_;
};

template <class S>
void check_all(const cellgate::KernelTable& table, int one_in, test::Stored& stored) {
  int passed = 0;
  for (const test::Case& k : test::cases()) {
    const bool wide = k.config.hidden_size > 200, several = k.config.num_layers > 1;
    if (wide && one_in > 7 && sizeof(S) == 8) continue;  // which threads meet where does not depend on S
    const OneIn all(!wide ? one_in : one_in == 1 ? 19 : 31), few(one_in > 7 ? one_in : 7);
    const auto keep = [&](const std::string& what, std::uint64_t digest) {
      stored.check(test::Stored::name<S>(table, k.name + what), digest, std::string("on ") + table.name);
      ++passed;
    };
    Way plain, dropping;
    dropping.dropout = kDropout;
    Check<S> check(k, table, false);
    keep("", check.same_in_all_ways(plain, false, several ? few : all));
    if (several) keep(", dropout", check.same_in_all_ways(dropping, false, all));
    if (wide && k.longest == 1) continue;
    check.same_as_forward();
    if (!wide) check.same_with_less();
    if (!k.ragged) continue;
    Check<S> sorted(k, table, true);
    keep(", packed", sorted.same_in_all_ways(several ? dropping : plain, true, all));
    if (!wide) sorted.same_as_forward();
  }
  std::printf("%s %s: %d cases passed\n", table.name, sizeof(S) == 4 ? "float32" : "float64", passed);
}

// One uses the pool while the other runs on its own thread, or they use the pool one after the other.
void check_callers(const test::Case& k) {
  const auto model = test::make_model<float>(k.config, 1, cellgate::active_kernel_table());
  const test::TrainingInput<float> in(k, 2, false);
  Way way;
  way.dropout = k.config.num_layers > 1 ? kDropout : 0;
  cellgate::Scratch scratch;
  const Results<float> alone = test::TrainingRun<float>(k, model, in, way).run(scratch);
  std::vector<std::thread> callers;
  for (const std::int64_t checkpoint : {0, 3}) {
    callers.emplace_back([&, way, checkpoint]() mutable {
      way.checkpoint = checkpoint;
      cellgate::Scratch own;
      for (int round = 0; round < 5; ++round) {
        check_same(test::TrainingRun<float>(k, model, in, way).run(own), alone,
                   std::string(k.name) + ", called by two at once");
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace

int main(int argc, char** argv) {
  test::Stored stored(argc, argv);
  const int one_in = argc > 3 ? std::atoi(argv[3]) : 1;
  CHECK(one_in > 0, "one in %d", one_in);
  for (const cellgate::KernelTable* table : stored.tables()) {
    check_all<float>(*table, one_in, stored);
    check_all<double>(*table, one_in, stored);
  }
  cellgate::set_num_threads(3);
  for (const Split split : {Split::kRows, Split::kUnits}) {
    cellgate::set_split(split);
    for (const test::Case& k : test::cases()) {
      if (k.config.hidden_size <= 200) check_callers(k);
    }
  }
  return stored.finish();
}
