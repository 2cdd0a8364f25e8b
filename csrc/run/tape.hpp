// What training keeps of a forward pass: where each part lies in one array. Written by forward.cpp,
// read by backward.cpp.
#pragma once

#include "run/layer_forward.hpp"

namespace cellgate {

// How a recording differs from a plain forward pass.
struct Training {
  double dropout = 0;  // of the values that a layer hands to the next
  std::uint64_t seed = 0;
  std::int64_t checkpoint = 0;  // keep c at every so many steps (T at most) only; 0: all gates and c
};

template <class S>
class Tape {
 public:
  // `valid` rows in all steps together.
  Tape(const Model<S>& model, std::int64_t batch, std::int64_t steps, std::int64_t valid,
       const Training& training, S* base)
      : base_(base), training_(training), config_(model.config()) {
    const std::int64_t hidden = model.padded_hidden(), k = training.checkpoint;
    gates_ = k ? 0 : rounded(valid * 4 * hidden);
    cells_ = k ? 0 : rounded((batch + valid) * hidden);
    kept_ = k ? rounded(((steps + k - 1) / k) * batch * hidden) : 0;
    handed_used_ = valid * config_.directions() * config_.output_size();
    handed_ = rounded(handed_used_);
  }

  // Zeroes what a recording may leave unwritten: tapes of the same call are the same bits. The
  // last line of gates and cells may be padding in part, and is written over where it is not.
  void clear_unwritten() const {
    for (S* part = base_; part != planes(); part += each()) {
      constexpr std::int64_t line = kAlignment / sizeof(S);
      if (kept_) std::fill_n(part, kept_, S(0));
      if (gates_ >= line) std::fill_n(part + gates_ - line, line, S(0));
      if (cells_ >= line) std::fill_n(part + gates_ + cells_ - line, line, S(0));
    }
    for (S* plane = planes(); plane != base_ + size(); plane += handed_) {
      std::fill_n(plane + handed_used_, handed_ - handed_used_, S(0));
    }
  }

  std::int64_t size() const {
    const std::int64_t planes = (config_.num_layers - 1) * (drops() ? 2 : 1);
    return config_.num_layers * config_.directions() * each() + planes * handed_;
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
  static std::int64_t rounded(std::int64_t count) {
    constexpr std::int64_t line = kAlignment / sizeof(S);
    return (count + line - 1) / line * line;
  }
  std::int64_t each() const { return gates_ + cells_ + kept_; }
  S* planes() const { return base_ + config_.num_layers * config_.directions() * each(); }

  S* base_;
  const Training training_;
  const Config& config_;
  std::int64_t gates_, cells_, kept_, handed_, handed_used_;  // sizes, in scalars
};

}  // namespace cellgate
