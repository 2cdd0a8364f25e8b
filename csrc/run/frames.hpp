// The state of one sequence in memory that the caller provides, and its next steps on the calling thread:
// no allocation, no lock, no system call, and time that does not depend on the values. Called by capi and by
// network_stream; calls head and KernelTable.
#pragma once

#include "memory/workspace.hpp"
#include "model/packed_network.hpp"
#include "run/head.hpp"

namespace cellgate {

template <class S>
class Frames {
 public:
  // At most this many frames are computed together, however many a call has.
  static constexpr std::int64_t kChunk = 64;

  // Takes its memory from `arena`: aligned, and, where it does not measure only, alive as long as this. The
  // network, which is not bidirectional, must live as long too. Nothing is written before reset().
  Frames(Arena& arena, const Network<S>& network);

  // To the network's initial state, with nothing pooled.
  void reset() noexcept;

  // The next `frames` steps: feature j of frame t of `in` lies at t * in_frame + j * in_feature, and of `out`
  // likewise; strides count scalars. `out` may be `in` if its strides are the same and O <= I. With pooling
  // each frame's output is that of all frames since reset().
  void process(std::int64_t frames, const S* in, std::ptrdiff_t in_frame, std::ptrdiff_t in_feature, S* out,
               std::ptrdiff_t out_frame, std::ptrdiff_t out_feature) noexcept;

  // h is [L, P or H], c is [L, H]. Setting leaves what was pooled alone.
  void get_state(S* h, S* c) const noexcept;
  void set_state(const S* h, const S* c) noexcept;

 private:
  // Of a layer: what each call fills in, and what stays.
  struct Layer {
    CellStepsArgs<S> steps;
    GemmArgs<S> product;  // bias + x W^T of a chunk
    S* h;                 // [1 + kChunk, h_step]: at_ is that before the next frame
  };

  void describe_layer(std::int64_t layer, Arena& arena) noexcept;
  void describe_head() noexcept;
  // `frames` of them, for which there is room behind at_.
  void run_chunk(std::int64_t frames, const S* in, std::ptrdiff_t in_frame, std::ptrdiff_t in_feature, S* out,
                 std::ptrdiff_t out_frame, std::ptrdiff_t out_feature) noexcept;
  void run_layer(Layer& at, const PackedLayer<S>& weights, std::int64_t frames, const S* x,
                 std::ptrdiff_t x_step, S* out, std::ptrdiff_t out_step) noexcept;
  void run_steps(Layer& at, std::int64_t frames, bool with_step, const S* x, std::ptrdiff_t x_step, S* out,
                 std::ptrdiff_t out_step) noexcept;
  void run_projected(const Layer& layer, const PackedLayer<S>& weights, std::int64_t frames) noexcept;
  void run_head(std::int64_t frames, const S* h, std::ptrdiff_t h_step, const S* in, std::ptrdiff_t in_frame,
                std::ptrdiff_t in_feature) noexcept;
  void rewind() noexcept;
  const S* const* rows(const S* first, std::ptrdiff_t step, std::int64_t count) noexcept;

  const Network<S>& network_;
  const Kernels<S>& kernels_;
  const std::int64_t h_step_;  // of the rows of h: padded to a vector
  const std::int64_t inputs_, outputs_, layer_count_;
  const bool scales_, projects_, passes_;
  bool head_in_steps_ = false;  // the last layer's kernel computes the head's sums
  bool finishes_ = false;       // activation, skip or gain follow
  bool plain_ = false;          // one layer reads the caller's input and writes the network's output
  std::int64_t at_ = 0;
  Layer* layers_;  // [L]
  HeadArgs<S> head_{};
  S *z_, *y_, *preactivation_, *cell_output_, *pooled_, *sum_, *partial_, *gathered_;
  const S **read_rows_, **x_rows_;
  S** write_rows_;
  std::int64_t pooled_frames_ = 0;
};

// Bytes that Frames take, beside the object itself.
template <class S>
std::size_t frames_bytes(const Network<S>& network);

}  // namespace cellgate
