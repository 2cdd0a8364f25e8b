// One layer and direction forward: what a team of threads does for all time steps.
// Called by forward.cpp and, to compute again what was not kept, by layer_backward.cpp; calls only
// KernelTable.
#pragma once

#include "run/team.hpp"

namespace cellgate {

// Room in which the kernels gather rows: of x for a chunk, of x and h for a step that adds both products
// (whatever T is, a team whose rows all have one step does so), and of what is projected. `chunk` is the
// capacity of a chunk, or 0 if there is none.
inline std::int64_t gathered_scalars(std::int64_t rows, std::int64_t chunk, const Config& config) {
  const std::int64_t input = config.widest_input(), step = rows * (input + config.output_size());
  return std::max({chunk * input, step, rows * config.hidden_size});
}

// Runs steps [begin, end): all, or, with one member and without a tape, the next ones.
template <class S>
void run_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member, std::int64_t begin,
                std::int64_t end) noexcept;

// Runs steps [begin, end) again from team.tape.kept into team.tape, which covers these steps only.
template <class S>
void rerun_member(const TeamArgs<S>& team, const MemberScratch<S>& scratch, int member, std::int64_t begin,
                  std::int64_t end) noexcept;

}  // namespace cellgate
