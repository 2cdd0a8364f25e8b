// Whether threads pay at the moment, judged by what they lost to others lately. Used by pool.cpp.
#pragma once

#include <chrono>

namespace cellgate {

// What was seen of one job, all of whose members had equally much to do.
struct Observation {
  int members;
  std::chrono::nanoseconds whole;   // from its begin until the last member was done
  std::chrono::nanoseconds waited;  // by members for each other beyond short waits, sum over them
  int interrupted;                  // members that the system put aside, or began late
};

// When other programs, or other threads of this one, take the cores, members of a team wait for one that the
// system has put aside, and many threads are slower than few. Then calls get fewer threads for a while: on a
// core that is taken for good that is right, while a pool that winds down is gone within milliseconds.
// Nothing tells the two apart but trying. The trials are an account in time: a call on threads that took
// longer than fewer threads would have taken is followed by the next trial after a multiple of the excess,
// spent in calls on fewer threads. The multiple begins at 0, so that the first trial follows at once, and
// doubles up to kMostRatio, so that in the long run trials cost at most 1 / kMostRatio of the time. Calls
// whose threads paid make good for earlier excess; when all of it is made good, the multiple is 0 again.
//
// For one call at a time: begin(), learn() for each job, end().
class Crowding {
 public:
  using Time = std::chrono::nanoseconds;
  using Clock = Time (*)();  // since any fixed moment
  explicit Crowding(Clock clock = steady_clock) : now_(clock) {}

  // The threads to use of `wanted`.
  int begin(int wanted) noexcept;
  void learn(const Observation& seen) noexcept;
  void end() noexcept;

  static constexpr int kMostRatio = 20;  // 5 %

 private:
  static Time steady_clock();

  const Clock now_;
  int wanted_ = 1, used_ = 1;  // of the call that runs
  int fewer_ = 1;              // what calls get while owed_ lasts
  int seen_fewer_ = 1;         // what would have been better for the call that runs
  Time begin_{0}, excess_{0};  // of the call that runs; an excess below 0 is a gain
  Time owed_{0};               // still to be spent on fewer threads before the next trial
  Time losses_{0};             // excess that is not made good yet
  int ratio_ = 0;
};

}  // namespace cellgate
