// The state of one sequence in memory that somebody else keeps, and its next steps on the thread that calls:
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
  // So many frames at most are computed together, whatever a call brings.
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
  // What of a layer lives from one call to the next.
  struct Layer {
    S* h;  // [1 + kChunk, h_step]: before the chunk, then after each of its frames
    S* c;  // [padded H]
  };

  void run_chunk(std::int64_t frames, const S* in, std::ptrdiff_t in_frame, std::ptrdiff_t in_feature, S* out,
                 std::ptrdiff_t out_frame, std::ptrdiff_t out_feature) noexcept;
  void run_layer(std::int64_t layer, std::int64_t frames, const S* x, std::ptrdiff_t x_step) noexcept;
  void run_projected(const PackedLayer<S>& weights, const Layer& at, std::int64_t frames) noexcept;
  void pool(std::int64_t frames, const S* h) noexcept;
  const S* const* rows(const S* first, std::ptrdiff_t step, std::int64_t count) noexcept;

  const Network<S>& network_;
  const std::int64_t h_step_;  // of the rows of h: padded to a vector
  Layer* layers_;              // [L]
  S *z_, *y_, *preactivation_, *cell_output_, *pooled_, *sum_, *partial_, *gathered_;
  const S **read_rows_, **x_rows_;
  S** write_rows_;
  std::int64_t* pooled_frames_;
};

// Bytes that Frames take, beside the object itself.
template <class S>
std::size_t frames_bytes(const Network<S>& network);

}  // namespace cellgate
