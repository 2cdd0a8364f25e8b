// Weights into panels and back, on every instruction set this CPU has: each number against where
// kernel_table.hpp says that it stands, in fenced memory. And what types of weights are refused.
// usage: test_panels [ISA]
#include <stdexcept>

#include "fenced.hpp"
#include "model/panels.hpp"
#include "model_cases.hpp"
#include "run/backward.hpp"
#include "threads/executor.hpp"

namespace {

using cellgate::KernelTable;
using cellgate::WeightType;
using test::Fenced;

// Of any bits, NaN of every kind among them: they are moved, not computed with.
template <class S>
Fenced<S> any_bits(test::Random& random, std::int64_t count) {
  Fenced<S> values(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t bits = random.bits();
    std::memcpy(&values[i], &bits, sizeof(S));
  }
  return values;
}

template <class S>
bool same_bits(S a, S b) {
  return std::memcmp(&a, &b, sizeof(S)) == 0;
}

// The row of a matrix that stands in a column of a panel, or -1: padding. With `gates` the matrix has the
// rows of four gates of `units` units each, else `units` rows.
std::int64_t row_at(bool gates, std::int64_t units, std::int64_t lanes, std::int64_t panel,
                    std::int64_t column) {
  if (!gates) return panel * 4 * lanes + column < units ? panel * 4 * lanes + column : -1;
  const std::int64_t unit = panel * lanes + column % lanes;
  return unit < units ? column / lanes * units + unit : -1;
}

template <class S, class RowsOf>
void check_panels(const KernelTable& table, bool gates, std::int64_t units, std::int64_t depth,
                  const RowsOf& rows_of) {
  const cellgate::Kernels<S>& kernels = cellgate::kernels<S>(table);
  test::Random random(static_cast<std::uint64_t>(units * 1009 + depth));
  const std::int64_t lanes = kernels.lanes, width = 4 * lanes, rows = gates ? 4 * units : units,
                     per_panel = gates ? lanes : width, panels = (units + per_panel - 1) / per_panel;
  const Fenced<S> source = any_bits<S>(random, rows * depth), back(rows * depth);
  const cellgate::Panels packed = cellgate::pack(source.data(), panels, depth, kernels, rows_of);
  CHECK(packed.bytes.size() == static_cast<std::size_t>(panels * depth * width) * sizeof(S), "%s",
        table.name);
  CHECK(packed.type == cellgate::weight_type_of<S>() && packed.scales.size() == 0, "%s", table.name);
  const S* at = static_cast<const S*>(packed.view().data);
  for (std::int64_t p = 0; p < panels; ++p) {
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t column = 0; column < width; ++column, ++at) {
        const std::int64_t row = row_at(gates, units, lanes, p, column);
        CHECK(same_bits(*at, row < 0 ? S(0) : source[row * depth + k]),
              "%s: pack, gates %d, %ld units, panel %ld, k %ld, column %ld", table.name, gates, long(units),
              long(p), long(k), long(column));
      }
    }
  }
  // Each half by itself, as members of a team do.
  cellgate::unpack(packed.view(), 0, panels / 2, depth, kernels, rows_of, back.data());
  cellgate::unpack(packed.view(), panels / 2, panels, depth, kernels, rows_of, back.data());
  CHECK(test::same_bits(back.take(), source.take()), "%s: unpack, gates %d, %ld units, depth %ld", table.name,
        gates, long(units), long(depth));
  // Added to what is there: of numbers this time.
  const Fenced<S> numbers(random.numbers<S>(rows * depth)), sums(random.numbers<S>(rows * depth)),
      room(width * depth);
  std::vector<S> expected = sums.take();
  for (std::int64_t i = 0; i < rows * depth; ++i) expected[static_cast<std::size_t>(i)] += numbers[i];
  const cellgate::Panels again = cellgate::pack(numbers.data(), panels, depth, kernels, rows_of);
  cellgate::unpack(again.view(), 0, panels, depth, kernels, rows_of, sums.data(), room.data());
  CHECK(test::same_bits(sums.take(), expected), "%s: unpack to add, gates %d, %ld units, depth %ld",
        table.name, gates, long(units), long(depth));
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "not refused";
}

void check_equal(const std::string& got, const std::string& wanted) {
  CHECK(got == wanted, "got '%s', wanted '%s'", got.c_str(), wanted.c_str());
}

void check_types(const KernelTable& table) {
  check_equal(refusal([&] { cellgate::kernels<float>(table, WeightType::float64); }),
              "weights: float64 is not a type for a model of float32");
  check_equal(refusal([&] { cellgate::kernels<double>(table, WeightType::float32); }),
              "weights: float32 is not a type for a model of float64");
}

// Kernels without those of training, as of a type of weights that is not S: they run and are not trained.
void check_training(const KernelTable& table) {
  KernelTable without = table;
  without.float32.cell_backward = nullptr;
  const cellgate::Config config{3, 5};
  const auto model = test::make_model<float>(config, 1, without);
  std::vector<float> x(3), y(5), h(5), c(5);
  const std::vector<float> untouched = y;
  cellgate::ForwardArgs<float> args;
  args.steps = args.batch = 1;
  args.x = {x.data(), 3, 3};
  args.y = {y.data(), 5, 5};
  args.h_n = h.data();
  args.c_n = c.data();
  cellgate::Scratch scratch;
  std::vector<float> tape(1000);
  args.tape = tape.data();
  const std::string wanted = "weights: must be stored as float32 to be trained, got float32";
  const auto run = [&] { cellgate::forward(model, args, scratch, cellgate::default_executor()); };
  check_equal(refusal(run), wanted);
  CHECK(test::same_bits(y, untouched), "%s: y was written", table.name);
  cellgate::BackwardArgs<float> backward;
  backward.forward = &args;
  check_equal(refusal([&] { cellgate::backward(model, backward, scratch, cellgate::default_executor()); }),
              wanted);
  args.tape = nullptr;
  run();
  CHECK(!test::same_bits(y, untouched), "%s: y was not written", table.name);
}

template <class S>
void check_all(const KernelTable& table) {
  const std::int64_t lanes = cellgate::kernels<S>(table).lanes;
  int cases = 0;
  for (const std::int64_t units : {1, 7, 8, 9, 15, 16, 17, 33, 70}) {
    for (const std::int64_t depth : {1, 2, 7, 8, 9, 16, 17, 33}) {
      check_panels<S>(table, true, units, depth, cellgate::GateRows{units, lanes});
      check_panels<S>(table, false, units, depth, cellgate::PlainRows{units, lanes});
      cases += 2;
    }
  }
  std::printf("%s %s: %d cases passed\n", table.name, sizeof(S) == 4 ? "float32" : "float64", cases);
}

}  // namespace

int main(int argc, char** argv) {
  for (const KernelTable* table : test::chosen_tables(argc, argv, 1)) {
    check_all<float>(*table);
    check_all<double>(*table);
    check_types(*table);
    check_training(*table);
  }
  return 0;
}
