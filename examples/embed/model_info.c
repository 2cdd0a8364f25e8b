/* Prints what a model file holds, and how far its self-test, if it has one, is from what cellgate computes.
 * usage: model_info MODEL */
#include <cellgate/cellgate.h>
#include <stdio.h>

int main(int argc, char** argv) {
  cg_model* model;
  cg_info info = {.struct_size = sizeof info};
  cg_error error;
  size_t stream_bytes, i;
  double difference;
  if (argc != 2) return fprintf(stderr, "usage: model_info MODEL\n"), 2;
  if (cg_model_load(argv[1], NULL, &model, &error) != CG_OK ||
      cg_model_get_info(model, &info, &error) != CG_OK) {
    return fprintf(stderr, "model_info: %s\n", error.message), 1;
  }
  printf("inputs %lld, outputs %lld, hidden units %lld, layers %lld, directions %lld, %s\n",
         (long long)info.input_size, (long long)info.output_size, (long long)info.hidden_size,
         (long long)info.num_layers, (long long)info.directions,
         info.dtype == CG_FLOAT64 ? "float64" : "float32");
  printf("skip %g, input gain %g, output gain %g, sample rate %g Hz\n", info.skip, info.input_gain,
         info.output_gain, info.sample_rate);
  if (cg_stream_size(model, &stream_bytes, NULL) == CG_OK) printf("a stream takes %zu bytes\n", stream_bytes);
  for (i = 0; i < info.metadata_count; ++i) {
    const char *key, *value;
    if (cg_model_metadata_at(model, i, &key, &value, NULL) == CG_OK) printf("%s: %s\n", key, value);
  }
  if (info.selftest_steps > 0) {
    if (cg_model_selftest(model, &difference, &error) != CG_OK) {
      return fprintf(stderr, "model_info: %s\n", error.message), 1;
    }
    printf("self-test of %lld steps: largest difference %g\n", (long long)info.selftest_steps, difference);
  }
  cg_model_release(model);
  return 0;
}
