// The account of trials.
#include "threads/crowding.hpp"

#include <algorithm>

namespace cellgate {
namespace {

// Asking takes one to two microseconds, which are to be a hundredth of the time.
constexpr std::chrono::microseconds kBetweenQuestions{200};

}  // namespace

bool Crowding::asks_for_room() noexcept {
  if (!trusts_room_ || begin_ - asked_ < kBetweenQuestions) return false;
  asked_ = begin_;
  return room_(wanted_ - 1);
}

int Crowding::begin(int wanted) noexcept {
  wanted_ = wanted;
  excess_ = Time::zero();
  held_back_ = told_room_ = false;
  if (owed_ > Time::zero()) {
    begin_ = now_();
    told_room_ = asks_for_room();
    held_back_ = !told_room_;
  }
  used_ = held_back_ ? std::min(wanted, fewer_) : wanted;
  seen_fewer_ = used_;
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
  if (held_back_ && used_ < wanted_) owed_ -= std::min(owed_, now_() - begin_);
  if (excess_ > Time::zero()) {
    // What one rare long interruption cost is not held against later, shorter ones.
    losses_ = std::min(losses_ + excess_, excess_ * kMostRatio);
    owed_ += excess_ * ratio_;
    fewer_ = seen_fewer_;
    ratio_ = std::min(ratio_ * 2, kMostRatio);
    if (told_room_) trusts_room_ = false;
  } else if (!held_back_) {
    owed_ = Time::zero();
    losses_ = std::max(Time::zero(), losses_ + excess_);
    if (losses_ > Time::zero()) return;
    ratio_ = 1;
    trusts_room_ = true;
  }
}

}  // namespace cellgate
