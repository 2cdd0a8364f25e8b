// The products and the cell of every instruction set this CPU has, bit for bit against scalar loops
// that spell out the order of the sums. Whole buffers are compared, so that nothing may be written
// but what is asked for; Fenced stops what goes further. Activations are taken from the same table;
// test_activations checks them.
// usage: test_kernels [ISA]
#include <algorithm>

#include "kernel_check.hpp"
#include "run/layer_forward.hpp"

namespace {

using cellgate::KernelTable;
using cellgate::Share;
using test::Fenced;

struct Product {
  std::int64_t rows, depth, columns;
  bool transposed, accumulates, starts, in_panels;
  int members;
};

// Each member's panels are computed by a call of their own, which may touch nothing of the others'.
template <class S>
void check_gemm(const KernelTable& table, const Product& k) {
  constexpr std::int64_t offset = 2;  // of both a and out
  test::Random random(static_cast<std::uint64_t>(k.rows * 1000003 + k.depth * 1009 + k.columns));
  const auto& kernels = cellgate::kernels<S>(table);
  const bool fused = test::is_fused(table);
  const std::int64_t width = 4 * kernels.lanes, panels = (k.columns + width - 1) / width;
  const std::int64_t c_stride = (k.rows + 1) * width;
  const test::Panels<S> b(random, panels, k.depth, kernels.lanes);
  const test::Rows<S> a(random, k.transposed ? k.depth : k.rows, offset + (k.transposed ? k.rows : k.depth)),
      out(random, k.rows, offset + k.columns);
  const Fenced<S> start(test::full_numbers<S>(random, panels * width)), partial(k.rows * width),
      gathered(k.rows * k.depth), c(test::full_numbers<S>(random, panels * c_stride));
  std::vector<S> out_expected = out.values.take(), c_expected = c.take();

  cellgate::GemmArgs<S> g{};
  g.rows = k.rows;
  g.depth = k.depth;
  g.a = a.pointers.data();
  g.a_offset = offset;
  g.transposed = k.transposed;
  g.accumulate = k.accumulates;
  g.panels = {b.packed.data(), nullptr};
  g.start = k.starts ? start.data() : nullptr;
  g.c = k.in_panels ? c.data() : nullptr;
  g.c_panel_stride = c_stride;
  g.out = out.pointers.data();
  g.out_offset = offset;
  g.out_columns = k.columns;
  g.partial = partial.data();
  g.gathered = gathered.data();
  for (int member = 0; member < k.members; ++member) {
    const Share share(panels, member, k.members);
    g.panel_begin = share.begin;
    g.panel_end = share.end;
    partial.clear();
    gathered.clear();
    kernels.gemm(g);
    const std::int64_t end = k.in_panels ? share.end * width : std::min(share.end * width, k.columns);
    for (std::int64_t r = 0; r < k.rows; ++r) {
      for (std::int64_t column = share.begin * width; column < end; ++column) {
        const std::int64_t panel = column / width, within = column % width;
        S& at = k.in_panels
                    ? c_expected[static_cast<std::size_t>(panel * c_stride + r * width + within)]
                    : out_expected[static_cast<std::size_t>(r * (out.width + out.kGap) + offset + column)];
        S sum = k.accumulates ? at : k.starts ? start[column] : S(0);
        for (std::int64_t i = 0; i < k.depth; ++i) {
          const S left = k.transposed ? a.pointers[static_cast<std::size_t>(i)][offset + r]
                                      : a.pointers[static_cast<std::size_t>(r)][offset + i];
          sum = test::term(fused, left, b.at(panel, i, within), sum);
        }
        at = sum;
      }
    }
    CHECK(test::same_bits(out.values.take(), out_expected) && test::same_bits(c.take(), c_expected),
          "%s gemm rows %ld depth %ld columns %ld transposed %d accumulate %d start %d c %d, member %d of %d",
          table.name, long(k.rows), long(k.depth), long(k.columns), k.transposed, k.accumulates, k.starts,
          k.in_panels, member, k.members);
  }
}

struct Step {
  std::int64_t rows, input, hidden;
  bool hoisted, cells;
  enum Gates { kNone, kOwned, kInPlace } gates;  // kInPlace with hoisted sums only
};

template <class S>
void check_cell(const KernelTable& table, const Step& k) {
  test::Random random(static_cast<std::uint64_t>(k.rows * 1000003 + k.input * 1009 + k.hidden));
  const auto& kernels = cellgate::kernels<S>(table);
  const bool fused = test::is_fused(table);
  const std::int64_t lanes = kernels.lanes, width = 4 * lanes, blocks = (k.hidden + lanes - 1) / lanes,
                     padded = blocks * lanes, block_stride = (k.rows + 1) * width;
  const test::Panels<S> w(random, blocks, k.input, lanes), r_(random, blocks, k.hidden, lanes);
  const test::Rows<S> x(random, k.rows, k.input), h(random, k.rows, k.hidden), out(random, k.rows, k.hidden),
      cell(random, k.rows, k.hidden);
  const std::int64_t stepwise = (blocks - 1) * block_stride + k.rows * width;
  const Fenced<S> bias(test::full_numbers<S>(random, padded * 4)),
      hoisted_sums(test::full_numbers<S>(random, stepwise)), own_gates(stepwise),
      c_prev(test::full_numbers<S>(random, k.rows * padded)), own_c(k.rows * padded), partial(k.rows * width),
      gathered(k.rows * (k.input + k.hidden));
  // c may be c_prev, gates may be where the hoisted sums are.
  const Fenced<S>&c = k.cells ? own_c : c_prev, &gates = k.gates == Step::kOwned ? own_gates : hoisted_sums;
  const std::vector<S> sums = hoisted_sums.take(), c_before = c_prev.take();
  std::vector<S> c_expected = c.take(), gates_expected = gates.take(), out_expected = out.values.take(),
                 cell_expected = cell.values.take();
  cellgate::CellForwardArgs<S> args{};
  args.rows = k.rows;
  args.block_end = blocks;
  args.hidden_size = k.hidden;
  args.preactivation = k.hoisted ? hoisted_sums.data() : nullptr;
  args.preactivation_block_stride = block_stride;
  args.bias = bias.data();
  args.x = x.pointers.data();
  args.input_size = k.input;
  args.w = {w.packed.data(), nullptr};
  args.h = h.pointers.data();
  args.recurrent_size = k.hidden;
  args.r = {r_.packed.data(), nullptr};
  args.c_prev = c_prev.data();
  args.c = c.data();
  args.c_stride = padded;
  args.gates = k.gates == Step::kNone ? nullptr : gates.data();
  args.out = out.pointers.data();
  args.cells = k.cells ? cell.pointers.data() : nullptr;
  args.partial = partial.data();
  args.gathered = gathered.data();
  kernels.cell_forward(args);
  for (std::int64_t r = 0; r < k.rows; ++r) {
    const auto row = static_cast<std::size_t>(r);
    for (std::int64_t unit = 0; unit < padded; ++unit) {
      const std::int64_t block = unit / lanes;
      S gate[4];
      for (std::int64_t q = 0; q < 4; ++q) {
        const std::int64_t column = q * lanes + unit % lanes;
        const auto at = static_cast<std::size_t>(block * block_stride + r * width + column);
        S sum = k.hoisted ? sums[at] : bias[block * width + column];
        for (std::int64_t i = 0; i < (k.hoisted ? 0 : k.input); ++i)
          sum = test::term(fused, x.pointers[row][i], w.at(block, i, column), sum);
        for (std::int64_t i = 0; i < k.hidden; ++i)
          sum = test::term(fused, h.pointers[row][i], r_.at(block, i, column), sum);
        (q == 2 ? kernels.tanh : kernels.sigmoid)(&sum, &gate[q], 1);
        if (k.gates != Step::kNone) gates_expected[at] = gate[q];
      }
      const auto at = static_cast<std::size_t>(r * padded + unit);
      const auto plain = static_cast<std::size_t>(r * (k.hidden + out.kGap) + unit);
      volatile S ig = gate[0] * gate[2];
      const S c_new = test::term(fused, gate[1], c_before[at], S(ig));
      S squashed;
      kernels.tanh(&c_new, &squashed, 1);
      c_expected[at] = c_new;
      if (unit >= k.hidden) continue;
      out_expected[plain] = gate[3] * squashed;
      if (k.cells) cell_expected[plain] = c_new;
    }
  }
  const bool same[4] = {
      test::same_bits(c.take(), c_expected), test::same_bits(out.values.take(), out_expected),
      test::same_bits(cell.values.take(), cell_expected), test::same_bits(gates.take(), gates_expected)};
  CHECK(same[0] && same[1] && same[2] && same[3],
        "%s cell rows %ld I %ld H %ld hoisted %d gates %d: right are c %d, h %d, cells %d, gates %d",
        table.name, long(k.rows), long(k.input), long(k.hidden), k.hoisted, k.gates, same[0], same[1],
        same[2], same[3]);
}

template <class S>
int check_products(const KernelTable& table) {
  const std::int64_t lanes = cellgate::kernels<S>(table).lanes;
  int cases = 0;
  for (std::int64_t rows = 1; rows <= 17; ++rows) {
    for (std::int64_t vectors = 1; vectors <= 9; ++vectors) {  // up to three panels, the last of any width
      for (const std::int64_t cut : {std::int64_t{0}, std::int64_t{1}, lanes - 1}) {
        for (std::int64_t way = (rows + vectors) % 2; way < 6; way += 2, ++cases) {
          const std::int64_t depth = cases % 13 ? 1 + cases % 7 : 300;  // one block of k, or several
          check_gemm<S>(table, {rows, depth, vectors * lanes - cut, way % 2 == 1, way / 2 == 2,
                                cases % 3 == 0, way / 2 > 0, 1 + cases % 4});
        }
      }
    }
  }
  // So many panels that rows are brought together even if not transposed, and weights asked for ahead.
  for (const bool in_panels : {false, true}) {
    check_gemm<S>(table, {9, 600, 33 * 4 * lanes - 2 * lanes - 1, false, in_panels, false, in_panels, 1});
    ++cases;
  }
  // With a depth of zero a sum is its initial value.
  check_gemm<S>(table, {3, 0, 4 * lanes + 1, false, false, true, false, 1});
  check_gemm<S>(table, {3, 0, 4 * lanes + 1, true, true, false, true, 1});
  return cases + 2;
}

template <class S>
void check_all(const KernelTable& table) {
  int cases = check_products<S>(table);
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 17}) {
    for (const std::int64_t hidden : {1, 7, 8, 9, 15, 16, 17, 33, 70, 140}) {
      const std::int64_t input = rows % 2 ? 5 : 300;  // one block of k, and several
      check_cell<S>(table,
                    {rows, input, hidden, false, rows % 2 == 0, rows % 3 ? Step::kNone : Step::kOwned});
      const auto gates = static_cast<Step::Gates>((rows + hidden) % 3);
      check_cell<S>(table, {rows, input, hidden, true, rows % 3 == 0, gates});
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
  }
  return 0;
}
