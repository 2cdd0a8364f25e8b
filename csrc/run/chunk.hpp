// Consecutive steps whose products with the input weights are computed together. Used by layer_forward and
// layer_backward.
#pragma once

#include <algorithm>
#include <cstdint>

namespace cellgate {

// Rows of a chunk: as many whole steps as fit, one at least. Each chunk reads all of W again; its result
// stays in memory until its steps are computed, so it is bounded. Training keeps that result anyway, and each
// of its chunks reads and writes all gradients of the weights, which is why those are longer. Both were
// chosen by `python -m benchmarks.compare` with the suites batched and training.
constexpr std::int64_t kChunkRows = 256, kTrainingChunkRows = 512;
inline std::int64_t chunk_rows(std::int64_t rows, bool training) {
  return std::max(rows, training ? kTrainingChunkRows : kChunkRows);
}

// The rows of a chunk lie together, those of its last step first: gradients are summed from the last step
// to the first, whatever the chunks.
struct Chunk {
  std::int64_t begin, end;  // steps
  std::int64_t rows;        // positions[end] - positions[begin]
};

// The chunk that begins at step `begin`, within steps [.., limit).
inline Chunk chunk_from(std::int64_t begin, std::int64_t limit, const std::int64_t* positions,
                        std::int64_t capacity) {
  const std::int64_t room = positions[begin] + capacity;
  std::int64_t end = begin + 1;
  while (end < limit && positions[end + 1] <= room) ++end;
  return {begin, end, positions[end] - positions[begin]};
}

}  // namespace cellgate
