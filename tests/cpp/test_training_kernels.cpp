// The kernels that only training uses, on every instruction set this CPU has, bit for bit against
// scalar loops that spell out the order of the sums and what is rounded when. Whole buffers are
// compared, so that nothing may be written but what is asked for; Fenced stops what goes further.
// usage: test_training_kernels [ISA]
#include <algorithm>

#include "kernel_check.hpp"
#include "run/layer_forward.hpp"

namespace {

using cellgate::KernelTable;
using cellgate::Share;
using test::Fenced;

struct Cell {
  std::int64_t rows, hidden;
  bool dy, d_cells, unprojected;
  int members;
};

// [rows, stride], of which the units that do not exist hold NaN and infinities.
template <class S>
Fenced<S> units(test::Random& random, std::int64_t rows, std::int64_t hidden, std::int64_t padded,
                std::int64_t stride) {
  constexpr S infinity = std::numeric_limits<S>::infinity();
  const S unwanted[3] = {std::numeric_limits<S>::quiet_NaN(), infinity, -infinity};
  Fenced<S> values((rows - 1) * stride + padded);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t unit = 0; unit < padded; ++unit) {
      values[row * stride + unit] = unit < hidden ? random.full<S>() : unwanted[random.below(3)];
    }
  }
  return values;
}

template <class S>
class CellCheck {
 public:
  CellCheck(const KernelTable& table, const Cell& cell)
      : table_(table),
        kernels_(cellgate::kernels<S>(table)),
        fused_(test::is_fused(table)),
        k_(cell),
        random_(static_cast<std::uint64_t>(cell.rows * 1009 + cell.hidden)),
        c_prev_(units<S>(random_, k_.rows, k_.hidden, padded_, stride_)),
        c_(units<S>(random_, k_.rows, k_.hidden, padded_, stride_)),
        dh_(units<S>(random_, k_.rows, k_.hidden, padded_, stride_)),
        dc_(units<S>(random_, k_.rows, k_.hidden, padded_, stride_)) {
    for (std::int64_t block = 0; block < blocks_; ++block) {
      for (std::int64_t row = 0; row < k_.rows; ++row) fill_gates(block, row);
    }
  }

  void run() {
    cellgate::CellBackwardArgs<S> a = arguments();
    std::vector<S> dc = dc_.take(), panels = d_panels_.take(), rows = d_rows_.take(),
                   unprojected = unprojected_.take();
    for (int member = 0; member < k_.members; ++member) {
      const Share blocks(blocks_, member, k_.members);
      a.block_begin = blocks.begin;
      a.block_end = blocks.end;
      kernels_.cell_backward(a);
      for (std::int64_t row = 0; row < k_.rows; ++row) {
        for (std::int64_t unit = blocks.begin * lanes_; unit < blocks.end * lanes_; ++unit) {
          expect(row, unit, dc, panels, rows, unprojected);
        }
      }
      CHECK(test::same_bits(dc_.take(), dc), "%s", describe("dc", member).c_str());
      CHECK(test::same_bits(d_panels_.take(), panels), "%s", describe("d_panels", member).c_str());
      CHECK(test::same_bits(d_rows_.take(), rows), "%s", describe("d_rows", member).c_str());
      CHECK(test::same_bits(unprojected_.take(), unprojected), "%s", describe("unprojected", member).c_str());
    }
  }

 private:
  void fill_gates(std::int64_t block, std::int64_t row) {
    const Fenced<S> four = units<S>(random_, 4, std::min(lanes_, k_.hidden - block * lanes_), lanes_, lanes_);
    for (std::int64_t j = 0; j < width_; ++j) {
      const bool candidate = j / lanes_ == 2;
      gates_[block * block_stride_ + row * width_ + j] = candidate ? four[j] : std::abs(four[j]);
    }
  }

  cellgate::CellBackwardArgs<S> arguments() const {
    cellgate::CellBackwardArgs<S> a{};
    a.rows = k_.rows;
    a.hidden_size = k_.hidden;
    a.gates = gates_.data();
    a.gates_block_stride = block_stride_;
    a.c_prev = c_prev_.data();
    a.c = c_.data();
    a.dh = dh_.data();
    a.dy = k_.dy ? dy_.pointers.data() : nullptr;
    a.dy_offset = kOffset;
    a.d_cells = k_.d_cells ? d_cells_.pointers.data() : nullptr;
    a.d_cells_offset = kOffset + 1;
    a.dc = dc_.data();
    a.stride = stride_;
    a.d_panels = d_panels_.data();
    a.d_rows = d_rows_.data();
    a.d_rows_stride = d_rows_stride_;
    a.d_rows_gate_stride = padded_;
    a.unprojected = k_.unprojected ? unprojected_.data() : nullptr;
    a.unprojected_panel_stride = block_stride_;
    return a;
  }

  // Puts what belongs to one unit of one row where it belongs.
  void expect(std::int64_t row, std::int64_t unit, std::vector<S>& dc, std::vector<S>& panels,
              std::vector<S>& rows, std::vector<S>& unprojected) const {
    const std::int64_t block = unit / lanes_, lane = unit % lanes_, cell = row * stride_ + unit;
    const std::int64_t gate = block * block_stride_ + row * width_ + lane;
    const std::int64_t output = block / 4 * block_stride_ + row * width_ + block % 4 * lanes_ + lane;
    const auto at = [](std::vector<S>& v, std::int64_t i) -> S& { return v[static_cast<std::size_t>(i)]; };
    S d[4] = {};
    if (unit < k_.hidden) {
      const S i = gates_[gate], f = gates_[gate + lanes_], g = gates_[gate + 2 * lanes_],
              o = gates_[gate + 3 * lanes_];
      S dh = dh_[cell], d_cell = at(dc, cell), squashed;
      if (k_.dy) dh += dy_.pointers[static_cast<std::size_t>(row)][kOffset + unit];
      if (k_.d_cells) d_cell += d_cells_.pointers[static_cast<std::size_t>(row)][kOffset + 1 + unit];
      kernels_.tanh(&c_[cell], &squashed, 1);
      d_cell = test::term<S>(fused_, dh * o, test::term<S>(fused_, -squashed, squashed, 1), d_cell);
      d[0] = d_cell * g * (i * (1 - i));
      d[1] = d_cell * c_prev_[cell] * (f * (1 - f));
      d[2] = d_cell * i * test::term<S>(fused_, -g, g, 1);
      d[3] = dh * squashed * (o * (1 - o));
      at(dc, cell) = d_cell * f;
      if (k_.unprojected) at(unprojected, output) = o * squashed;
    } else {  // the gates' gradients are zero, the others arbitrary
      at(dc, cell) = dc_[cell];
      if (k_.unprojected) at(unprojected, output) = unprojected_[output];
    }
    for (std::int64_t q = 0; q < 4; ++q) {
      at(panels, gate + q * lanes_) = d[q];
      at(rows, row * d_rows_stride_ + q * padded_ + unit) = d[q];
    }
  }

  std::string describe(const char* what, int member) const {
    char text[200];
    std::snprintf(text, sizeof text, "%s %s: rows %ld H %ld dy %d d_cells %d unprojected %d, member %d of %d",
                  table_.name, what, long(k_.rows), long(k_.hidden), k_.dy, k_.d_cells, k_.unprojected,
                  member, k_.members);
    return text;
  }

  static constexpr std::int64_t kOffset = 5;
  const KernelTable& table_;
  const cellgate::Kernels<S>& kernels_;
  const bool fused_;
  const Cell k_;
  test::Random random_;
  const std::int64_t lanes_ = kernels_.lanes, width_ = 4 * lanes_,
                     blocks_ = (k_.hidden + lanes_ - 1) / lanes_, padded_ = blocks_ * lanes_,
                     stride_ = padded_ + lanes_, block_stride_ = (k_.rows + 1) * width_,
                     d_rows_stride_ = 4 * padded_ + 2 * lanes_;
  const Fenced<S> c_prev_, c_, dh_, dc_;
  const Fenced<S> gates_{(blocks_ - 1) * block_stride_ + k_.rows * width_}, d_panels_{gates_.size()},
      d_rows_{(k_.rows - 1) * d_rows_stride_ + 4 * padded_},
      unprojected_{((blocks_ + 3) / 4 - 1) * block_stride_ + k_.rows * width_};
  const test::Rows<S> dy_{random_, k_.rows, kOffset + k_.hidden},
      d_cells_{random_, k_.rows, kOffset + 1 + k_.hidden};
};

// Of any bits, NaN of every kind among them: they are moved, not computed with.
template <class S>
void check_transpose(const KernelTable& table, std::int64_t rows, std::int64_t columns, std::int64_t from_gap,
                     std::int64_t to_gap) {
  test::Random random(static_cast<std::uint64_t>(rows * 1009 + columns));
  const std::int64_t from_stride = columns + from_gap, to_stride = rows + to_gap;
  const Fenced<S> from(rows && columns ? (rows - 1) * from_stride + columns : 0),
      to(rows && columns ? (columns - 1) * to_stride + rows : 0);
  for (std::int64_t i = 0; i < from.size(); ++i) {
    const std::uint64_t bits = random.bits();
    std::memcpy(&from[i], &bits, sizeof(S));
  }
  std::vector<S> expected = to.take();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      std::memcpy(&expected[static_cast<std::size_t>(column * to_stride + row)],
                  &from[row * from_stride + column], sizeof(S));
    }
  }
  cellgate::kernels<S>(table).transpose({rows, columns, from.data(), from_stride, to.data(), to_stride});
  CHECK(test::same_bits(to.take(), expected), "%s transpose %ld x %ld, strides %ld and %ld", table.name,
        long(rows), long(columns), long(from_stride), long(to_stride));
}

template <class S>
void check_add_rows(const KernelTable& table, std::int64_t count, std::int64_t panels) {
  test::Random random(static_cast<std::uint64_t>(count * 1009 + panels));
  const auto& kernels = cellgate::kernels<S>(table);
  const std::int64_t width = panels * 4 * kernels.lanes;
  const Fenced<S> rows(test::full_numbers<S>(random, count * width)),
      sum(test::full_numbers<S>(random, width));
  std::vector<S> expected = sum.take();
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::int64_t j = 0; j < width; ++j) expected[static_cast<std::size_t>(j)] += rows[row * width + j];
  }
  kernels.add_rows(rows.data(), count, width, sum.data());
  CHECK(test::same_bits(sum.take(), expected), "%s add_rows %ld x %ld", table.name, long(count), long(width));
}

template <class S>
void check_all(const KernelTable& table) {
  const std::int64_t lanes = cellgate::kernels<S>(table).lanes;
  int cases = 0;
  for (const std::int64_t rows : {1, 2, 3, 5, 17}) {
    for (const std::int64_t hidden : {1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 70}) {
      for (int options = 0; options < 8; ++options, ++cases) {
        CellCheck<S>(table,
                     {rows, hidden, options % 2 == 1, options / 2 % 2 == 1, options / 4 == 1, 1 + cases % 3})
            .run();
      }
    }
  }
  for (const std::int64_t rows :
       {std::int64_t{0}, std::int64_t{1}, lanes - 1, lanes, lanes + 1, 2 * lanes, std::int64_t{33}}) {
    for (const std::int64_t columns :
         {std::int64_t{0}, std::int64_t{1}, lanes - 1, lanes, lanes + 1, 3 * lanes, std::int64_t{17}}) {
      for (const std::int64_t gap : {0, 1, 16}) {
        check_transpose<S>(table, rows, columns, gap, 0);
        check_transpose<S>(table, rows, columns, gap, 7);
        cases += 2;
      }
    }
  }
  for (const std::int64_t count : {0, 1, 2, 3, 17, 300}) {
    for (const std::int64_t panels : {0, 1, 2, 5}) {
      check_add_rows<S>(table, count, panels);
      ++cases;
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
