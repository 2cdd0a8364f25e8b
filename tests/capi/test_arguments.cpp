// Every function with NULL and with wrong arguments: a status and a message, outputs of failing calls
// cleared, and nothing written. Structs of older and of newer programs.
#include <cmath>
#include <limits>

#include "common.hpp"

namespace {

using test::Described;
using test::run_arguments;

cg_error error;

void wants(cg_status got, cg_status wanted, const char* message, int line) {
  CHECK(got == wanted, "line %d: got %s, wanted %s: %s", line, cg_status_name(got), cg_status_name(wanted),
        error.message);
  CHECK(error.code == wanted, "line %d: the error has another code", line);
  CHECK(std::strstr(error.message, message), "line %d: got '%s', wanted '%s'", line, error.message, message);
}
#define WANTS(call, status, message) wants(call, status, message, __LINE__)
#define INVALID(call, message) WANTS(call, CG_INVALID_ARGUMENT, message)

void check_null() {
  cg_model* model = nullptr;
  cg_stream* stream = nullptr;
  cg_pool* pool = nullptr;
  const char* text = nullptr;
  std::size_t count = 7;
  float sample = 0;
  double wide = 0;
  const float* in[1] = {&sample};
  float* out[1] = {&sample};
  cg_info info{};
  CHECK(cg_model_retain(nullptr) == nullptr, "retain");
  cg_model_release(nullptr);
  cg_stream_destroy(nullptr);
  cg_pool_destroy(nullptr);
  cg_model_description_init(nullptr, 100);
  INVALID(cg_active_isa(nullptr, &error), "name");
  INVALID(cg_model_load(nullptr, nullptr, &model, &error), "path: must be a string, got NULL");
  INVALID(cg_model_load("x", nullptr, nullptr, &error), "model");
  INVALID(cg_model_load_memory(nullptr, 3, nullptr, &model, &error), "data");
  INVALID(cg_model_load_memory("x", 1, nullptr, nullptr, &error), "model");
  INVALID(cg_model_create(nullptr, nullptr, &model, &error), "description");
  INVALID(cg_model_get_info(nullptr, &info, &error), "model");
  INVALID(cg_model_metadata(nullptr, "a", &text, &error), "model");
  INVALID(cg_model_metadata_at(nullptr, 0, &text, &text, &error), "model");
  INVALID(cg_model_selftest(nullptr, &wide, &error), "model");
  INVALID(cg_stream_size(nullptr, &count, &error), "model");
  CHECK(count == 0, "a count of a failing call");
  INVALID(cg_stream_init(nullptr, &wide, 8, &stream, &error), "model");
  INVALID(cg_stream_create(nullptr, &stream, &error), "model");
  INVALID(cg_stream_process(nullptr, &sample, &sample, 1, &error), "stream: must be a stream, got NULL");
  INVALID(cg_stream_process_f64(nullptr, &wide, &wide, 1, &error), "stream");
  INVALID(cg_stream_process_planar(nullptr, in, out, 1, &error), "stream");
  INVALID(cg_stream_process_planar_f64(nullptr, nullptr, nullptr, 1, &error), "stream");
  INVALID(cg_stream_reset(nullptr, &error), "stream");
  INVALID(cg_stream_state_count(nullptr, &count, &error), "stream");
  INVALID(cg_stream_get_state(nullptr, &sample, 1, &error), "stream");
  INVALID(cg_stream_get_state_f64(nullptr, &wide, 1, &error), "stream");
  INVALID(cg_stream_set_state(nullptr, &sample, 1, &error), "stream");
  INVALID(cg_stream_set_state_f64(nullptr, &wide, 1, &error), "stream");
  INVALID(cg_run(nullptr, nullptr, &error), "model");
  INVALID(cg_run_f64(nullptr, nullptr, &error), "model");
  INVALID(cg_pool_create(0, &pool, &error), "threads: must be from 1 to 1024, got 0");
  INVALID(cg_pool_create(1025, &pool, &error), "got 1025");
  INVALID(cg_pool_create(1, nullptr, &error), "pool");
  CHECK(!model && !stream && !pool && !text, "an output of a failing call");
  CHECK(cg_model_load(nullptr, nullptr, nullptr, nullptr) == CG_INVALID_ARGUMENT, "without a cg_error");
}

template <class Change>
void refused(cg_status status, const char* message, const Change& change,
             const test::Sizes& sizes = test::Sizes()) {
  Described<float> described(sizes);
  change(described);
  cg_model* model = reinterpret_cast<cg_model*>(&error);
  WANTS(cg_model_create(&described.description, nullptr, &model, &error), status, message);
  CHECK(!model, "an output of a failing call");
}

void check_descriptions() {
  using D = Described<float>;
  const float nan[8] = {std::numeric_limits<float>::quiet_NaN()};
  refused(CG_INVALID_ARGUMENT, "hidden_size: must be at least 1, got 0",
          [](D& d) { d.description.hidden_size = 0; });
  refused(CG_INVALID_ARGUMENT, "input_size", [](D& d) { d.description.input_size = -5; });
  refused(CG_INVALID_ARGUMENT, "num_layers", [](D& d) { d.description.num_layers = 0; });
  refused(CG_INVALID_ARGUMENT, "proj_size", [](D& d) { d.description.proj_size = 8; });
  refused(CG_OUT_OF_MEMORY, "memory",
          [](D& d) { d.description.hidden_size = std::numeric_limits<std::int64_t>::max(); });
  refused(CG_OUT_OF_MEMORY, "memory", [](D& d) { d.description.num_layers = std::int64_t{1} << 62; });
  refused(CG_INVALID_ARGUMENT, "dtype", [](D& d) { d.description.dtype = 2; });
  refused(CG_INVALID_ARGUMENT, "pooling: must be from 0 to 2, got 3",
          [](D& d) { d.description.pooling = 3; });
  refused(CG_INVALID_ARGUMENT, "head_activation", [](D& d) { d.description.head_activation = -1; });
  refused(CG_INVALID_ARGUMENT, "head_outputs", [](D& d) { d.description.head_outputs = -1; });
  refused(CG_INVALID_ARGUMENT, "head_outputs", [](D& d) { d.description.head_outputs = 0; });
  refused(CG_TOO_LARGE, "head_weight",
          [](D& d) { d.description.head_outputs = std::numeric_limits<std::int64_t>::max(); });
  refused(CG_INVALID_ARGUMENT, "head_weight: must be an array, got NULL",
          [](D& d) { d.description.head_weight = nullptr; });
  refused(CG_INVALID_ARGUMENT, "layers: must be an array, got NULL",
          [](D& d) { d.description.layers = nullptr; });
  refused(CG_INVALID_ARGUMENT, "layers: struct_size", [](D& d) { d.description.layer_struct_size = 0; });
  refused(CG_INVALID_ARGUMENT, "weight_ih_l0: must be an array, got NULL",
          [](D& d) { d.layers[0].weight_ih = nullptr; });
  refused(CG_INVALID_ARGUMENT, "bias_hh_l0", [](D& d) { d.layers[0].bias_hh = nullptr; });
  refused(CG_INVALID_ARGUMENT, "weight_hr_l0", [](D& d) { d.description.proj_size = 2; });
  refused(CG_INVALID_ARGUMENT, "weight_hh_l0: must be aligned",
          [](D& d) { d.layers[0].weight_hh = static_cast<const char*>(d.layers[0].weight_hh) + 1; });
  refused(CG_INVALID_ARGUMENT, "head_bias: must be finite", [&](D& d) { d.description.head_bias = nan; });
  refused(CG_INVALID_ARGUMENT, "input_scale", [&](D& d) { d.description.input_scale = nan + 1; });  // zero
  refused(CG_INVALID_ARGUMENT, "initial_c", [&](D& d) { d.description.initial_h = nan + 1; });
  refused(CG_INVALID_ARGUMENT, "skip", [](D& d) { d.description.skip = 1; }, {1, 8, 1, 0, false, 2});
  refused(CG_INVALID_ARGUMENT, "input_gain", [](D& d) { d.description.input_gain = std::nan(""); });
  refused(CG_INVALID_ARGUMENT, "sample_rate", [](D& d) { d.description.sample_rate = -1; });
  refused(CG_INVALID_ARGUMENT, "metadata", [](D& d) { d.description.metadata = nullptr; });
  refused(CG_INVALID_ARGUMENT, "description: struct_size", [](D& d) { d.description.struct_size = 3; });
  refused(CG_INVALID_ARGUMENT, "description: struct_size",
          [](D& d) { d.description.struct_size = sizeof d.description - 1; });  // within a member
  cg_model_options options{};
  options.struct_size = sizeof options;
  options.flags = CG_ALLOW_NONFINITE;
  Described<float> described({});
  described.description.head_bias = nan;
  cg_model_release(described.create(&options));
}

void check_options() {
  const Described<float> described({});
  cg_model* model = nullptr;
  cg_model_options options{};
  options.struct_size = sizeof options;
  const auto create = [&] { return cg_model_create(&described.description, &options, &model, &error); };
  options.isa = "sse";
  INVALID(create(), "isa: must be one of");
  options.isa = nullptr;
  options.flags = 4;
  WANTS(create(), CG_UNSUPPORTED, "flags");
  options.flags = 0;
  const cg_allocator half{nullptr, nullptr, [](void*, void*, std::size_t) {}};
  options.allocator = &half;
  INVALID(create(), "allocator");
  options.allocator = nullptr;
  options.format = 5;
  WANTS(cg_model_load_memory("{}", 2, &options, &model, &error), cg_status{CG_INVALID_ARGUMENT},
        "format: must be from 0 to 4, got 5");
  options.format = 0;
  options.byte_limit = 1;
  WANTS(cg_model_load_memory("{}", 2, &options, &model, &error), CG_TOO_LARGE,
        "data: must have at most 1 bytes");
  options.byte_limit = 0;
  options.source = "net";
  WANTS(cg_model_load_memory("{}", 2, &options, &model, &error), CG_UNSUPPORTED,
        "net: is JSON, but of no known");
  WANTS(cg_model_load_memory("{\"layers\"", 9, &options, &model, &error), CG_MALFORMED, "net: ");
  WANTS(cg_model_load_memory(nullptr, 0, &options, &model, &error), CG_UNSUPPORTED, "empty");
  WANTS(cg_model_load("/no/such/\xc3\xa9", &options, &model, &error), CG_UNREADABLE,
        "/no/such/\xc3\xa9: cannot");
  // A message longer than its room is cut between characters.
  std::string path = "/x";
  while (path.size() < 1200) path += "\xe2\x82\xac";
  WANTS(cg_model_load(path.c_str(), nullptr, &model, &error), CG_UNREADABLE, "/x");
  CHECK(std::strlen(error.message) > CG_MESSAGE_BYTES - 5 && (std::strlen(error.message) - 2) % 3 == 0,
        "cut at %zu", std::strlen(error.message));
  CHECK(!model, "an output of a failing call");
  CHECK(std::strcmp(cg_status_name(CG_ABSENT), "CG_ABSENT") == 0, "name");
  CHECK(std::strcmp(cg_status_name(-1), "unknown status") == 0, "name");
  CHECK(std::strcmp(cg_status_name(1000), "unknown status") == 0, "name");
}

void check_streams() {
  const Described<float> described({2, 8, 1, 0, false, 3});
  cg_model* model = described.create();
  const Described<double> wide_described({2, 8, 1, 0, false, 3});
  cg_model* wide = wide_described.create();
  const Described<float> both_described({2, 8, 1, 0, true, 3});
  cg_model* both = both_described.create();
  cg_stream *stream = nullptr, *wide_stream = nullptr;
  std::size_t bytes = 0, count = 0;
  INVALID(cg_stream_create(both, &stream, &error), "model: must not be bidirectional to stream");
  INVALID(cg_stream_size(both, &bytes, &error), "bidirectional");
  CHECK(cg_stream_size(model, &bytes, &error) == CG_OK && bytes > 64, "size");
  void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  INVALID(cg_stream_init(model, nullptr, bytes, &stream, &error), "memory");
  INVALID(cg_stream_init(model, static_cast<char*>(memory) + 32, bytes, &stream, &error),
          "CG_STREAM_ALIGNMENT");
  INVALID(cg_stream_init(model, memory, bytes - 1, &stream, &error), "bytes");
  CHECK(!stream, "an output of a failing call");
  CHECK(cg_stream_init(model, memory, bytes, &stream, &error) == CG_OK, "init");
  CHECK(cg_stream_create(wide, &wide_stream, &error) == CG_OK, "create");
  float room[64] = {};
  double wide_room[64] = {};
  WANTS(cg_stream_process_f64(stream, wide_room, wide_room + 32, 1, &error), CG_WRONG_TYPE, "float32");
  WANTS(cg_stream_process(wide_stream, room, room + 32, 1, &error), CG_WRONG_TYPE, "float64");
  WANTS(cg_stream_get_state(wide_stream, room, 16, &error), CG_WRONG_TYPE, "float64");
  INVALID(cg_stream_process(stream, nullptr, room, 1, &error), "in, out");
  INVALID(cg_stream_process(stream, room, room, 1, &error), "overlap");  // as many outputs as inputs: no
  INVALID(cg_stream_process(stream, room, room + 1, 1, &error), "overlap");
  INVALID(cg_stream_process(stream, room, room + 32, ~std::size_t{0}, &error), "frames");
  INVALID(cg_stream_process(stream, room, reinterpret_cast<float*>(reinterpret_cast<char*>(room + 32) + 1), 1,
                            &error),
          "aligned");
  CHECK(cg_stream_process(stream, nullptr, nullptr, 0, &error) == CG_OK, "no frames");
  const float* in[2] = {room, nullptr};
  float* out[3] = {room, room, room};
  INVALID(cg_stream_process_planar(stream, in, out, 1, &error), "in, out");
  CHECK(cg_stream_state_count(stream, &count, &error) == CG_OK && count == 16, "count");
  INVALID(cg_stream_get_state(stream, room, 15, &error), "count");
  INVALID(cg_stream_set_state(stream, nullptr, 16, &error), "state");
  cg_stream_destroy(stream);
  cg_stream_destroy(wide_stream);
  std::free(memory);
  for (cg_model* each : {model, wide, both}) cg_model_release(each);
}

template <class Change>
void run_refused(cg_model* model, cg_status status, const char* message, const Change& change) {
  std::vector<float> x(3 * 4 * 2, 1.0f), y(3 * 4 * 3, 7.0f), h(2 * 4 * 8), c(2 * 4 * 8);
  auto arguments = run_arguments<float>(3, 4, x.data(), y.data());
  arguments.h_n = h.data();
  arguments.c_n = c.data();
  change(arguments);
  WANTS(cg_run(model, &arguments, &error), status, message);
  for (const float value : y) CHECK(value == 7.0f, "%s: something was written", message);
}

void check_runs() {
  using A = cg_run_arguments;
  const Described<float> described({2, 8, 1, 0, true, 3});
  cg_model* model = described.create();
  const auto refuses = [&](const char* message, const auto& change) {
    run_refused(model, CG_INVALID_ARGUMENT, message, change);
  };
  static float state[2 * 4 * 8];
  refuses("steps: must be at least 0, got -1", [](A& a) { a.steps = -1; });
  refuses("batch", [](A& a) { a.batch = std::numeric_limits<std::int64_t>::min(); });
  refuses("x: must be an array, got NULL", [](A& a) { a.x = nullptr; });
  refuses("y: must be an array, got NULL", [](A& a) { a.y = nullptr; });
  refuses("x: must be aligned",
          [](A& a) { a.x = reinterpret_cast<const float*>(reinterpret_cast<const char*>(a.x) + 2); });
  refuses("x_row: must stay within", [](A& a) { a.x_row = std::int64_t{1} << 60; });
  refuses("y: must not overlap itself", [](A& a) { a.y_step = 3, a.y_row = 3; });
  refuses("y: must not share memory with x", [](A& a) { a.x = a.y; });
  refuses("h_n: must not share memory with c_n", [](A& a) { a.h_n = a.c_n; });
  refuses("c0: must be an array with h0, got NULL", [](A& a) { a.h0 = state; });
  refuses("h0: must be an array with c0", [](A& a) { a.c0 = state; });
  refuses("lengths: must be from 0 to 3, got 4", [](A& a) {
    static const std::int64_t lengths[4] = {0, 3, 4, 1};
    a.lengths = lengths;
  });
  run_refused(model, CG_TOO_LARGE, "x: the results for shape",
              [](A& a) { a.steps = a.batch = std::int64_t{1} << 40; });
  run_refused(model, CG_TOO_LARGE, "x: the results for shape",
              [](A& a) { a.steps = a.batch = std::numeric_limits<std::int64_t>::max(); });
  // No sequences: nothing to do, however many steps they would have.
  auto empty = run_arguments<float>(std::int64_t{1} << 60, 0, nullptr, nullptr);
  CHECK(cg_run(model, &empty, &error) == CG_OK, "%s", error.message);
  double wide[1] = {};
  auto arguments = run_arguments<double>(0, 0, wide, wide);
  WANTS(cg_run_f64(model, &arguments, &error), CG_WRONG_TYPE,
        "model: must be float64 for cg_run_f64, got float32");
  cg_model_release(model);
  const Described<float> pooling({2, 8, 1, 0, true, 3, CG_LINEAR, CG_POOL_MEAN});
  model = pooling.create();
  refuses("reset: must be None with pooling", [](A& a) {
    static const std::uint8_t reset[12] = {};
    a.reset = reset;
  });
  cg_model_release(model);
}

// Structs of a program that was compiled with an older header end earlier, of a newer one later.
void check_struct_sizes() {
  const Described<float> described({1, 8, 1, 0, false, 1});
  struct Newer {
    cg_model_options options;
    std::uint64_t more;
  } newer{};
  newer.options.struct_size = sizeof newer;
  cg_model* model = described.create(&newer.options);
  cg_model* none = nullptr;
  newer.more = 1;
  WANTS(cg_model_create(&described.description, &newer.options, &none, &error), CG_UNSUPPORTED, "options: ");

  cg_model_options older{};
  std::memset(static_cast<void*>(&older), 0xff, sizeof older);  // what an older program has behind its struct
  older.struct_size = offsetof(cg_model_options, isa);
  older.allocator = nullptr;
  cg_model_release(described.create(&older));

  Described<float> shorter({1, 8, 1, 0, false, 1});
  std::memset(reinterpret_cast<char*>(&shorter.description) + offsetof(cg_model_description, input_mean),
              0xff, sizeof(cg_model_description) - offsetof(cg_model_description, input_mean));
  shorter.description.struct_size = offsetof(cg_model_description, input_mean);
  cg_model* old = shorter.create();
  cg_info info{};
  info.struct_size = sizeof info;
  CHECK(cg_model_get_info(old, &info, &error) == CG_OK && info.input_gain == 1.0 && info.metadata_count == 0,
        "defaults of members that an older program does not have");
  cg_model_release(old);

  info.struct_size = offsetof(cg_info, dtype);
  info.isa = "untouched";
  CHECK(cg_model_get_info(model, &info, &error) == CG_OK && info.hidden_size == 8, "older info");
  CHECK(std::strcmp(info.isa, "untouched") == 0, "more was written than the caller has");
  struct NewerInfo {
    cg_info info;
    std::uint64_t more;
  } newer_info{};
  newer_info.info.struct_size = sizeof newer_info;
  newer_info.more = 5;
  CHECK(cg_model_get_info(model, &newer_info.info, &error) == CG_OK && newer_info.more == 0, "newer info");

  float x[4] = {1, 2, 3, 4}, y[4] = {}, wanted[4] = {};
  auto arguments = run_arguments<float>(4, 1, x, wanted);
  CHECK(cg_run(model, &arguments, &error) == CG_OK, "%s", error.message);
  std::memset(static_cast<void*>(&arguments), 0xff, sizeof arguments);
  arguments.struct_size = offsetof(cg_run_arguments, lengths);
  arguments.steps = 4;
  arguments.batch = 1;
  arguments.x = x;
  arguments.y = y;
  arguments.x_step = arguments.x_row = arguments.y_step = arguments.y_row = 0;
  CHECK(cg_run(model, &arguments, &error) == CG_OK, "%s", error.message);
  CHECK(std::memcmp(y, wanted, sizeof y) == 0, "an older program gets other bits");
  cg_model_release(model);
}

void check_models() {
  const Described<float> described({1, 20, 2, 0, false, 2});
  cg_model* model = described.create();
  const char *key = nullptr, *value = nullptr;
  CHECK(cg_model_metadata(model, "name", &value, &error) == CG_OK && !std::strcmp(value, "a name"),
        "metadata");
  CHECK(cg_model_metadata_at(model, 0, &key, &value, &error) == CG_OK &&
            !std::strcmp(key, "a key that no small string holds"),
        "metadata by number");
  WANTS(cg_model_metadata(model, "other", &value, &error), CG_ABSENT, "key");
  WANTS(cg_model_metadata_at(model, 2, &key, &value, &error), CG_ABSENT, "index");
  CHECK(!key && !value, "an output of a failing call");
  double difference = 0;
  WANTS(cg_model_selftest(model, &difference, &error), CG_ABSENT, "self-test");
  cg_info info{};
  info.struct_size = sizeof info;
  CHECK(cg_model_get_info(model, &info, &error) == CG_OK, "%s", error.message);
  const char* isa = nullptr;
  CHECK(cg_active_isa(&isa, &error) == CG_OK && std::strcmp(isa, info.isa) == 0, "instruction set");
  CHECK(
      info.num_layers == 2 && info.output_size == 2 && info.sample_rate == 48000 && info.selftest_steps == 0,
      "info");
  cg_model_release(cg_model_retain(model));
  cg_model_release(model);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {  // with a wrong CELLGATE_ISA
    const char* isa = argv[1];
    INVALID(cg_active_isa(&isa, &error), "CELLGATE_ISA: must be one of");
    CHECK(!isa, "an output of a failing call");
    cg_model* model = nullptr;
    const Described<float> described({});
    INVALID(cg_model_create(&described.description, nullptr, &model, &error), "CELLGATE_ISA");
    std::puts("wrong CELLGATE_ISA: passed");
    return 0;
  }
  check_null();
  check_descriptions();
  check_options();
  check_streams();
  check_runs();
  check_struct_sizes();
  check_models();
  std::puts("arguments: passed");
}
