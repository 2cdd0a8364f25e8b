// Every kernel of every instruction set this CPU has, bit for bit against scalar loops that spell
// out the order of the sums. Activations are taken from the same table; test_activations checks them.
// usage: test_kernels [ISA]
#include <cmath>
#include <string>

#include "check.hpp"
#include "core/dispatch.hpp"

namespace {

using cellgate::KernelTable;

// One term of a sum: fused wherever the instruction set has the instruction.
template <class S>
S term(bool fused, S a, S b, S sum) {
  if (fused) return std::fma(a, b, sum);
  volatile S product = a * b;  // two roundings, whatever the compiler would like
  return product + sum;
}

// A panel-packed random matrix, and a way to read it by column.
template <class S>
struct Panels {
  std::int64_t count, depth, lanes;
  std::vector<S> packed;
  Panels(test::Random& random, std::int64_t panels, std::int64_t depth_, std::int64_t lanes_)
      : count(panels),
        depth(depth_),
        lanes(lanes_),
        packed(random.numbers<S>(panels * depth_ * 4 * lanes_)) {}
  S at(std::int64_t panel, std::int64_t k, std::int64_t column) const {
    return packed[static_cast<std::size_t>((panel * depth + k) * 4 * lanes + column)];
  }
};

// Rows with a gap between them, so that a read or write past the end of one meets the next.
template <class S>
struct Rows {
  std::int64_t width;
  std::vector<S> values;
  std::vector<S*> pointers;
  Rows(test::Random& random, std::int64_t rows, std::int64_t width_)
      : width(width_), values(random.numbers<S>(rows * (width_ + 3))) {
    for (std::int64_t r = 0; r < rows; ++r) pointers.push_back(values.data() + r * (width + 3));
  }
};

template <class S>
void check_gemm(const KernelTable& table, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                bool starts) {
  test::Random random(static_cast<std::uint64_t>(rows * 1000003 + depth * 1009 + columns));
  const auto& kernels = cellgate::kernels<S>(table);
  const bool fused = std::string(table.name) != "baseline";
  const std::int64_t lanes = kernels.lanes, width = 4 * lanes, panels = (columns + width - 1) / width;
  const Panels<S> b(random, panels, depth, lanes);
  Rows<S> a(random, rows, depth), out(random, rows, columns);
  const std::vector<S> start = random.numbers<S>(panels * width), before = out.values;
  std::vector<S> scratch(static_cast<std::size_t>(rows * width)),
      panel_out(static_cast<std::size_t>((rows + 1) * panels * width));
  cellgate::GemmArgs<S> g{};
  g.rows = rows;
  g.depth = depth;
  g.panel_end = panels;
  g.a = a.pointers.data();
  g.panels = b.packed.data();
  g.start = starts ? start.data() : nullptr;
  g.out = out.pointers.data();
  g.out_columns = columns;
  std::vector<S> packed(static_cast<std::size_t>(rows * depth));
  g.partial = scratch.data();
  g.packed = packed.data();
  kernels.gemm(g);
  g.c = panel_out.data();
  g.c_panel_stride = (rows + 1) * width;
  kernels.gemm(g);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t column = 0; column < panels * width; ++column) {
      const std::int64_t panel = column / width;
      S sum = starts ? start[static_cast<std::size_t>(column)] : S(0);
      for (std::int64_t k = 0; k < depth; ++k)
        sum = term(fused, a.pointers[static_cast<std::size_t>(r)][k], b.at(panel, k, column % width), sum);
      const S in_panels =
          panel_out[static_cast<std::size_t>((panel * (rows + 1) + r) * width + column % width)];
      CHECK(test::same_bits(&in_panels, &sum, 1), "%s rows %ld depth %ld", table.name, long(rows),
            long(depth));
      if (column >= columns) continue;
      const S plain = out.pointers[static_cast<std::size_t>(r)][column];
      CHECK(test::same_bits(&plain, &sum, 1), "%s rows %ld depth %ld columns %ld", table.name, long(rows),
            long(depth), long(columns));
    }
    const std::size_t gap = static_cast<std::size_t>(r * (columns + 3) + columns);
    CHECK(test::same_bits(&out.values[gap], &before[gap], 3), "%s wrote past a row", table.name);
  }
}

template <class S>
void check_cell(const KernelTable& table, std::int64_t rows, std::int64_t input, std::int64_t hidden,
                bool hoisted, bool cells) {
  test::Random random(static_cast<std::uint64_t>(rows * 1000003 + input * 1009 + hidden));
  const auto& kernels = cellgate::kernels<S>(table);
  const bool fused = std::string(table.name) != "baseline";
  const std::int64_t lanes = kernels.lanes, blocks = (hidden + lanes - 1) / lanes, padded = blocks * lanes;
  const Panels<S> w(random, blocks, input, lanes), r_(random, blocks, hidden, lanes);
  Rows<S> x(random, rows, input), h(random, rows, hidden), out(random, rows, hidden),
      cell(random, rows, hidden);
  const std::vector<S> bias = random.numbers<S>(padded * 4),
                       hoisted_sums = random.numbers<S>(rows * padded * 4);
  std::vector<S> c = random.numbers<S>(rows * padded), scratch(static_cast<std::size_t>(rows * 4 * lanes));
  const std::vector<S> c_before = c, out_before = out.values;
  cellgate::CellForwardArgs<S> args{};
  args.rows = rows;
  args.block_end = blocks;
  args.hidden_size = hidden;
  args.preactivation = hoisted ? hoisted_sums.data() : nullptr;
  args.preactivation_block_stride = rows * 4 * lanes;
  args.bias = bias.data();
  args.x = x.pointers.data();
  args.input_size = input;
  args.w = w.packed.data();
  args.h = h.pointers.data();
  args.recurrent_size = hidden;
  args.r = r_.packed.data();
  args.c_prev = args.c = c.data();
  args.c_stride = padded;
  args.out = out.pointers.data();
  args.cells = cells ? cell.pointers.data() : nullptr;
  std::vector<S> packed(static_cast<std::size_t>(rows * (input + hidden)));
  args.partial = scratch.data();
  args.packed = packed.data();
  kernels.cell_forward(args);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto row = static_cast<std::size_t>(r);
    for (std::int64_t unit = 0; unit < hidden; ++unit) {
      const std::int64_t block = unit / lanes;
      S gate[4];
      for (std::int64_t q = 0; q < 4; ++q) {
        const std::int64_t column = q * lanes + unit % lanes, at = block * 4 * lanes + column;
        S sum = hoisted ? hoisted_sums[static_cast<std::size_t>((block * rows + r) * 4 * lanes + column)]
                        : bias[static_cast<std::size_t>(at)];
        for (std::int64_t k = 0; k < (hoisted ? 0 : input); ++k)
          sum = term(fused, x.pointers[row][k], w.at(block, k, column), sum);
        for (std::int64_t k = 0; k < hidden; ++k)
          sum = term(fused, h.pointers[row][k], r_.at(block, k, column), sum);
        (q == 2 ? kernels.tanh : kernels.sigmoid)(&sum, &gate[q], 1);
      }
      const auto at = static_cast<std::size_t>(r * padded + unit);
      volatile S ig = gate[0] * gate[2];
      const S c_new = term(fused, gate[1], c_before[at], S(ig));
      S squashed;
      kernels.tanh(&c_new, &squashed, 1);
      const S h_new = gate[3] * squashed;
      CHECK(test::same_bits(&c[at], &c_new, 1), "%s rows %ld I %ld H %ld: c", table.name, long(rows),
            long(input), long(hidden));
      CHECK(test::same_bits(&out.pointers[row][unit], &h_new, 1), "%s rows %ld I %ld H %ld: h", table.name,
            long(rows), long(input), long(hidden));
      if (cells) CHECK(test::same_bits(&cell.pointers[row][unit], &c_new, 1), "%s: cells", table.name);
    }
    const auto gap = static_cast<std::size_t>(r * (hidden + 3) + hidden);
    CHECK(test::same_bits(&out.values[gap], &out_before[gap], 3), "%s wrote past a row", table.name);
  }
}

template <class S>
void check_all(const KernelTable& table) {
  int cases = 0;
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 17}) {
    for (const std::int64_t hidden : {1, 7, 8, 9, 15, 16, 17, 33, 70, 140}) {
      const std::int64_t input = rows % 2 ? 5 : 300;  // one block of k, and several
      check_gemm<S>(table, rows, input, hidden, rows % 3 != 0);
      check_cell<S>(table, rows, input, hidden, false, rows % 2 == 0);
      check_cell<S>(table, rows, input, hidden, true, rows % 3 == 0);
      cases += 3;
    }
  }
  std::printf("%s %s: %d cases passed\n", table.name, sizeof(S) == 4 ? "float32" : "float64", cases);
}

}  // namespace

int main(int argc, char** argv) {
  for (const KernelTable* table : test::chosen_tables(argc, argv, 1)) {
    check_all<float>(*table);
    check_all<double>(*table);
  }
  return 0;
}
