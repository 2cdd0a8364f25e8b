// The store of working memory that no call uses at the moment.
#include "memory/kept_scratch.hpp"

#include <mutex>
#include <vector>

namespace cellgate {
namespace {

constexpr std::size_t kKeptCount = 8;

struct Store {
  std::mutex mutex;
  std::vector<std::unique_ptr<Scratch>> unused;  // the last one used is the last
  std::size_t bytes = 0;
};

// Never destroyed, for a thread may still be inside a call when the process ends. Its mutex is only tried,
// never waited for, since it may stay locked for ever in a child made by fork: a call that does not get it
// allocates new memory, and frees it at its end.
Store* const store = [] {
  auto* fresh = new Store;
  fresh->unused.reserve(kKeptCount);
  return fresh;
}();

}  // namespace

KeptScratch::KeptScratch() {
  Store& kept = *store;
  if (std::unique_lock<std::mutex> lock(kept.mutex, std::try_to_lock); lock && !kept.unused.empty()) {
    scratch_ = std::move(kept.unused.back());
    kept.unused.pop_back();
    kept.bytes -= scratch_->bytes();
  }
  if (!scratch_) scratch_ = std::make_unique<Scratch>();
}

KeptScratch::~KeptScratch() {
  Store& kept = *store;
  const std::size_t bytes = scratch_->bytes();
  const std::unique_lock<std::mutex> lock(kept.mutex, std::try_to_lock);
  if (!lock || kept.unused.size() == kKeptCount || kept.bytes + bytes > kKeptBytes) return;
  kept.bytes += bytes;
  kept.unused.push_back(std::move(scratch_));
}

}  // namespace cellgate
