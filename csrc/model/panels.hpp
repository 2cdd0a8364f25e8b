// Matrices in the layout that kernels read (see kernel_table.hpp), and packing and unpacking, whatever type
// they are stored as. Used by packed_weights and, for gradients, by run.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/kernel_table.hpp"
#include "memory/workspace.hpp"

namespace cellgate {

// A matrix of PyTorch's, [rows, depth], beside its panels: calls visit(first row, column of the panel where
// it stands, rows) for every run of rows that lie side by side in both. Gates, or other numbers `per_unit`:
// panel p has the units [p * lanes, ...) of gate q in its columns from q * lanes on. Plain: panel p has the
// rows [p * 4 * lanes, ...).
struct GateRows {
  std::int64_t hidden_size, lanes, per_unit = 4;
  template <class Visit>
  void operator()(std::int64_t panel, const Visit& visit) const {
    const std::int64_t unit = panel * lanes, count = std::min(lanes, hidden_size - unit);
    for (std::int64_t q = 0; q < per_unit; ++q) visit(q * hidden_size + unit, q * lanes, count);
  }
};

struct PlainRows {
  std::int64_t columns, lanes;
  template <class Visit>
  void operator()(std::int64_t panel, const Visit& visit) const {
    const std::int64_t row = panel * 4 * lanes;
    visit(row, 0, std::min(4 * lanes, columns - row));
  }
};

// [panels][depth][4 * lanes] of the type that `weights` names.
struct Panels {
  WeightType type{};
  AlignedBuffer<std::byte> bytes;
  AlignedBuffer<float> scales;  // empty for types without

  PanelsView view() const { return {bytes.data(), scales.data()}; }
};

template <class S, class RowsOf>
Panels pack(const S* source, std::int64_t panels, std::int64_t depth, const Kernels<S>& kernels,
            const RowsOf& rows_of, const MemorySource* memory = nullptr) {
  const std::int64_t panel_bytes = depth * 4 * kernels.lanes * kernels.weight_bytes;
  const std::int64_t width = 4 * kernels.lanes;
  Panels packed{kernels.weights,
                AlignedBuffer<std::byte>(static_cast<std::size_t>(panels * panel_bytes), memory),
                AlignedBuffer<float>(static_cast<std::size_t>(kernels.scaled ? panels * width : 0), memory)};
  for (std::int64_t p = 0; p < panels; ++p) {
    std::byte* panel = packed.bytes.data() + p * panel_bytes;
    float* scales = kernels.scaled ? packed.scales.data() + p * width : nullptr;
    if (p + 1 == panels) {  // it may have padding
      std::fill_n(panel, panel_bytes, std::byte{0});
      if (scales) std::fill_n(scales, width, 0.0f);
    }
    rows_of(p, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
      kernels.pack({count, depth, source + row * depth, panel, column, scales});
    });
  }
  return packed;
}

// Panels [begin, end) of `from` into the rows of `target` [rows, depth]. With `room`, [4 * lanes, depth], the
// values are added to what is in `target`.
template <class S, class RowsOf>
void unpack(PanelsView from, std::int64_t begin, std::int64_t end, std::int64_t depth,
            const Kernels<S>& kernels, const RowsOf& rows_of, S* target, S* room = nullptr) {
  const std::int64_t panel_bytes = depth * 4 * kernels.lanes * kernels.weight_bytes;
  for (std::int64_t p = begin; p < end; ++p) {
    const std::byte* panel = static_cast<const std::byte*>(from.data) + p * panel_bytes;
    const float* scales = from.scales ? from.scales + p * 4 * kernels.lanes : nullptr;
    rows_of(p, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
      S* to = target + row * depth;
      kernels.unpack({count, depth, panel, column, scales, room ? room : to});
      for (std::int64_t j = 0; j < (room ? count * depth : 0); ++j) to[j] += room[j];
    });
  }
}

}  // namespace cellgate
