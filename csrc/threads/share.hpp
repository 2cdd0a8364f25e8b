// How members of a team divide work among them. Used by run.
#pragma once

#include <cstdint>

namespace cellgate {

// The share of one of `members` in `count` units of work.
struct Share {
  Share(std::int64_t count, int member, int members)
      : begin(count * member / members), end(count * (member + 1) / members) {}
  std::int64_t size() const { return end - begin; }
  std::int64_t begin, end;
};

}  // namespace cellgate
