/* Runs a network on a WAV file: an amplifier in a .json, .aidax or .nam file on a recording of a guitar.
 * usage: play_wav MODEL INPUT.wav OUTPUT.wav
 * Any file that libsndfile reads, with as many channels as the network has inputs; what is written has float
 * samples, and as many channels as it has outputs. */
#include <cellgate/cellgate.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* message) {
  fprintf(stderr, "play_wav: %s\n", message);
  return 1;
}

int main(int argc, char** argv) {
  cg_model* model;
  cg_stream* stream;
  cg_info info = {.struct_size = sizeof info};
  cg_error error;
  if (argc != 4) return fail("usage: play_wav MODEL INPUT.wav OUTPUT.wav");
  if (cg_model_load(argv[1], NULL, &model, &error) != CG_OK) return fail(error.message);
  if (cg_model_get_info(model, &info, &error) != CG_OK) return fail(error.message);
  if (cg_stream_create(model, &stream, &error) != CG_OK) return fail(error.message);

  SF_INFO format = {0};
  SNDFILE* input = sf_open(argv[2], SFM_READ, &format);
  if (!input) return fail(sf_strerror(NULL));
  if (format.channels != info.input_size)
    return fail("the recording and the network differ in their number of inputs");
  if (info.sample_rate != 0 && info.sample_rate != format.samplerate)
    fprintf(stderr, "play_wav: the network is for %g Hz, the recording has %d\n", info.sample_rate,
            format.samplerate);
  format.channels = (int)info.output_size;
  format.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
  SNDFILE* output = sf_open(argv[3], SFM_WRITE, &format);
  if (!output) return fail(sf_strerror(NULL));

  enum { BLOCK = 512 };
  float* in = malloc(sizeof(float) * BLOCK * (size_t)info.input_size);
  float* out = malloc(sizeof(float) * BLOCK * (size_t)info.output_size);
  if (!in || !out) return fail("out of memory");
  for (sf_count_t frames; (frames = sf_readf_float(input, in, BLOCK)) > 0;) {
    if (cg_stream_process(stream, in, out, (size_t)frames, &error) != CG_OK) return fail(error.message);
    if (sf_writef_float(output, out, frames) != frames) return fail(sf_strerror(output));
  }

  free(in);
  free(out);
  sf_close(input);
  if (sf_close(output)) return fail("the output cannot be written");
  cg_stream_destroy(stream);
  cg_model_release(model);
  return 0;
}
