/* A program in C that runs a model of one unit. */
#include <cellgate/cellgate.h>
#include <stdio.h>

int main(void) {
  static const float weights[4] = {1, 2, 3, 4};
  const cg_layer_weights layer = {weights, weights, weights, weights, NULL};
  const float in[3] = {1, 2, 3};
  float out[3] = {0, 0, 0};
  cg_model_description description;
  cg_model* model;
  cg_stream* stream;
  cg_error error;
  cg_model_description_init(&description, sizeof description);
  description.input_size = 1;
  description.hidden_size = 1;
  description.layers = &layer;
  if (cg_model_create(&description, NULL, &model, &error) != CG_OK) return puts(error.message), 1;
  if (cg_stream_create(model, &stream, &error) != CG_OK) return puts(error.message), 1;
  if (cg_stream_process(stream, in, out, 3, &error) != CG_OK) return puts(error.message), 1;
  cg_stream_destroy(stream);
  cg_model_release(model);
  printf("cellgate %s: %.6f\n", cg_version(), (double)out[2]);
  return out[2] > 0.9f && out[2] < 1.0f ? 0 : 1;
}
