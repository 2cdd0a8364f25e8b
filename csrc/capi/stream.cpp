// Streams. From cg_stream_process on everything is for real-time threads: no exception, no text made, no
// memory.
#include <cstring>
#include <new>

#include "capi/handles.hpp"

namespace cellgate::capi {
namespace {

constexpr const char* kNoStream = "stream: must be a stream, got NULL";
constexpr const char* kNoArray = "in, out: must be arrays, got NULL";

// A stream in its memory. Walked once to measure, over no memory, and once to make it.
template <class S>
struct StreamLayout {
  std::byte* header;
  S *planar_in, *planar_out;
  Frames<S> frames;

  StreamLayout(Arena& arena, const Network<S>& network)
      : header(arena.take<std::byte>(sizeof(cg_stream))),
        planar_in(arena.take<S>(room(network.config().input_size, network.output_size()) *
                                network.config().input_size)),
        planar_out(
            arena.take<S>(room(network.config().input_size, network.output_size()) * network.output_size())),
        frames(arena, network) {}

  // Frames that are brought from one array for each feature into rows; one feature lies in a row already.
  static std::int64_t room(std::int64_t inputs, std::int64_t outputs) {
    return inputs == 1 && outputs == 1 ? 0 : Frames<S>::kChunk;
  }
};

template <class S>
std::size_t bytes_of(const Network<S>& network) {
  Arena measure;
  StreamLayout<S>(measure, network);
  return measure.used();
}

// Runs what process runs, so that its pages are there and its calls bound before a real-time thread comes.
template <class S>
void warm_up(Frames<S>& frames, const Network<S>& network, S* row) {
  // Strides of 0: every frame reads and writes the same row, in which nobody is interested.
  for (const std::int64_t count : {std::int64_t{1}, std::int64_t{7}, Frames<S>::kChunk}) {
    if (count == Frames<S>::kChunk && network.config().hidden_size > 128) break;  // would take milliseconds
    frames.process(count, row, 0, 0, row, 0, 0);
  }
}

template <class S>
cg_stream* make(cg_model* model, const Network<S>& network, void* memory, std::size_t bytes, bool owned) {
  std::memset(memory, 0, bytes);
  Arena arena(static_cast<std::byte*>(memory));
  const StreamLayout<S> at(arena, network);
  auto* stream = new (at.header) cg_stream{};
  stream->bytes = bytes;
  stream->owns_memory = owned;
  stream->inputs = static_cast<std::size_t>(network.config().input_size);
  stream->outputs = static_cast<std::size_t>(network.output_size());
  stream->planar_in = at.planar_in;
  stream->planar_out = at.planar_out;
  auto& frames = stream->frames.template emplace<Frames<S>>(at.frames);
  frames.reset();
  S scratch{};
  warm_up(frames, network, &scratch);
  frames.reset();
  stream->model = cg_model_retain(model);
  return stream;
}

cg_status refuse_directions(const cg_model* model, cg_error* error) noexcept {
  const bool both = model->visit([](const auto& network) { return network.config().bidirectional; });
  return both ? fail_null(error, "model: must not be bidirectional to stream") : CG_OK;
}

std::size_t size_of(const cg_model* model) {
  return model->visit([](const auto& network) { return bytes_of(network); });
}

cg_stream* make_in(cg_model* model, void* memory, std::size_t bytes, bool owned) {
  return model->visit([&](const auto& network) { return make(model, network, memory, bytes, owned); });
}

// ---- for real-time threads ---------------------------------------------------------------------

template <class Stream>
cg_status refuse_type(const Stream* stream, cg_error* error) noexcept {
  if (!stream) return fail(error, CG_INVALID_ARGUMENT, kNoStream);
  return fail(error, CG_WRONG_TYPE,
              stream->model->template network_of<float>()
                  ? "stream: must be of a float64 model for a function _f64, got one of float32"
                  : "stream: must be of a float32 model for a function without _f64, got one of float64");
}

template <class S>
Frames<S>* frames_of(cg_stream* stream) noexcept {
  return stream ? std::get_if<Frames<S>>(&stream->frames) : nullptr;
}
template <class S>
const Frames<S>* frames_of(const cg_stream* stream) noexcept {
  return stream ? std::get_if<Frames<S>>(&stream->frames) : nullptr;
}

template <class S>
bool fits_memory(const cg_stream& stream, std::size_t frames) noexcept {
  return frames <= (~std::size_t{0} >> 1) / sizeof(S) / (stream.inputs + stream.outputs);
}

template <class S>
cg_status process(cg_stream* stream, const S* in, S* out, std::size_t frames, cg_error* error) noexcept {
  Frames<S>* state = frames_of<S>(stream);
  if (!state) return refuse_type(stream, error);
  if (frames == 0) return CG_OK;
  if (!in || !out) return fail_null(error, kNoArray);
  if (!fits_memory<S>(*stream, frames)) return fail_null(error, "frames: must fit into memory");
  const auto from = reinterpret_cast<std::uintptr_t>(in), to = reinterpret_cast<std::uintptr_t>(out);
  if ((from | to) % sizeof(S)) return fail_null(error, "in, out: must be aligned");
  const bool same = from == to && stream->inputs == stream->outputs;
  if (!same && from < to + frames * stream->outputs * sizeof(S) &&
      to < from + frames * stream->inputs * sizeof(S)) {
    return fail_null(error, "out: must be in, where there are as many outputs as inputs, or not overlap it");
  }
  state->process(static_cast<std::int64_t>(frames), in, static_cast<std::ptrdiff_t>(stream->inputs), 1, out,
                 static_cast<std::ptrdiff_t>(stream->outputs), 1);
  return CG_OK;
}

template <class S>
cg_status process_planar(cg_stream* stream, const S* const* in, S* const* out, std::size_t frames,
                         cg_error* error) noexcept {
  Frames<S>* state = frames_of<S>(stream);
  if (!state) return refuse_type(stream, error);
  if (frames == 0) return CG_OK;
  if (!in || !out) return fail_null(error, kNoArray);
  const std::size_t inputs = stream->inputs, outputs = stream->outputs;
  for (std::size_t i = 0; i < inputs; ++i) {
    if (!in[i]) return fail_null(error, kNoArray);
  }
  for (std::size_t j = 0; j < outputs; ++j) {
    if (!out[j]) return fail_null(error, kNoArray);
  }
  if (inputs == 1 && outputs == 1) return process(stream, in[0], out[0], frames, error);
  if (!fits_memory<S>(*stream, frames)) return fail_null(error, "frames: must fit into memory");
  S *rows_in = static_cast<S*>(stream->planar_in), *rows_out = static_cast<S*>(stream->planar_out);
  constexpr auto chunk = static_cast<std::size_t>(Frames<S>::kChunk);
  for (std::size_t begin = 0; begin < frames; begin += chunk) {
    const std::size_t count = std::min(chunk, frames - begin);
    for (std::size_t i = 0; i < inputs; ++i) {
      for (std::size_t t = 0; t < count; ++t) rows_in[t * inputs + i] = in[i][begin + t];
    }
    state->process(static_cast<std::int64_t>(count), rows_in, static_cast<std::ptrdiff_t>(inputs), 1,
                   rows_out, static_cast<std::ptrdiff_t>(outputs), 1);
    for (std::size_t j = 0; j < outputs; ++j) {
      for (std::size_t t = 0; t < count; ++t) out[j][begin + t] = rows_out[t * outputs + j];
    }
  }
  return CG_OK;
}

struct StateSize {
  std::size_t h, c;
};

StateSize state_size(const cg_stream& stream) noexcept {
  return stream.model->visit([](const auto& network) {
    const Config& config = network.config();
    return StateSize{static_cast<std::size_t>(config.num_layers * config.output_size()),
                     static_cast<std::size_t>(config.num_layers * config.hidden_size)};
  });
}

// Calls use(frames, h, c) for a state that has the size it should.
template <class S, class Stream, class T, class Use>
cg_status with_state(Stream* stream, T* state, std::size_t count, cg_error* error, const Use& use) noexcept {
  auto* frames = frames_of<S>(stream);
  if (!frames) return refuse_type(stream, error);
  if (!state) return fail_null(error, "state: must be an array, got NULL");
  const StateSize size = state_size(*stream);
  if (count != size.h + size.c) {
    return fail_null(error, "count: must be what cg_stream_state_count gives, got another number");
  }
  use(*frames, state, state + size.h);
  return CG_OK;
}

template <class S>
cg_status get_state(const cg_stream* stream, S* state, std::size_t count, cg_error* error) noexcept {
  return with_state<S>(stream, state, count, error,
                       [](const Frames<S>& frames, S* h, S* c) { frames.get_state(h, c); });
}

template <class S>
cg_status set_state(cg_stream* stream, const S* state, std::size_t count, cg_error* error) noexcept {
  return with_state<S>(stream, state, count, error,
                       [](Frames<S>& frames, const S* h, const S* c) { frames.set_state(h, c); });
}

}  // namespace
}  // namespace cellgate::capi

using namespace cellgate::capi;

extern "C" {

cg_status cg_stream_size(const cg_model* model, std::size_t* bytes, cg_error* error) noexcept {
  if (!bytes) return fail_null(error, "bytes: must be a pointer to write to, got NULL");
  *bytes = 0;
  if (!model) return fail_null(error, "model: must be a model, got NULL");
  if (const cg_status status = refuse_directions(model, error)) return status;
  return guarded(error, [&] { *bytes = size_of(model); });
}

cg_status cg_stream_init(cg_model* model, void* memory, std::size_t bytes, cg_stream** stream,
                         cg_error* error) noexcept {
  if (!stream) return fail_null(error, "stream: must be a pointer to write to, got NULL");
  *stream = nullptr;
  std::size_t needed = 0;
  if (const cg_status status = cg_stream_size(model, &needed, error)) return status;
  if (!memory) return fail_null(error, "memory: must be an address, got NULL");
  if (reinterpret_cast<std::uintptr_t>(memory) % CG_STREAM_ALIGNMENT) {
    return fail_null(error, "memory: must be at a multiple of CG_STREAM_ALIGNMENT, got another address");
  }
  if (bytes < needed) return fail_null(error, "bytes: must be at least what cg_stream_size gives, got less");
  return guarded(error, [&] { *stream = make_in(model, memory, needed, false); });
}

cg_status cg_stream_create(cg_model* model, cg_stream** stream, cg_error* error) noexcept {
  if (!stream) return fail_null(error, "stream: must be a pointer to write to, got NULL");
  *stream = nullptr;
  std::size_t bytes = 0;
  if (const cg_status status = cg_stream_size(model, &bytes, error)) return status;
  return guarded(error, [&] {
    void* memory = allocate(model->memory(), bytes, CG_STREAM_ALIGNMENT);
    if (!memory) throw std::bad_alloc();
    *stream = make_in(model, memory, bytes, true);
  });
}

void cg_stream_destroy(cg_stream* stream) noexcept {
  if (!stream) return;
  cg_model* model = stream->model;
  const std::size_t bytes = stream->bytes;
  const bool owned = stream->owns_memory;
  stream->~cg_stream();
  if (owned) release(model->memory(), stream, bytes);
  cg_model_release(model);
}

cg_status cg_stream_process(cg_stream* stream, const float* in, float* out, std::size_t frames,
                            cg_error* error) noexcept {
  return process(stream, in, out, frames, error);
}
cg_status cg_stream_process_f64(cg_stream* stream, const double* in, double* out, std::size_t frames,
                                cg_error* error) noexcept {
  return process(stream, in, out, frames, error);
}
cg_status cg_stream_process_planar(cg_stream* stream, const float* const* in, float* const* out,
                                   std::size_t frames, cg_error* error) noexcept {
  return process_planar(stream, in, out, frames, error);
}
cg_status cg_stream_process_planar_f64(cg_stream* stream, const double* const* in, double* const* out,
                                       std::size_t frames, cg_error* error) noexcept {
  return process_planar(stream, in, out, frames, error);
}

cg_status cg_stream_reset(cg_stream* stream, cg_error* error) noexcept {
  if (!stream) return fail_null(error, kNoStream);
  if (auto* narrow = frames_of<float>(stream)) {
    narrow->reset();
  } else {
    frames_of<double>(stream)->reset();
  }
  return CG_OK;
}

cg_status cg_stream_state_count(const cg_stream* stream, std::size_t* count, cg_error* error) noexcept {
  if (!count) return fail_null(error, "count: must be a pointer to write to, got NULL");
  *count = 0;
  if (!stream) return fail_null(error, kNoStream);
  const StateSize size = state_size(*stream);
  *count = size.h + size.c;
  return CG_OK;
}

cg_status cg_stream_get_state(const cg_stream* stream, float* state, std::size_t count,
                              cg_error* error) noexcept {
  return get_state(stream, state, count, error);
}
cg_status cg_stream_get_state_f64(const cg_stream* stream, double* state, std::size_t count,
                                  cg_error* error) noexcept {
  return get_state(stream, state, count, error);
}
cg_status cg_stream_set_state(cg_stream* stream, const float* state, std::size_t count,
                              cg_error* error) noexcept {
  return set_state(stream, state, count, error);
}
cg_status cg_stream_set_state_f64(cg_stream* stream, const double* state, std::size_t count,
                                  cg_error* error) noexcept {
  return set_state(stream, state, count, error);
}

}  // extern "C"
