// When memory runs out: whichever allocation fails, and however many after it, calls give a status, outputs
// are NULL, and nothing leaks. What a model keeps comes from the caller's allocator and goes back to it.
#include <cerrno>
#include <map>

#include "common.hpp"

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

bool armed = false, all_fail = false, fired = false;
long left = -1, live = 0;  // until one fails; not freed

bool fails() {
  if (!armed || left < 0) return false;
  if (left > 0) return --left, false;
  if (!all_fail) left = -1;
  fired = true;
  errno = ENOMEM;
  return true;
}
void* counted(void* memory) {
  if (armed && memory) ++live;
  return memory;
}

}  // namespace

// operator new of the C++ library calls malloc.
extern "C" {
void* malloc(std::size_t bytes) { return fails() ? nullptr : counted(__libc_malloc(bytes)); }
void* calloc(std::size_t count, std::size_t bytes) {
  return fails() ? nullptr : counted(__libc_calloc(count, bytes));
}
void* realloc(void* memory, std::size_t bytes) {
  if (fails()) return nullptr;
  return memory ? __libc_realloc(memory, bytes) : counted(__libc_malloc(bytes));
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  return fails() ? nullptr : counted(__libc_memalign(alignment, bytes));
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  *memory = memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
void free(void* memory) {
  if (armed && memory) --live;
  __libc_free(memory);
}
}

namespace {

// Runs `run`, which returns the first status that is not CG_OK, with each allocation failing in turn.
template <class Run>
void check_failing(const char* what, long least, const Run& run) {
  for (const bool all : {false, true}) {
    long failures = 0, survived = 0;
    for (;; ++failures) {
      live = 0;
      left = failures;
      all_fail = all;
      fired = false;
      armed = true;
      const cg_status status = run();
      armed = false;
      CHECK(live == 0, "%s: allocation %ld leaks %ld", what, failures, live);
      if (status == CG_OK && !fired) break;
      if (status == CG_OK) {  // std::stable_sort of `lengths` asks for memory that it can do without
        CHECK(++survived < 10, "%s: allocation %ld failed and no status says so", what, failures);
        continue;
      }
      CHECK(fired, "%s: a status without a failure", what);
      CHECK(status == CG_OUT_OF_MEMORY || status == CG_UNREADABLE, "%s: allocation %ld gives %s", what,
            failures, cg_status_name(status));
    }
    CHECK(failures >= least, "%s: only %ld allocations", what, failures);
  }
}

template <class S>
cg_status use(cg_model* model, std::int64_t inputs, std::int64_t outputs) {
  static std::vector<S> x(5 * 3 * 20, S(0.5)), y(5 * 3 * 300);
  CHECK(inputs <= 20 && outputs <= 300, "room");
  cg_stream* stream = nullptr;
  cg_status status = cg_stream_create(model, &stream, nullptr);
  CHECK((status == CG_OK) == (stream != nullptr), "stream");
  if (status == CG_OK) status = test::process(stream, x.data(), y.data(), 5);
  cg_stream_destroy(stream);
  static const std::int64_t lengths[3] = {5, 2, 3};
  auto arguments = test::run_arguments<S>(5, 3, x.data(), y.data());
  arguments.lengths = lengths;
  if (status == CG_OK) status = test::run(model, arguments);
  return status;
}

template <class S>
void check_create(const char* what, const test::Sizes& sizes) {
  const test::Described<S> described(sizes);
  const auto run = [&](const cg_model_options* options) {
    cg_model* model = nullptr;
    cg_error error;
    cg_status status = cg_model_create(&described.description, options, &model, &error);
    CHECK((status == CG_OK) == (model != nullptr), "model");
    if (status == CG_OK) status = use<S>(model, sizes.inputs, described.outputs());
    cg_model_release(model);
    return status;
  };
  run(nullptr);  // the first arrays of `use`
  check_failing(what, 20, [&] { return run(nullptr); });
}

const char kFile[] =
    R"({"in_shape":[null,null,1],"layers":[{"type":"lstm","activation":"","shape":[null,null,1],"weights":)"
    R"([[[1,2,3,4]],[[1,2,3,4]],[1,2,3,4]]},{"type":"dense","activation":"","shape":[null,null,1],)"
    R"("weights":[[[1]],[1]]}],"a name that is not short enough to be held without memory":"x",)"
    R"("input_batch":[0.5,-0.5],"output_batch":[0.25,0.5]})";

cg_status load(const char* path) {
  cg_model* model = nullptr;
  cg_status status = path ? cg_model_load(path, nullptr, &model, nullptr)
                          : cg_model_load_memory(kFile, sizeof kFile - 1, nullptr, &model, nullptr);
  CHECK((status == CG_OK) == (model != nullptr), "model");
  double difference = 0;
  if (status == CG_OK) status = cg_model_selftest(model, &difference, nullptr);
  if (status == CG_OK) status = use<float>(model, 1, 1);
  cg_model_release(model);
  return status;
}

// ---- the caller's allocator --------------------------------------------------------------------

struct Source {
  std::map<void*, std::size_t> live;
  long made = 0, left = -1;
  static void* allocate(void* self, std::size_t bytes, std::size_t alignment) {
    Source& source = *static_cast<Source*>(self);
    if (source.left == 0) return nullptr;
    if (source.left > 0) --source.left;
    CHECK(bytes > 0 && (alignment & (alignment - 1)) == 0 && alignment <= (std::size_t{2} << 20),
          "arguments");
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    source.live[memory] = bytes;
    ++source.made;
    return memory;
  }
  static void release(void* self, void* memory, std::size_t bytes) {
    Source& source = *static_cast<Source*>(self);
    const auto found = source.live.find(memory);
    CHECK(found != source.live.end() && found->second == bytes, "given back: %zu bytes", bytes);
    source.live.erase(found);
    std::free(memory);
  }
};

template <class S>
void check_allocator(const test::Sizes& sizes) {
  const test::Described<S> described(sizes);
  Source source;
  cg_model_options options{};
  options.struct_size = sizeof options;
  for (long failures = 0;; ++failures) {
    cg_allocator allocator{&source, &Source::allocate, &Source::release};
    options.allocator = &allocator;
    source.left = failures;
    cg_model* model = nullptr;
    cg_status status = cg_model_create(&described.description, &options, &model, nullptr);
    allocator = {};  // it was copied
    if (status == CG_OK) {
      CHECK(source.live.size() >= 5, "only %zu blocks of a model are the caller's", source.live.size());
      status = use<S>(model, sizes.inputs, described.outputs());
    }
    cg_model_release(model);
    CHECK(source.live.empty(), "%zu blocks are left", source.live.size());
    if (status == CG_OK) break;
    CHECK(status == CG_OUT_OF_MEMORY, "%s", cg_status_name(status));
    CHECK(failures < 1000, "it never succeeds");
  }
  CHECK(source.made > 50, "only %ld blocks were made", source.made);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: test_memory FOLDER");
  const char* isa = nullptr;
  CHECK(cg_active_isa(&isa, nullptr) == CG_OK, "isa");  // chosen once, and kept
  const test::Sizes large{3, 20, 2, 7, false, 4, CG_SOFTMAX, CG_POOL_NONE, true, true};
  check_create<float>("a small model", {});
  check_create<float>("a model with all there is", large);
  check_create<double>("the same in float64", large);
  check_failing("a file in memory", 40, [] { return load(nullptr); });
  const std::string path = std::string(argv[1]) + "/memory.json";
  std::FILE* file = std::fopen(path.c_str(), "wb");
  CHECK(file && std::fwrite(kFile, 1, sizeof kFile - 1, file) == sizeof kFile - 1, "%s", path.c_str());
  std::fclose(file);
  check_failing("a file", 40, [&] { return load(path.c_str()); });
  check_failing("a pool", 1, [] {
    cg_pool* pool = nullptr;
    const cg_status status = cg_pool_create(2, &pool, nullptr);
    cg_pool_destroy(pool);
    return status;
  });
  check_allocator<float>(large);
  check_allocator<double>({1, 300, 1, 0, false, 0});  // blocks of more than a huge page
  std::puts("memory: passed");
}
