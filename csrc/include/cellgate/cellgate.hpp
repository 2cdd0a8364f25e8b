// cellgate in C++17: handles that release themselves, over the C functions of cellgate.h, which has the
// contracts: shapes, threads, real-time safety. Header only; what lies behind is the C library.
//
//   const cellgate::Model model = cellgate::Model::load("model.safetensors");
//   cellgate::Stream stream(model);
//   stream.process(in, out);                          // containers, arrays or {pointer, size}; noexcept
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cellgate/cellgate.h>

namespace cellgate {
// The version in the names keeps these classes apart from the library's own, which a static library has too.
inline namespace v1 {

// What functions of this header throw. try_ functions, process and what is noexcept do not.
class Error : public std::runtime_error {
 public:
  explicit Error(const cg_error& error)
      : std::runtime_error(error.message), code_(error.code), position_(error.position) {}
  cg_status code() const noexcept { return code_; }
  // Offset of the byte at fault in a file, or -1.
  std::int64_t position() const noexcept { return position_; }

 private:
  cg_status code_;
  std::int64_t position_;
};

// Elements that lie one behind the other in somebody else's memory: std::span, which C++17 has not.
template <class T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr Span(T (&array)[N]) noexcept : data_(array), size_(N) {}
  // std::vector, std::array, std::span, and whatever else has data() and size().
  template <class Container,
            class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<Container&>().data()), T*>>>
  constexpr Span(Container&& container) noexcept : data_(container.data()), size_(container.size()) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

namespace detail {

inline void check(cg_status status, const cg_error& error) {
  if (status != CG_OK) throw Error(error);
}

// Fills in *error without the library, for what is refused before it is called. `message` is ASCII.
inline cg_status refuse(cg_error* error, const char* message) noexcept {
  if (error) {
    *error = cg_error{};
    error->code = CG_INVALID_ARGUMENT;
    error->position = -1;
    for (std::size_t i = 0; message[i] && i + 1 < sizeof error->message; ++i) error->message[i] = message[i];
  }
  return CG_INVALID_ARGUMENT;
}

}  // namespace detail

// All defaults; set the members that are to differ.
inline cg_model_options options() noexcept {
  cg_model_options options{};
  options.struct_size = sizeof options;
  return options;
}
inline cg_model_description description() noexcept {
  cg_model_description description;
  cg_model_description_init(&description, sizeof description);
  return description;
}
inline cg_run_arguments run_arguments() noexcept {
  cg_run_arguments arguments{};
  arguments.struct_size = sizeof arguments;
  return arguments;
}
inline cg_run_arguments_f64 run_arguments_f64() noexcept {
  cg_run_arguments_f64 arguments{};
  arguments.struct_size = sizeof arguments;
  return arguments;
}

// The name of the instruction set of this process.
inline const char* active_isa() {
  const char* name = nullptr;
  cg_error error;
  detail::check(cg_active_isa(&name, &error), error);
  return name;
}

// A reference to a model. Moved, not copied; share() makes another one. A moved-from Model holds NULL, which
// every function refuses with CG_INVALID_ARGUMENT.
class Model {
 public:
  static Model load(const std::string& path, const cg_model_options& with = options()) {
    return make([&](cg_model** model, cg_error* e) { return cg_model_load(path.c_str(), &with, model, e); });
  }
  static Model load_memory(const void* data, std::size_t bytes, const cg_model_options& with = options()) {
    return make(
        [&](cg_model** model, cg_error* e) { return cg_model_load_memory(data, bytes, &with, model, e); });
  }
  static Model create(const cg_model_description& from, const cg_model_options& with = options()) {
    return make([&](cg_model** model, cg_error* e) { return cg_model_create(&from, &with, model, e); });
  }

  // Without exceptions: nothing, and what was wrong in *error, where the functions above throw.
  static std::optional<Model> try_load(const char* path, const cg_model_options& with = options(),
                                       cg_error* error = nullptr) noexcept {
    return try_make([&](cg_model** model) { return cg_model_load(path, &with, model, error); });
  }
  static std::optional<Model> try_load_memory(const void* data, std::size_t bytes,
                                              const cg_model_options& with = options(),
                                              cg_error* error = nullptr) noexcept {
    return try_make([&](cg_model** model) { return cg_model_load_memory(data, bytes, &with, model, error); });
  }
  static std::optional<Model> try_create(const cg_model_description& from,
                                         const cg_model_options& with = options(),
                                         cg_error* error = nullptr) noexcept {
    return try_make([&](cg_model** model) { return cg_model_create(&from, &with, model, error); });
  }

  // Takes over a reference that the caller has.
  explicit Model(cg_model* owned) noexcept : model_(owned) {}
  Model(Model&& other) noexcept : model_(std::exchange(other.model_, nullptr)) {}
  Model& operator=(Model&& other) noexcept {
    std::swap(model_, other.model_);
    return *this;
  }
  ~Model() { cg_model_release(model_); }

  Model share() const noexcept { return Model(cg_model_retain(model_)); }
  cg_model* get() const noexcept { return model_; }

  cg_info info() const {
    cg_info info{};
    info.struct_size = sizeof info;
    cg_error error;
    detail::check(cg_model_get_info(model_, &info, &error), error);
    return info;
  }
  // What the file says of `key`, alive as long as the model; NULL if nothing.
  const char* metadata(const char* key) const noexcept {
    const char* value = nullptr;
    cg_model_metadata(model_, key, &value, nullptr);
    return value;
  }
  // All of it: keys and values, alive as long as the model.
  std::vector<std::pair<const char*, const char*>> metadata() const {
    std::vector<std::pair<const char*, const char*>> all(info().metadata_count);
    for (std::size_t i = 0; i < all.size(); ++i)
      cg_model_metadata_at(model_, i, &all[i].first, &all[i].second, nullptr);
    return all;
  }
  // The largest difference from what the file's self-test wants; throws CG_ABSENT if it has none.
  double selftest() const {
    double difference = 0;
    cg_error error;
    detail::check(cg_model_selftest(model_, &difference, &error), error);
    return difference;
  }

  void run(const cg_run_arguments& arguments) const {
    cg_error error;
    detail::check(cg_run(model_, &arguments, &error), error);
  }
  void run(const cg_run_arguments_f64& arguments) const {
    cg_error error;
    detail::check(cg_run_f64(model_, &arguments, &error), error);
  }
  cg_status try_run(const cg_run_arguments& arguments, cg_error* error = nullptr) const noexcept {
    return cg_run(model_, &arguments, error);
  }
  cg_status try_run(const cg_run_arguments_f64& arguments, cg_error* error = nullptr) const noexcept {
    return cg_run_f64(model_, &arguments, error);
  }

 private:
  template <class Call>
  static Model make(const Call& call) {
    cg_model* model = nullptr;
    cg_error error;
    detail::check(call(&model, &error), error);
    return Model(model);
  }
  template <class Call>
  static std::optional<Model> try_make(const Call& call) noexcept {
    cg_model* model = nullptr;
    if (call(&model) != CG_OK) return std::nullopt;
    return Model(model);
  }

  cg_model* model_;
};

// The running state of one sequence. Moved, not copied. One thread at a time.
class Stream {
 public:
  // In memory of the model's allocator. Throws.
  explicit Stream(const Model& model) {
    cg_error error;
    detail::check(cg_stream_create(model.get(), &stream_, &error), error);
    learn(model);
  }
  // In memory of the caller's, see cg_stream_init. Throws.
  Stream(const Model& model, void* memory, std::size_t bytes) {
    cg_error error;
    detail::check(cg_stream_init(model.get(), memory, bytes, &stream_, &error), error);
    learn(model);
  }
  static std::optional<Stream> try_create(const Model& model, cg_error* error = nullptr) noexcept {
    cg_stream* made = nullptr;
    if (cg_stream_create(model.get(), &made, error) != CG_OK) return std::nullopt;
    Stream stream(made);
    stream.learn(model);
    return stream;
  }
  Stream(Stream&& other) noexcept
      : stream_(std::exchange(other.stream_, nullptr)), inputs_(other.inputs_), outputs_(other.outputs_) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(inputs_, other.inputs_);
    std::swap(outputs_, other.outputs_);
    return *this;
  }
  ~Stream() { cg_stream_destroy(stream_); }

  cg_stream* get() const noexcept { return stream_; }
  std::size_t input_size() const noexcept { return inputs_; }
  std::size_t output_size() const noexcept { return outputs_; }

  // `in` is [frames, I], `out` [frames, O]; their sizes say how many frames. Real-time safe.
  cg_status process(Span<const float> in, Span<float> out, cg_error* error = nullptr) noexcept {
    if (!fits(in.size(), out.size())) return detail::refuse(error, kSizes);
    return cg_stream_process(stream_, in.data(), out.data(), in.size() / inputs_, error);
  }
  cg_status process(Span<const double> in, Span<double> out, cg_error* error = nullptr) noexcept {
    if (!fits(in.size(), out.size())) return detail::refuse(error, kSizes);
    return cg_stream_process_f64(stream_, in.data(), out.data(), in.size() / inputs_, error);
  }
  cg_status process_planar(const float* const* in, float* const* out, std::size_t frames,
                           cg_error* error = nullptr) noexcept {
    return cg_stream_process_planar(stream_, in, out, frames, error);
  }
  cg_status process_planar(const double* const* in, double* const* out, std::size_t frames,
                           cg_error* error = nullptr) noexcept {
    return cg_stream_process_planar_f64(stream_, in, out, frames, error);
  }
  cg_status reset(cg_error* error = nullptr) noexcept { return cg_stream_reset(stream_, error); }

  // Elements of the state.
  std::size_t state_count() const noexcept {
    std::size_t count = 0;
    cg_stream_state_count(stream_, &count, nullptr);
    return count;
  }
  cg_status get_state(Span<float> state, cg_error* error = nullptr) const noexcept {
    return cg_stream_get_state(stream_, state.data(), state.size(), error);
  }
  cg_status get_state(Span<double> state, cg_error* error = nullptr) const noexcept {
    return cg_stream_get_state_f64(stream_, state.data(), state.size(), error);
  }
  cg_status set_state(Span<const float> state, cg_error* error = nullptr) noexcept {
    return cg_stream_set_state(stream_, state.data(), state.size(), error);
  }
  cg_status set_state(Span<const double> state, cg_error* error = nullptr) noexcept {
    return cg_stream_set_state_f64(stream_, state.data(), state.size(), error);
  }

 private:
  static constexpr const char* kSizes = "in, out: must have input_size and output_size elements a frame";

  explicit Stream(cg_stream* owned) noexcept : stream_(owned) {}
  void learn(const Model& model) noexcept {
    cg_info info{};
    info.struct_size = sizeof info;
    cg_model_get_info(model.get(), &info, nullptr);
    inputs_ = static_cast<std::size_t>(info.input_size);
    outputs_ = static_cast<std::size_t>(info.output_size);
  }
  bool fits(std::size_t in, std::size_t out) const noexcept {
    return in % inputs_ == 0 && out % outputs_ == 0 && in / inputs_ == out / outputs_;
  }

  cg_stream* stream_ = nullptr;
  std::size_t inputs_ = 1, outputs_ = 1;
};

// Threads for Model::run: cg_run_arguments.pool = pool.get(). Moved, not copied.
class Pool {
 public:
  explicit Pool(int threads) {
    cg_error error;
    detail::check(cg_pool_create(threads, &pool_, &error), error);
  }
  Pool(Pool&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
  Pool& operator=(Pool&& other) noexcept {
    std::swap(pool_, other.pool_);
    return *this;
  }
  ~Pool() { cg_pool_destroy(pool_); }

  cg_pool* get() const noexcept { return pool_; }

 private:
  cg_pool* pool_ = nullptr;
};

}  // namespace v1
}  // namespace cellgate
