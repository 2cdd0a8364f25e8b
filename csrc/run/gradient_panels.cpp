// Transposition of weights and gradients.
#include "run/gradient_panels.hpp"

#include <algorithm>

namespace cellgate {
namespace {

// Panels of gates, [blocks][depth][4][lanes], to panels of `depth` columns, [4 * padded H][4 * lanes].
template <class S>
void transpose_gates(const Model<S>& model, const S* from, std::int64_t depth, S* to, const Share& blocks) {
  const std::int64_t lanes = model.lanes(), width = 4 * lanes, padded = model.padded_hidden();
  for (std::int64_t block = blocks.begin; block < blocks.end; ++block) {
    for (std::int64_t gate = 0; gate < 4; ++gate) {
      for (std::int64_t k = 0; k < depth; k += width) {
        TransposeArgs<S> t{};
        t.rows = std::min(width, depth - k);
        t.columns = lanes;
        t.from = from + (block * depth + k) * width + gate * lanes;
        t.from_stride = width;
        t.to = to + k * 4 * padded + (gate * padded + block * lanes) * width;
        t.to_stride = width;
        model.kernels().transpose(t);
      }
    }
  }
}

// Weights that training reads are stored as S.
template <class S>
const S* scalars(const Panels& panels) {
  return static_cast<const S*>(panels.view().data);
}

template <class S>
void put(const S* from, S* to, std::int64_t count, bool accumulate) {
  if (accumulate) {
    for (std::int64_t j = 0; j < count; ++j) to[j] += from[j];
  } else {
    std::copy_n(from, count, to);
  }
}

}  // namespace

template <class S>
void transpose_weights(const Model<S>& model, const PackedLayer<S>& from, const TransposedLayer<S>& to,
                       int member, int members) noexcept {
  const Config& config = model.config();
  const Share blocks(model.blocks(), member, members);
  if (to.w) transpose_gates(model, scalars<S>(from.w), from.input_size, to.w, blocks);
  transpose_gates(model, scalars<S>(from.r), config.output_size(), to.r, blocks);
  if (!config.proj_size) return;
  const std::int64_t width = 4 * model.lanes(), hidden = config.hidden_size, outputs = config.proj_size;
  const Share panels(plain_panels(hidden, model.lanes()), member, members);
  for (std::int64_t panel = panels.begin; panel < panels.end; ++panel) {
    for (std::int64_t p = 0; p < outputs; p += width) {
      TransposeArgs<S> t{};
      t.rows = std::min(width, hidden - panel * width);
      t.columns = std::min(width, outputs - p);
      t.from = scalars<S>(from.projection) + p * hidden + panel * width * width;
      t.from_stride = width;
      t.to = to.projection + (panel * outputs + p) * width;
      t.to_stride = width;
      model.kernels().transpose(t);
    }
  }
}

template <class S>
void unpack_gradients(const Model<S>& model, std::int64_t input_size, const GradientPanels<S>& from,
                      const GradientTarget<S>& target, S* room, int member, int members) noexcept {
  const Config& config = model.config();
  const std::int64_t lanes = model.lanes(), hidden = config.hidden_size;
  const Share blocks(model.blocks(), member, members);
  const MutableLayerWeights<S>& to = target.to;
  const GateRows gate_rows{hidden, lanes};
  S* added = target.accumulate ? room : nullptr;
  unpack<S>({from.w, nullptr}, blocks.begin, blocks.end, input_size, model.kernels(), gate_rows, to.w_ih,
            added);
  unpack<S>({from.r, nullptr}, blocks.begin, blocks.end, config.output_size(), model.kernels(), gate_rows,
            to.w_hh, added);
  for_each_vectors(config, [&](const VectorsInfo& info, auto member) {
    if (!info.present) return;
    const GateRows rows_of{hidden, lanes, info.per_unit};
    for (std::int64_t block = blocks.begin; block < blocks.end; ++block) {
      const S* sums = from.units.of[info.set] + block * 4 * lanes;
      rows_of(block, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
        put(sums + column, member(to) + row, count, target.accumulate);
      });
    }
  });
  const Share rows(config.proj_size, member, members);
  const std::int64_t width = 4 * lanes;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    for (std::int64_t unit = 0; unit < hidden; unit += width) {
      const S* sums = from.projection + unit * config.proj_size + row * width;
      put(sums, to.w_hr + row * hidden + unit, std::min(width, hidden - unit), target.accumulate);
    }
  }
}

#define CELLGATE_INSTANTIATE(S)                                                                           \
  template void transpose_weights(const Model<S>&, const PackedLayer<S>&, const TransposedLayer<S>&, int, \
                                  int) noexcept;                                                          \
  template void unpack_gradients(const Model<S>&, std::int64_t, const GradientPanels<S>&,                 \
                                 const GradientTarget<S>&, S*, int, int) noexcept;
CELLGATE_INSTANTIATE(float)
CELLGATE_INSTANTIATE(double)
#undef CELLGATE_INSTANTIATE

}  // namespace cellgate
