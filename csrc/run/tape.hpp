// What training keeps of a forward pass: where each part lies in one array. Written by forward.cpp,
// read by backward.cpp.
#pragma once

#include "run/layer_forward.hpp"

namespace cellgate {

// How a recording differs from a plain forward pass.
struct Training {
  double dropout = 0;  // of the values that a layer hands to the next
  std::uint64_t seed = 0;
  std::int64_t checkpoint = 0;  // interval in steps (T at most) at which c alone is kept; 0: all gates and c
};

// `count` arrays in one tape, each of per_valid scalars for every valid row, per_batch for every row of the
// batch and per_kept for every row of c that is kept at a checkpoint, rounded up to whole cache lines.
struct TapePart {
  std::int64_t count, per_valid, per_batch, per_kept;
};

// All sizes of a tape, linear in rows but for the rounding: PyTorch's compiler evaluates the same numbers on
// symbols.
struct TapeLayout {
  static constexpr std::int64_t kSpare = 1;  // at the end, so that no tape is an empty array
  TapePart gates, cells, kept, planes;

  TapeLayout(const Config& c, std::int64_t padded_hidden, const Training& training) {
    const std::int64_t layers = c.num_layers * c.directions(), k = training.checkpoint;
    const std::int64_t hidden = k ? 0 : padded_hidden;
    gates = {layers, 4 * hidden, 0, 0};
    cells = {layers, hidden, hidden, 0};
    kept = {layers, 0, 0, padded_hidden - hidden};
    planes = {(c.num_layers - 1) * (training.dropout > 0 ? 2 : 1), c.directions() * c.output_size(), 0, 0};
  }
};

template <class S>
class Tape {
 public:
  static constexpr std::int64_t kLine = kAlignment / sizeof(S);

  // `valid` rows in all steps together.
  Tape(const Model<S>& model, std::int64_t batch, std::int64_t steps, std::int64_t valid,
       const Training& training, S* base)
      : base_(base), training_(training), config_(model.config()) {
    const TapeLayout layout(config_, model.padded_hidden(), training);
    const std::int64_t k = training.checkpoint, kept = k ? (steps + k - 1) / k * batch : 0;
    const auto rounded = [&](const TapePart& part) {
      const std::int64_t used = valid * part.per_valid + batch * part.per_batch + kept * part.per_kept;
      return (used + kLine - 1) / kLine * kLine;
    };
    gates_ = rounded(layout.gates);
    cells_ = rounded(layout.cells);
    kept_ = rounded(layout.kept);
    handed_used_ = valid * layout.planes.per_valid;
    handed_ = rounded(layout.planes);
    plane_count_ = layout.planes.count;
  }

  // Zeroes what a recording may leave unwritten: tapes of the same call are the same bits. The
  // last line of gates and cells may be padding in part, and is written over where it is not.
  void clear_unwritten() const {
    for (S* part = base_; part != planes(); part += each()) {
      if (kept_) std::fill_n(part, kept_, S(0));
      if (gates_ >= kLine) std::fill_n(part + gates_ - kLine, kLine, S(0));
      if (cells_ >= kLine) std::fill_n(part + gates_ + cells_ - kLine, kLine, S(0));
    }
    for (S* plane = planes(); plane != base_ + size(); plane += handed_) {
      std::fill_n(plane + handed_used_, handed_ - handed_used_, S(0));
    }
  }

  std::int64_t size() const {
    return config_.num_layers * config_.directions() * each() + plane_count_ * handed_;
  }
  LayerTape<S> layer(std::int64_t layer, std::int64_t direction) const {
    S* at = base_ + (layer * config_.directions() + direction) * each();
    if (training_.checkpoint) return {nullptr, nullptr, at, training_.checkpoint};
    return {at, at + gates_, nullptr, 0};
  }
  // h of a layer that is not the last, [valid, D * (P or H)], compact.
  S* output(std::int64_t layer) const { return planes() + layer * handed_; }
  // The same as the next layer gets it: after dropout.
  S* handed_on(std::int64_t layer) const {
    return drops() ? planes() + (config_.num_layers - 1 + layer) * handed_ : output(layer);
  }
  bool drops() const { return training_.dropout > 0 && config_.num_layers > 1; }

 private:
  std::int64_t each() const { return gates_ + cells_ + kept_; }
  S* planes() const { return base_ + config_.num_layers * config_.directions() * each(); }

  S* base_;
  const Training training_;
  const Config& config_;
  std::int64_t gates_, cells_, kept_, handed_, handed_used_;  // sizes, in scalars
  std::int64_t plane_count_;
};

}  // namespace cellgate
