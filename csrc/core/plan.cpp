// The cost model.
#include "plan.hpp"

#include <algorithm>
#include <atomic>

namespace cellgate {
namespace {

std::atomic<Split> split{Split::kAuto};

// A team that splits units re-reads only its own part of the recurrent weights; one that splits
// rows hardly needs any barrier. Rows win while each thread keeps this many, enough for full tiles, and
// the weights of a direction stay in a private L2 cache.
constexpr std::int64_t kRowsForFullTiles = 12;
constexpr double kPrivateCacheBytes = 384 * 1024;

// Below these a thread costs more than it brings: waking the pool, and one barrier for each step.
constexpr double kCallMicroseconds = 15;
constexpr double kStepMicroseconds = 2;

double step_microseconds(const Work& w) {
  // Few rows cannot use the multipliers fully: the weights come from a cache for each step.
  const double rows = std::max<double>(
      static_cast<double>(w.row_steps) / std::max<double>(1, static_cast<double>(w.steps)), 4);
  return rows * w.multiplies / w.multiplies_per_us;
}

Plan best_plan(const Work& w, int threads, Split mode) {
  Plan plan;
  if (w.directions == 2 && threads >= 2) {
    plan.direction_teams = 2;
    threads /= 2;
  }
  const bool rows = mode == Split::kRows || (mode == Split::kAuto && w.rows >= threads * kRowsForFullTiles &&
                                             w.recurrent_bytes <= kPrivateCacheBytes);
  if (rows) {
    plan.split_rows = true;
    plan.members = static_cast<int>(std::clamp<std::int64_t>(threads, 1, std::max<std::int64_t>(1, w.rows)));
  } else {
    plan.members = static_cast<int>(std::clamp<std::int64_t>(threads, 1, w.blocks));
  }
  return plan;
}

}  // namespace

Split get_split() { return split.load(); }
void set_split(Split value) { split.store(value); }

int threads_that_pay(const Work& w, int limit) {
  if (get_split() != Split::kAuto) return limit;
  const double step = step_microseconds(w);
  const double call = step * static_cast<double>(w.steps) * static_cast<double>(w.directions);
  const double by_call = call / kCallMicroseconds;
  int threads = by_call >= limit ? limit : std::max(1, static_cast<int>(by_call));
  while (threads > 1) {
    const Plan plan = best_plan(w, threads, Split::kAuto);
    if (plan.split_rows || plan.members == 1 || step / plan.members >= kStepMicroseconds) break;
    --threads;
  }
  return threads;
}

Plan choose_plan(const Work& work, int threads) { return best_plan(work, threads, get_split()); }

}  // namespace cellgate
