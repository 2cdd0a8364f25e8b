// cellgate as step_times calls it: a stream of the C library.
#include <cellgate/cellgate.h>

#include <cstdio>

#include "contender.h"

namespace {

void* create(const ContenderWeights* w) {
  // The bias is summed already; the second one is zero.
  static const float zeros[4 * 4096] = {};
  const cg_layer_weights layer = {w->w_ih, w->w_hh, w->bias, zeros, nullptr};
  cg_model_description description;
  cg_model_description_init(&description, sizeof description);
  description.input_size = 1;
  description.hidden_size = w->hidden_size;
  description.layers = &layer;
  description.head_outputs = 1;
  description.head_weight = w->head;
  description.head_bias = w->head_bias;
  cg_model* model = nullptr;
  cg_stream* stream = nullptr;
  cg_error error;
  if (cg_model_create(&description, nullptr, &model, &error) != CG_OK ||
      cg_stream_create(model, &stream, &error) != CG_OK) {
    std::fprintf(stderr, "step_times: %s\n", error.message);
  }
  cg_model_release(model);  // the stream has a reference
  return stream;
}

void run(void* stream, const float* in, float* out, int frames) {
  cg_stream_process(static_cast<cg_stream*>(stream), in, out, static_cast<std::size_t>(frames), nullptr);
}

void destroy(void* stream) { cg_stream_destroy(static_cast<cg_stream*>(stream)); }

}  // namespace

extern const Contender kCellgate;
const Contender kCellgate = {"cellgate", create, run, destroy, 0};
