// A network in the layout that run reads: the packed LSTM and head, and the numbers around them. Never
// changed after: any number of calls, streams and threads share one. Built by bindings and capi.
#pragma once

#include <memory>

#include "model/network.hpp"
#include "model/packed_weights.hpp"

namespace cellgate {

template <class S>
class Network {
 public:
  using Scalar = S;

  // The head's weights are packed, in memory of `memory`, which must outlive this, and no longer in parts().
  // Throws as validate() does, and std::bad_alloc.
  Network(std::shared_ptr<const Model<S>> lstm, NetworkParts<S> parts, const MemorySource* memory = nullptr);
  // Packs the LSTM too. Throws also as Model does.
  Network(const NetworkDescription<S>& network, const KernelTable& table,
          const MemorySource* memory = nullptr);
  // On the instruction set of this process.
  explicit Network(const NetworkDescription<S>& network)
      : Network(network, kernel_table_for(network.config.hidden_size, sizeof(S))) {}

  const Model<S>& lstm() const { return *lstm_; }
  const std::shared_ptr<const Model<S>>& shared_lstm() const { return lstm_; }
  const Config& config() const { return lstm_->config(); }
  const Kernels<S>& kernels() const { return lstm_->kernels(); }

  // Arrays own their elements; those of head->weight are not there.
  const NetworkParts<S>& parts() const { return parts_; }
  // The head's weights as they were given, [O, D * (P or H)].
  std::vector<S> head_weight() const;
  // parts() with them.
  NetworkParts<S> whole_parts() const;

  std::int64_t features() const { return config().directions() * config().output_size(); }
  std::int64_t output_size() const { return parts_.output_size(config()); }
  bool has_head() const { return parts_.head.has_value(); }
  bool pools() const { return parts_.pooling != Pooling::kNone; }
  // Whether the LSTM reads another input than the caller's.
  bool scales_input() const {
    return !parts_.input_mean.empty() || !parts_.input_scale.empty() || parts_.input_gain != 1.0;
  }
  // Whether the output of the LSTM is the output of the network.
  bool passes_output() const {
    return !has_head() && !pools() && parts_.skip == 0.0 && parts_.output_gain == 1.0;
  }
  // Where sequences begin; null: at zero.
  const S* initial_h() const { return parts_.initial_h.empty() ? nullptr : parts_.initial_h.data(); }
  const S* initial_c() const { return parts_.initial_c.empty() ? nullptr : parts_.initial_c.data(); }

  PanelsView head_panels() const { return head_.view(); }
  // Panels of the head's outputs.
  std::int64_t panels() const { return (output_size() + 4 * lstm_->lanes() - 1) / (4 * lstm_->lanes()); }
  const S* head_bias() const { return head_bias_.data(); }  // [panels, 4, lanes], or null: zero
  // [D * (P or H)], the head's weights if it has one output, else null.
  const S* head_row() const { return head_row_.data(); }

 private:
  void pack_head(const MemorySource* memory);

  std::shared_ptr<const Model<S>> lstm_;
  NetworkParts<S> parts_;
  Panels head_;  // [panels of O columns] of depth D * (P or H)
  AlignedBuffer<S> head_bias_, head_row_;
};

// A description that packs to the same bits, with arrays of its own.
template <class S>
NetworkDescription<S> describe(const Model<S>& lstm);
template <class S>
NetworkDescription<S> describe(const Network<S>& network);

}  // namespace cellgate
