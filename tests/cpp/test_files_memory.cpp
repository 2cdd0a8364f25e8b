// csrc/files when memory runs out: whichever allocation fails, reading and writing throw and leak nothing,
// and what a damaged file makes a reader allocate stays in proportion to its size.
#include <cstdlib>
#include <new>

#include "file_cases.hpp"

namespace {

std::int64_t live = 0;    // allocations that were not freed
std::int64_t left = -1;   // until one fails; -1: none does
std::size_t largest = 0;  // bytes of one allocation

void* allocate(std::size_t bytes) {
  if (left == 0) throw std::bad_alloc();
  if (left > 0) --left;
  void* memory = std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  if (bytes > largest) largest = bytes;
  ++live;
  return memory;
}

void release(void* memory) noexcept {
  if (!memory) return;
  --live;
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }

namespace {

using namespace cellgate;
using namespace cellgate::files;

template <class Run>
void check_failing(const char* what, std::int64_t least, const Run& run) {
  std::int64_t failures = 0;
  for (;; ++failures) {
    const std::int64_t before = live;
    bool failed = false;
    left = failures;
    try {
      run();
    } catch (const std::bad_alloc&) {
      failed = true;
    } catch (const FileError&) {
    }
    left = -1;
    CHECK(live == before, "%s: allocation %lld leaks", what, static_cast<long long>(failures));
    if (!failed) break;
  }
  CHECK(failures >= least, "%s: only %lld allocations", what, static_cast<long long>(failures));
}

void check_reading(const char* what, const std::string& file) {
  const Bytes bytes{reinterpret_cast<const unsigned char*>(file.data()), file.size()};
  check_failing(what, 40, [&] { read_network(bytes); });
  const Bytes half{bytes.data, bytes.size / 2};
  check_failing(what, 4, [&] { read_network(half); });  // to an error
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const char digit : {'9', '-', 'e'}) {
      std::string damaged = file;
      damaged[at] = digit;
      largest = 0;
      try {
        read_network({reinterpret_cast<const unsigned char*>(damaged.data()), damaged.size()});
      } catch (const FileError&) {
      }
      CHECK(largest <= 16 * file.size() + 1024, "%s: %c at %zu allocates %zu bytes", what, digit, at,
            largest);
    }
  }
}

}  // namespace

int main() {
  NetworkDescription<float> n = test::network(test::sizes(2, 3, 2));
  n.metadata = {{"a name that is not short enough to be held without an allocation", "and a text like it"}};
  const AnyNetwork network(n);
  const std::vector<unsigned char> ours = write_network(network);
  check_failing("writing", 40, [&] { write_network(network); });
  check_reading("safetensors", std::string(ours.begin(), ours.end()));
  check_reading("RTNeural",
                test::rtneural_text(n, R"(,"metadata":{"a name that is long":"and a long text"})"));
  check_reading("Proteus", test::proteus_text(n, ",\"skip\":1"));
  check_reading("NAM", test::nam_text(n, std::vector<float>(12)));
  std::puts("files and memory: passed");
}
