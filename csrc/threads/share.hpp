// The part of some work that falls to one member of a team. Used by run's layer files.
#pragma once

#include <cstdint>

namespace cellgate {

// The share of one of `members` in `count` units of work: [begin, end). Shares differ by one unit at most.
struct Share {
  Share(std::int64_t count, int member, int members)
      : begin(count * member / members), end(count * (member + 1) / members) {}
  std::int64_t size() const { return end - begin; }
  std::int64_t begin, end;
};

}  // namespace cellgate
