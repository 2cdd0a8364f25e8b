// The cost model.
#include "threads/plan.hpp"

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
  // Few rows do not fill the multipliers: each step waits for the weights to come from a cache.
  const double rows = std::max<double>(
      static_cast<double>(w.row_steps) / std::max<double>(1, static_cast<double>(w.steps)), 4);
  return rows * w.multiplies / w.multiplies_per_us;
}

// A wave has to take long compared with its barrier, and a call needs many waves: the last layer begins only
// after as many of them as there are layers.
constexpr double kWaveMicroseconds = 30, kBarrierMicroseconds = 1, kWorthwhile = 1.15;
constexpr std::int64_t kWavesForEachLayer = 8, kMostRowsOfWave = 256;

std::int64_t steps_of_wave(const Work& w) {
  const auto worth = static_cast<std::int64_t>(kWaveMicroseconds / step_microseconds(w)) + 1;
  const std::int64_t few = w.steps / (kWavesForEachLayer * w.chain);
  const std::int64_t fit = std::max<std::int64_t>(1, kMostRowsOfWave / std::max<std::int64_t>(1, w.rows));
  return std::clamp<std::int64_t>(std::max(worth, few), 1, fit);
}

// The speed of this many threads as a wavefront, over that of one; 0 if there can be no wavefront.
double gain_as_wavefront(const Work& w, int threads) {
  const std::int64_t own = std::min<std::int64_t>(threads, w.chain);
  if (own < 2 || w.steps < 2) return 0;
  const std::int64_t wave = steps_of_wave(w);
  const auto waves = static_cast<double>((w.steps + wave - 1) / wave);
  const auto layers = static_cast<double>(w.chain), in_turn = static_cast<double>((w.chain + own - 1) / own);
  const double part = step_microseconds(w) * static_cast<double>(wave);
  return layers * waves * part / ((waves + layers - 1) * (in_turn * part + kBarrierMicroseconds));
}

double gain_by_splitting(const Work& w, const Plan& plan) {
  const double step = step_microseconds(w), members = plan.members;
  if (plan.split_rows || plan.members == 1) return members;
  return step / (step / members + kBarrierMicroseconds);
}

Plan best_plan(const Work& w, int threads, Split mode) {
  Plan plan;
  if (w.directions == 2 && threads >= 2) {
    plan.teams = 2;
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

// The number of threads that pay for one layer at a time.
int threads_for_layer(const Work& w, int limit) {
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

}  // namespace

Split get_split() { return split.load(); }
void set_split(Split value) { split.store(value); }

int threads_that_pay(const Work& w, int limit) {
  if (get_split() != Split::kAuto) return limit;
  const int threads = threads_for_layer(w, limit);
  const int together = static_cast<int>(std::min<std::int64_t>(limit, w.chain));
  const double gain = gain_by_splitting(w, best_plan(w, threads, Split::kAuto));
  const double whole = step_microseconds(w) * static_cast<double>(w.steps * w.chain);
  const bool wavefront = whole > 2 * kCallMicroseconds && gain_as_wavefront(w, together) > kWorthwhile * gain;
  return wavefront ? together : threads;
}

Plan choose_plan(const Work& w, int threads) {
  const Split mode = get_split();
  // The same number for one layer at a time that threads_that_pay() compared with the wavefront.
  const Plan plan = best_plan(w, mode == Split::kAuto ? threads_for_layer(w, threads) : threads, mode);
  const double gain = gain_as_wavefront(w, threads);
  const bool wavefront = mode == Split::kLayers
                             ? gain > 0
                             : mode == Split::kAuto && gain > kWorthwhile * gain_by_splitting(w, plan);
  if (!wavefront) return plan;
  Plan layers;
  layers.teams = static_cast<int>(std::min<std::int64_t>(threads, w.chain));
  layers.wave_steps = steps_of_wave(w);
  return layers;
}

}  // namespace cellgate
