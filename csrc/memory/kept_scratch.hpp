// Memory for calls that own none, kept from one call to the next. Used by bindings; streams have their own.
#pragma once

#include <memory>

#include "memory/scratch.hpp"

namespace cellgate {

// A Scratch for the time of one call. Memory fresh from the system costs a page fault for every
// page, several per cent of a call with some MiB of it; so the last few are kept, kKeptBytes of them at most.
class KeptScratch {
 public:
  KeptScratch();
  ~KeptScratch();
  KeptScratch(const KeptScratch&) = delete;
  KeptScratch& operator=(const KeptScratch&) = delete;

  Scratch& get() { return *scratch_; }

 private:
  std::unique_ptr<Scratch> scratch_;
};

constexpr std::size_t kKeptBytes = std::size_t{128} << 20;

}  // namespace cellgate
