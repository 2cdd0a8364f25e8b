// The account of trials.
#include "threads/crowding.hpp"

#include <algorithm>

namespace cellgate {

Crowding::Time Crowding::steady_clock() { return std::chrono::steady_clock::now().time_since_epoch(); }

int Crowding::begin(int wanted) noexcept {
  wanted_ = wanted;
  used_ = owed_ > Time::zero() ? std::min(wanted, fewer_) : wanted;
  seen_fewer_ = used_;
  excess_ = Time::zero();
  if (used_ < wanted_) begin_ = now_();
  return used_;
}

void Crowding::learn(const Observation& seen) noexcept {
  const int n = seen.members;
  if (n < 2) return;
  // While one member is put aside, each of the others waits. Members that wait without any having been
  // interrupted had less to do, or the machine is slow to wake a thread: fewer threads would not help.
  const Time aside = seen.interrupted ? std::min(seen.waited / (n - 1), seen.whole) : Time::zero();
  const int fewer = seen.interrupted ? std::max(1, n - seen.interrupted) : n - 1;
  const Time on_fewer = (seen.whole - aside) * n / fewer;
  excess_ += seen.whole - on_fewer;
  seen_fewer_ = std::min(seen_fewer_, fewer);
}

void Crowding::end() noexcept {
  if (used_ < wanted_) owed_ -= std::min(owed_, now_() - begin_);
  if (excess_ > Time::zero()) {
    losses_ += excess_;
    owed_ += excess_ * ratio_;
    fewer_ = seen_fewer_;
    ratio_ = std::clamp(ratio_ * 2, 1, kMostRatio);
  } else if (used_ == wanted_) {
    losses_ = std::max(Time::zero(), losses_ + excess_);
    if (losses_ == Time::zero()) ratio_ = 0;
  }
}

}  // namespace cellgate
