// Fuzzes cg_run and streams: the bytes say which network, and every argument of a call. Arrays have fences of
// their own (ASan's), so that a stride or length that leads out of one is seen where the checks let it
// through.
#include <cellgate/cellgate.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

// The bytes of the input, one number after the other; zeros when they are used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  template <class T>
  T take() {
    T value{};
    const std::size_t n = size_ < sizeof value ? size_ : sizeof value;
    std::memcpy(&value, data_, n);
    data_ += n;
    size_ -= n;
    return value;
  }
  std::int64_t from(std::int64_t least, std::int64_t most) {
    return least +
           static_cast<std::int64_t>(take<std::uint8_t>() % static_cast<std::uint64_t>(most - least + 1));
  }
  bool flag() { return take<std::uint8_t>() & 1; }
  // Mostly small, sometimes anything.
  std::int64_t number(std::int64_t most) { return from(0, 15) ? from(-1, most) : take<std::int64_t>(); }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

constexpr std::int64_t kRoom = 4096;  // elements of the largest array

struct Deleter {
  void operator()(cg_model* model) const { cg_model_release(model); }
  void operator()(cg_stream* stream) const { cg_stream_destroy(stream); }
};

template <class S>
struct Memory {
  std::vector<S> weights = std::vector<S>(kRoom, S(0.125));
  std::vector<std::vector<S>> arrays;
  std::vector<std::int64_t> lengths;
  std::vector<std::uint8_t> reset;

  // An array of exactly `count` elements, or, since a caller may have that wrong, none.
  S* array(Input& in, double count) {
    if (!(count >= 0 && count <= kRoom) || in.from(0, 31) == 0) return nullptr;
    arrays.emplace_back(static_cast<std::size_t>(count), S(0.5));
    return arrays.back().data();
  }
};

template <class S>
std::unique_ptr<cg_model, Deleter> make_model(Input& in, Memory<S>& memory) {
  cg_model_description d;
  cg_model_description_init(&d, sizeof d);
  d.dtype = sizeof(S) == 4 ? CG_FLOAT32 : CG_FLOAT64;
  d.input_size = in.from(1, 5);
  d.hidden_size = in.from(1, 9);
  d.num_layers = in.from(1, 2);
  d.proj_size = in.from(0, d.hidden_size - 1);
  d.bidirectional = in.flag();
  d.head_outputs = in.from(0, 6);
  d.pooling = static_cast<cg_pooling>(in.from(0, 2));
  d.head_activation = static_cast<cg_activation>(in.from(0, 4));
  const S* all = memory.weights.data();
  if (d.head_outputs) d.head_weight = d.head_bias = all;
  if (in.flag()) d.input_mean = d.input_scale = all;
  if (in.flag()) d.initial_h = d.initial_c = all;
  if (in.flag()) d.skip = 0.5;
  const cg_layer_weights layer = {all, all, all, all, all};
  const std::vector<cg_layer_weights> layers(4, layer);
  d.layers = layers.data();
  cg_model* model = nullptr;
  cg_model_create(&d, nullptr, &model, nullptr);
  return std::unique_ptr<cg_model, Deleter>(model);
}

cg_status run(const cg_model* model, const cg_run_arguments& a, cg_error* e) { return cg_run(model, &a, e); }
cg_status run(const cg_model* model, const cg_run_arguments_f64& a, cg_error* e) {
  return cg_run_f64(model, &a, e);
}
cg_status process(cg_stream* s, const float* x, float* y, std::size_t n) {
  return cg_stream_process(s, x, y, n, nullptr);
}
cg_status process(cg_stream* s, const double* x, double* y, std::size_t n) {
  return cg_stream_process_f64(s, x, y, n, nullptr);
}

// Elements between the first and the last of an axis pair with these strides, and one; the arrays begin at
// the lowest address that is read.
double reach(double steps, double rows, double step, double row, double width) {
  if (steps < 1 || rows < 1) return 0;
  return (steps - 1) * step + (rows - 1) * row + width;
}

template <class Arguments, class S>
void fuzz_run(Input& in, const cg_model* model, const cg_info& info, Memory<S>& memory) {
  Arguments a{};
  a.struct_size = in.from(0, 15) ? sizeof a : static_cast<std::size_t>(in.from(0, sizeof a));
  a.steps = in.number(7);
  a.batch = in.number(5);
  // Calls that are right and would take for ever: a step that is read again and again, states of no steps.
  if (info.pooling && a.steps > 1000) a.steps = 1000;
  if (a.steps == 0 && a.batch > 1000) a.batch = 1000;
  const auto steps = static_cast<double>(a.steps), batch = static_cast<double>(a.batch);
  const auto strides = [&](std::int64_t& step, std::int64_t& row, std::int64_t width) {
    if (in.flag())
      return reach(steps, batch, batch * static_cast<double>(width), static_cast<double>(width),
                   static_cast<double>(width));
    step = in.number(40);
    row = in.number(40);
    // Negative ones lead out of the array, which nobody can check: a caller's error, not one of cg_run.
    if (step < 0) step = 0;
    if (row < 0) row = 0;
    if (step == 0 && row == 0)
      return reach(steps, batch, batch * static_cast<double>(width), static_cast<double>(width),
                   static_cast<double>(width));
    return reach(steps, batch, static_cast<double>(step), static_cast<double>(row),
                 static_cast<double>(width));
  };
  a.x = memory.array(in, strides(a.x_step, a.x_row, info.input_size));
  if (info.pooling) {
    a.y = memory.array(in, batch * static_cast<double>(info.output_size));
  } else {
    a.y = memory.array(in, strides(a.y_step, a.y_row, info.output_size));
  }
  if (in.flag() && batch >= 0 && batch <= 64) {
    memory.lengths.resize(static_cast<std::size_t>(batch));
    for (std::int64_t& length : memory.lengths) length = in.number(7);
    a.lengths = memory.lengths.data();
  }
  const double flags = in.flag() ? strides(a.reset_step, a.reset_row, 1) : -1;
  if (flags >= 0 && flags <= kRoom) {
    memory.reset.assign(static_cast<std::size_t>(flags), 0);
    for (std::uint8_t& flag : memory.reset) flag = in.flag();
    a.reset = memory.reset.data();
  }
  const double cells = static_cast<double>(info.num_layers * info.directions) * batch;
  const double h = cells * static_cast<double>(info.proj_size ? info.proj_size : info.hidden_size);
  const double c = cells * static_cast<double>(info.hidden_size);
  if (in.flag()) {
    a.h0 = memory.array(in, h);
    a.c0 = memory.array(in, c);
  }
  if (in.flag()) a.h_n = in.flag() ? const_cast<S*>(a.h0) : memory.array(in, h);
  if (in.flag()) a.c_n = in.flag() ? const_cast<S*>(a.c0) : memory.array(in, c);
  cg_error error{};
  const cg_status status = run(model, a, &error);
  if (status != CG_OK && (error.code != status || !error.message[0])) std::abort();
  if (status == CG_INTERNAL) std::abort();
}

template <class S>
void fuzz_stream(Input& in, cg_model* model, const cg_info& info, Memory<S>& memory) {
  cg_stream* made = nullptr;
  if (cg_stream_create(model, &made, nullptr) != CG_OK) return;
  const std::unique_ptr<cg_stream, Deleter> stream(made);
  for (std::int64_t calls = in.from(0, 5); calls > 0; --calls) {
    const std::int64_t frames = in.from(0, 70);
    S* x = memory.array(in, static_cast<double>(frames * info.input_size));
    S* y = in.flag() ? x : memory.array(in, static_cast<double>(frames * info.output_size));
    process(made, x, y, static_cast<std::size_t>(frames));
    if (in.flag()) cg_stream_reset(made, nullptr);
  }
}

template <class Arguments, class S>
void fuzz(Input& in) {
  Memory<S> memory;
  const auto model = make_model<S>(in, memory);
  if (!model) return;
  cg_info info{};
  info.struct_size = sizeof info;
  if (cg_model_get_info(model.get(), &info, nullptr) != CG_OK) std::abort();
  fuzz_run<Arguments>(in, model.get(), info, memory);
  fuzz_stream(in, model.get(), info, memory);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  if (in.flag()) {
    fuzz<cg_run_arguments_f64, double>(in);
  } else {
    fuzz<cg_run_arguments, float>(in);
  }
  return 0;
}
