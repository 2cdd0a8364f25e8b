// Whether threads pay at the moment, judged by what they lost to others lately. Used by pool.cpp.
#pragma once

#include <chrono>

namespace cellgate {

// What was seen of one job, all of whose members had equally much to do.
struct Observation {
  int members;
  std::chrono::nanoseconds whole;  // from its begin until the last member was done
  std::chrono::nanoseconds work;   // CPU time of all members, without what they spun before they slept
  int interrupted;                 // members that the system preempted, or that began late
};

// When other programs, or other threads of this one, take the cores, members of a team wait for one that the
// system has preempted, or that shares a core with another member, and many threads are slower than few. Then
// calls get fewer threads for a while. That is right for a core that stays taken, but wrong for one that is
// taken by the threads of a pool, which spin for some milliseconds before they sleep.
//
// Trials distinguish the two. A call on threads that took longer than fewer threads would have taken is
// followed by the next trial after a multiple of the excess, spent in calls on fewer threads. The multiple
// grows by half with every failed trial, up to kMostRatio, so that in the long run trials cost at most 1 /
// kMostRatio of the time. What calls on threads gain is subtracted from earlier excess; when none is left,
// the multiple is 1 again.
//
// A trial begins at once when the system reports enough free cores. After each failed trial that began so, it
// must have reported them for longer, which is again at most kMostRatio times the excess.
//
// For one call at a time: begin(), learn() for each job, end().
class Crowding {
 public:
  using Time = std::chrono::nanoseconds;
  using Clock = Time (*)();             // since any fixed moment
  using Room = bool (*)(int) noexcept;  // whether there are cores for this many threads more
  Crowding(Clock clock, Room room) : now_(clock), room_(room) {}

  // The threads to use of `wanted`.
  int begin(int wanted) noexcept;
  void learn(const Observation& seen) noexcept;
  void end() noexcept;

  static constexpr int kMostRatio = 20;  // 5 %

 private:
  bool is_told_of_room() noexcept;

  const Clock now_;
  const Room room_;

  // Of the call that runs:
  int wanted_ = 1, used_ = 1;
  int better_ = 1;             // the number of threads that would have been better
  Time begin_{0}, excess_{0};  // an excess below 0 is a gain
  bool held_back_ = false;     // because owed_ is above 0
  bool told_room_ = false;     // why it is not held back though owed_ is above 0

  int fewer_ = 1;                  // what calls get while owed_ is above 0
  Time owed_{0};                   // still to be spent on fewer threads before the next trial
  double ratio_ = 1;               // the multiple
  Time losses_{0};                 // excess less later gains
  Time asked_{0}, room_since_{0};  // when room_ was called last, and since when it gave true; 0: it did not
  Time room_needed_{0};            // how long it must have given true
};

}  // namespace cellgate
