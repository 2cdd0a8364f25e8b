// Whether threads pay at the moment, judged by what they lost to others lately. Used by pool.cpp.
#pragma once

#include <chrono>

namespace cellgate {

// What was seen of one job, all of whose members had equally much to do.
struct Observation {
  int members;
  std::chrono::nanoseconds whole;  // from its begin until the last member was done
  std::chrono::nanoseconds work;   // CPU time of all members, without what they spun before they slept
  int interrupted;                 // members that the system put aside, or that began late
};

// When other programs, or other threads of this one, take the cores, members of a team wait for one that the
// system has put aside, or that shares a core with another member, and many threads are slower than few. Then
// calls get fewer threads for a while. On a core that is taken for good that is right; a pool that spins
// before it sleeps leaves the core within milliseconds.
//
// Trials tell the two apart. A call on threads that took longer than fewer threads would have taken is
// followed by the next trial after a multiple of the excess, spent in calls on fewer threads. The multiple
// grows by half with every failed trial, up to kMostRatio, so that in the long run trials cost at most 1 /
// kMostRatio of the time. Calls whose threads paid make good for earlier excess; when all of it is made good,
// the multiple is 1 again.
//
// A trial does not have to wait when the system says that there are cores for all. Each time that this led to
// a failed trial it has to say so for longer, which is again at most kMostRatio times the excess.
//
// For one call at a time: begin(), learn() for each job, end().
class Crowding {
 public:
  using Time = std::chrono::nanoseconds;
  using Clock = Time (*)();             // since any fixed moment
  using Room = bool (*)(int) noexcept;  // whether there are cores for so many threads more
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
  int better_ = 1;             // the threads that would have been better
  Time begin_{0}, excess_{0};  // an excess below 0 is a gain
  bool held_back_ = false;     // since owed_ lasts
  bool told_room_ = false;     // which is why it is not held back though owed_ lasts

  int fewer_ = 1;                  // what calls get while owed_ lasts
  Time owed_{0};                   // still to be spent on fewer threads before the next trial
  double ratio_ = 1;               // the multiple
  Time losses_{0};                 // excess that is not made good yet
  Time asked_{0}, room_since_{0};  // when room_ was asked last, and since when it said yes; 0: it did not
  Time room_needed_{0};            // how long it has to say yes
};

}  // namespace cellgate
