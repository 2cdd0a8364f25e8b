/* A program in C99 from end to end: a model of arrays, a stream in memory of its own, a whole sequence, an
 * error. */
#include <cellgate/cellgate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

enum { kInputs = 2, kHidden = 3, kFrames = 70 };

static float weight_ih[4 * kHidden * kInputs], weight_hh[4 * kHidden * kHidden], bias[4 * kHidden];
static float head[kHidden] = {1.0f, -0.5f, 0.25f};
static float in[kFrames * kInputs], whole[kFrames], split[kFrames];
static union {
  double aligns;
  char bytes[1 << 16];
} memory;

static cg_model* make_model(void) {
  cg_layer_weights layer = {weight_ih, weight_hh, bias, bias, NULL};
  cg_model_description description;
  cg_model* model = NULL;
  cg_error error;
  int i;
  for (i = 0; i < 4 * kHidden * kInputs; ++i) weight_ih[i] = (float)(i % 7 - 3) / 4.0f;
  for (i = 0; i < 4 * kHidden * kHidden; ++i) weight_hh[i] = (float)(i % 5 - 2) / 4.0f;
  for (i = 0; i < 4 * kHidden; ++i) bias[i] = (float)(i % 3 - 1) / 8.0f;
  for (i = 0; i < kFrames * kInputs; ++i) in[i] = (float)(i % 11 - 5) / 5.0f;
  cg_model_description_init(&description, sizeof description);
  description.input_size = kInputs;
  description.hidden_size = kHidden;
  description.layers = &layer;
  description.head_outputs = 1;
  description.head_weight = head;
  if (cg_model_create(&description, NULL, &model, &error) != CG_OK) {
    fprintf(stderr, "%s\n", error.message);
    exit(1);
  }
  return model;
}

int main(void) {
  cg_model* model = make_model();
  cg_stream* stream = NULL;
  cg_run_arguments arguments;
  cg_info info;
  cg_error error;
  size_t bytes = 0, offset;

  info.struct_size = sizeof info;
  CHECK(cg_model_get_info(model, &info, &error) == CG_OK);
  CHECK(info.input_size == kInputs && info.output_size == 1 && info.has_head && info.dtype == CG_FLOAT32);

  memset(&arguments, 0, sizeof arguments);
  arguments.struct_size = sizeof arguments;
  arguments.steps = kFrames;
  arguments.batch = 1;
  arguments.x = in;
  arguments.y = whole;
  CHECK(cg_run(model, &arguments, &error) == CG_OK);

  CHECK(cg_stream_size(model, &bytes, &error) == CG_OK && bytes + CG_STREAM_ALIGNMENT <= sizeof memory);
  offset = CG_STREAM_ALIGNMENT - (size_t)((uintptr_t)memory.bytes % CG_STREAM_ALIGNMENT);
  CHECK(cg_stream_init(model, memory.bytes + offset, bytes, &stream, &error) == CG_OK);
  cg_model_release(model); /* the stream has a reference of its own */
  CHECK(cg_stream_process(stream, in, split, 1, NULL) == CG_OK);
  CHECK(cg_stream_process(stream, in + kInputs, split + 1, kFrames - 1, NULL) == CG_OK);
  CHECK(memcmp(whole, split, sizeof whole) == 0);
  CHECK(cg_stream_process(stream, NULL, split, 1, &error) == CG_INVALID_ARGUMENT);
  CHECK(error.code == CG_INVALID_ARGUMENT && error.position == -1);
  CHECK(strcmp(error.message, "in, out: must be arrays, got NULL") == 0);
  cg_stream_destroy(stream);
  printf("C: passed, cellgate %s\n", cg_version());
  return 0;
}
