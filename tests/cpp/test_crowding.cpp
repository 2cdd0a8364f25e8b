// The rule about crowded cores, on a simulated clock: what a call on threads and on fewer takes is scripted.
#include "threads/crowding.hpp"

#include <cstdio>
#include <functional>

#include "check.hpp"

namespace {

using cellgate::Crowding;
using Time = Crowding::Time;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

Time now{0};
bool room = false;  // what the system says of the cores

Crowding crowding_here() {
  return Crowding([] { return now; }, [](int) noexcept { return room; });
}

// A machine on which a call takes `alone` on one thread, and n threads take alone / n while they have their
// cores. While they do not, `others` members are preempted for `aside` of it.
struct Machine {
  int cores = 2;
  Time alone = milliseconds(2), aside = milliseconds(4);
  std::function<int()> others = [] { return 0; };  // cores that others have now
  bool tells = false;                              // the system reports truly if there is room; else never

  // How long the call took, and on how many threads.
  struct Call {
    int threads;
    Time whole;
  };
  Call call(Crowding& crowding, int wanted) const {
    const int busy = others();
    if (tells) room = wanted + busy <= cores;
    const int threads = crowding.begin(wanted);
    const int taken = std::max(0, threads + busy - cores);  // members without a core of their own
    const Time whole = alone / threads + (taken && threads > 1 ? aside : Time(0));
    now += whole;
    if (threads > 1) crowding.learn({threads, whole, alone, taken});
    crowding.end();
    return {threads, whole};
  }
};

void check_quiet() {
  Crowding crowding = crowding_here();
  for (int i = 0; i < 1000; ++i) CHECK(Machine{}.call(crowding, 2).threads == 2, "call %d", i);
}

// One interruption, as by a program that starts: the next call is on threads again, or where the system tells
// nothing, calls that take as long as was lost are not.
void check_single() {
  for (const bool tells : {true, false}) {
    Crowding crowding = crowding_here();
    Machine machine;
    machine.tells = tells;
    for (int i = 0; i < 200; ++i) {
      machine.others = [i] { return i % 20 == 10; };
      const bool back = tells || i % 20 < 11 || i % 20 > 12;
      CHECK(machine.call(crowding, 2).threads == (back ? 2 : 1), "call %d", i);
    }
    room = false;
  }
}

// Where fewer threads would not be faster, calls keep theirs: members had less to do, or woke slowly.
void check_waiting_alone() {
  Crowding crowding = crowding_here();
  for (int i = 0; i < 1000; ++i) {
    CHECK(crowding.begin(2) == 2, "call %d", i);
    now += milliseconds(1);
    crowding.learn({2, milliseconds(1), microseconds(1050), i % 2});
    crowding.end();
  }
}

// Two members on one core are no faster than one, though the system interrupts neither.
void check_one_core_for_both() {
  Crowding crowding = crowding_here();
  int together = 0;
  for (int i = 0; i < 1000; ++i) {
    if (crowding.begin(2) == 2) {
      ++together;
      now += microseconds(5500);
      crowding.learn({2, microseconds(5500), microseconds(4600), 0});
    } else {
      now += microseconds(4600);
    }
    crowding.end();
  }
  CHECK(together < 300, "%d calls of 1000 on two threads", together);
}

// A core is taken for good, for calls of several lengths: how much longer than on one thread, whether the
// system tells truly that there is no room, wrongly that there is, or nothing.
void check_taken(Time alone, bool tells, bool wrongly) {
  Crowding crowding = crowding_here();
  Machine machine;
  machine.alone = alone;
  machine.tells = tells;
  machine.others = [] { return 1; };
  room = wrongly;
  Time total{0};
  int calls = 0;
  const auto ratio = [&] {
    return static_cast<double>(total.count()) / static_cast<double>((alone * calls).count());
  };
  for (; total < std::max<Time>(seconds(1), alone * 200); ++calls) total += machine.call(crowding, 2).whole;
  CHECK(ratio() < 1.1, "first second: %.3f of the time of one thread", ratio());
  total = Time(0);
  for (calls = 0; total < alone * 200 + seconds(100); ++calls) total += machine.call(crowding, 2).whole;
  CHECK(ratio() < 1.051, "later: %.3f of the time of one thread", ratio());
  room = false;
}

// Threads are back soon after others are gone: at once where the system tells that there is room; else after
// as long as the others were there, and at most after kMostRatio times what a trial costs.
void check_coming_back(int spinning, bool tells) {
  Crowding crowding = crowding_here();
  Machine machine;
  machine.tells = tells;
  const Time end = now + milliseconds(spinning);
  machine.others = [end] { return now < end; };
  while (now < end) machine.call(crowding, 2);
  Time after{0};
  for (const Time begin = now; machine.call(crowding, 2).threads < 2;) after = now - begin;
  // What a trial costs: its members were put aside longer than threads spared.
  const Time excess = machine.aside - machine.alone / 2;
  const Time most =
      std::min<Time>(milliseconds(spinning) + excess, excess * Crowding::kMostRatio) + machine.alone;
  CHECK(after <= (tells ? Time(0) : most), "gone after %d ms, threads were back %.1f ms later", spinning,
        static_cast<double>(after.count()) * 1e-6);
  for (int i = 0; i < 20; ++i) CHECK(machine.call(crowding, 2).threads == 2, "call %d", i);
  room = false;
}

// Trials on a taken core that succeed now and then, by luck: what they spare is set against what others cost.
void check_lucky() {
  for (const int lucky : {2, 3, 5, 9, 20}) {
    Crowding crowding = crowding_here();
    Machine machine;
    machine.aside = milliseconds(6);
    Time total{0};
    int calls = 0, trials = 0;
    machine.others = [&] { return ++trials % lucky == 0 ? 1 : 0; };
    for (; calls < 10000; ++calls) total += machine.call(crowding, 2).whole;
    const double ratio =
        static_cast<double>(total.count()) / static_cast<double>((machine.alone * calls).count());
    CHECK(ratio < 1.1, "every %d-th: %.3f of the time of one thread", lucky, ratio);
    // Then threads pay: much more is spared than lost.
    if (lucky == 20) CHECK(ratio < 0.95, "every %d-th: threads pay, but %.3f", lucky, ratio);
  }
}

// With many cores, as many fewer threads as were interrupted.
void check_many_cores() {
  for (const int others : {1, 3, 7}) {
    Crowding crowding = crowding_here();
    Machine machine;
    machine.cores = 8;
    machine.aside = milliseconds(8);
    machine.others = [&] { return others; };
    int counts[9] = {};
    for (int i = 0; i < 10000; ++i) ++counts[machine.call(crowding, 8).threads];
    CHECK(counts[8 - others] > 9000, "%d cores taken: %d of 10000 calls on the rest", others,
          counts[8 - others]);
    CHECK(counts[8] + counts[8 - others] == 10000, "%d cores taken: another number of threads", others);
    machine.others = [] { return 0; };
    while (machine.call(crowding, 8).threads < 8) {
    }
    CHECK(machine.call(crowding, 4).threads == 4, "a call that wants fewer");
  }
}

// A machine that was crowded in every way for long, with moments in between that look free: threads are back
// within some milliseconds once it is free, and soon earlier crowding has no effect.
void check_after_a_storm() {
  Crowding crowding = crowding_here();
  Machine machine;
  machine.tells = true;
  machine.aside = milliseconds(30);
  test::Random random(1);
  const Time storm = now + seconds(10);
  // Free for a call now and then, and taken again before a trial is over.
  int looks_free = 0;
  machine.others = [&] { return random.below(10) == 0 ? 0 : 1; };
  while (now < storm) looks_free += machine.call(crowding, 2).threads == 2;
  CHECK(looks_free > 10, "only %d trials", looks_free);
  for (int i = 0; i < 20; ++i) {  // told of room, and wrongly
    machine.others = [] { return 0; };
    machine.tells = true;
    room = true;
    if (crowding.begin(2) == 2) {
      now += milliseconds(30);
      crowding.learn({2, milliseconds(30), milliseconds(2), 1});
    } else {
      now += milliseconds(2);
    }
    crowding.end();
  }
  machine.others = [] { return 0; };
  Time after{0};
  for (const Time begin = now; machine.call(crowding, 2).threads < 2;) after = now - begin;
  CHECK(after <= milliseconds(40), "threads were back %.1f ms later",
        static_cast<double>(after.count()) * 1e-6);
  for (int i = 0; i < 100; ++i) CHECK(machine.call(crowding, 2).threads == 2, "call %d", i);
  machine.aside = milliseconds(4);
  machine.others = [] { return 1; };
  machine.call(crowding, 2);
  machine.others = [] { return 0; };
  CHECK(machine.call(crowding, 2).threads == 2, "the first interruption afterwards");
  room = false;
}

// Several jobs of one call are judged together.
void check_jobs() {
  Crowding crowding = crowding_here();
  for (int i = 0; i < 100; ++i) {
    CHECK(crowding.begin(2) == 2, "call %d", i);
    for (int job = 0; job < 4; ++job) {
      const bool interrupted = job == 0;
      const Time whole = milliseconds(interrupted ? 4 : 3);
      now += whole;
      crowding.learn({2, whole, milliseconds(interrupted ? 2 : 6), interrupted});
    }
    crowding.end();
  }
}

}  // namespace

int main() {
  check_quiet();
  check_single();
  check_waiting_alone();
  check_one_core_for_both();
  for (const Time alone : {Time(microseconds(50)), Time(milliseconds(2)), Time(milliseconds(300))}) {
    check_taken(alone, false, false);
    check_taken(alone, true, false);
    check_taken(alone, false, true);
  }
  for (int spinning = 1; spinning <= 300; ++spinning) {
    check_coming_back(spinning, false);
    check_coming_back(spinning, true);
  }
  check_lucky();
  check_many_cores();
  check_after_a_storm();
  check_jobs();
  std::printf("crowding: passed\n");
  return 0;
}
