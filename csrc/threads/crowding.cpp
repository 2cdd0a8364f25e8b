// Counts what trials of threads gained and lost.
#include "threads/crowding.hpp"

#include <algorithm>

namespace cellgate {
namespace {

// Asking whether there is room takes one to two microseconds, which must be at most a hundredth of the time.
constexpr std::chrono::microseconds kBetweenQuestions{200};

// How long there must have been room after the first answer that was wrong: shorter than a time slice of the
// system.
constexpr std::chrono::milliseconds kFirstDoubt{1};

// Losses are counted up to this many times what the last failed trial cost, so that one rare long
// interruption, or a machine that was crowded for long, does not hold back threads for long afterwards.
constexpr int kMostLosses = 2;

}  // namespace

bool Crowding::is_told_of_room() noexcept {
  if (begin_ - asked_ < kBetweenQuestions) return false;
  asked_ = begin_;
  if (!room_(wanted_ - 1)) {
    room_since_ = Time::zero();
    return false;
  }
  if (room_since_ == Time::zero()) room_since_ = begin_;
  return begin_ - room_since_ >= room_needed_;
}

int Crowding::begin(int wanted) noexcept {
  wanted_ = wanted;
  excess_ = Time::zero();
  held_back_ = told_room_ = false;
  if (owed_ > Time::zero()) {
    begin_ = now_();
    told_room_ = is_told_of_room();
    held_back_ = !told_room_;
  }
  used_ = held_back_ ? std::min(wanted, fewer_) : wanted;
  better_ = used_;
  return used_;
}

void Crowding::learn(const Observation& seen) noexcept {
  const int n = seen.members;
  if (n < 2) return;
  // Fewer threads would have done the same work one after the other: on cores of their own, in its CPU time.
  const int fewer = std::max(1, n - std::max(1, seen.interrupted));
  excess_ += seen.whole - seen.work / fewer;
  better_ = std::min(better_, fewer);
}

void Crowding::end() noexcept {
  if (held_back_ && used_ < wanted_) owed_ -= std::min(owed_, now_() - begin_);
  if (excess_ > Time::zero()) {
    losses_ = std::min(losses_ + excess_, excess_ * kMostLosses);
    owed_ += std::chrono::duration_cast<Time>(excess_ * ratio_);
    fewer_ = better_;
    ratio_ = std::min<double>(ratio_ * 1.5, kMostRatio);
    room_since_ = Time::zero();
    if (told_room_)
      room_needed_ = std::min<Time>(std::max<Time>(room_needed_ * 2, kFirstDoubt), excess_ * kMostRatio);
  } else if (!held_back_) {
    owed_ = Time::zero();
    losses_ = std::max(Time::zero(), losses_ + excess_);
    if (losses_ > Time::zero()) return;
    ratio_ = 1;
    room_needed_ = Time::zero();
  }
}

}  // namespace cellgate
