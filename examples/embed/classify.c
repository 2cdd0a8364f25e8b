/* Says to which class sequences belong: a classifier that Python trained and saved, served from C.
 * usage: classify MODEL < SEQUENCES
 * SEQUENCES is text: for each sequence its number of steps, then its numbers, step by step. Printed is a line
 * for each: the number of the class, from 0, and the probabilities of all classes. */
#include <cellgate/cellgate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SEQUENCES = 10000, MOST_STEPS = 10000 };

static int fail(const char* message) {
  fprintf(stderr, "classify: %s\n", message);
  return 1;
}

/* [count][steps][inputs], of which sequence b fills the first lengths[b] steps. */
typedef struct {
  float* x;
  int64_t lengths[MOST_SEQUENCES];
  int64_t count, steps;
} Sequences;

/* The message of what is wrong, or NULL. */
static const char* read_sequences(FILE* file, size_t inputs, Sequences* all) {
  float* values = NULL; /* one sequence behind the other */
  size_t used = 0, at = 0, found = 0;
  for (int length; fscanf(file, "%d", &length) == 1;) {
    if (length < 1 || length > MOST_STEPS) return "a sequence must have from 1 to 10000 steps";
    if (all->count == MOST_SEQUENCES) return "there must be at most 10000 sequences";
    const size_t numbers = (size_t)length * inputs;
    float* more = realloc(values, (used + numbers) * sizeof *values);
    if (!more) return "out of memory";
    values = more;
    for (found = 0; found < numbers; ++found) {
      if (fscanf(file, "%f", &values[used + found]) != 1) return "the last sequence is cut short";
    }
    used += numbers;
    all->lengths[all->count++] = length;
    if (length > all->steps) all->steps = length;
  }
  if (!feof(file)) return "must be numbers";
  if (all->count == 0) return "there are no sequences";
  const size_t row = (size_t)all->steps * inputs;
  all->x = calloc((size_t)all->count * row, sizeof *all->x);
  if (!all->x) return "out of memory";
  for (int64_t b = 0; b < all->count; ++b) {
    const size_t numbers = (size_t)all->lengths[b] * inputs;
    memcpy(all->x + (size_t)b * row, values + at, numbers * sizeof *values);
    at += numbers;
  }
  free(values);
  return NULL;
}

int main(int argc, char** argv) {
  static Sequences all;
  cg_model* model;
  cg_pool* pool;
  cg_info info = {.struct_size = sizeof info};
  cg_error error;
  if (argc != 2) return fail("usage: classify MODEL < SEQUENCES");
  if (cg_model_load(argv[1], NULL, &model, &error) != CG_OK) return fail(error.message);
  if (cg_model_get_info(model, &info, &error) != CG_OK) return fail(error.message);
  if (info.pooling == CG_POOL_NONE) return fail("MODEL: must give one answer for each sequence");
  const char* wrong = read_sequences(stdin, (size_t)info.input_size, &all);
  if (wrong) return fail(wrong);

  const size_t classes = (size_t)info.output_size;
  float* y = calloc((size_t)all.count * classes, sizeof *y);
  if (!y) return fail("out of memory");
  if (cg_pool_create(2, &pool, &error) != CG_OK) return fail(error.message);
  const cg_run_arguments run = {.struct_size = sizeof run,
                                .steps = all.steps,
                                .batch = all.count,
                                .x = all.x,
                                .x_step = info.input_size,
                                .x_row = all.steps * info.input_size,
                                .y = y,
                                .lengths = all.lengths,
                                .pool = pool};
  if (cg_run(model, &run, &error) != CG_OK) return fail(error.message);

  for (int64_t b = 0; b < all.count; ++b) {
    const float* p = y + (size_t)b * classes;
    size_t best = 0;
    for (size_t j = 1; j < classes; ++j) best = p[j] > p[best] ? j : best;
    printf("%zu", best);
    for (size_t j = 0; j < classes; ++j) printf(" %.9g", p[j]);
    printf("\n");
  }
  free(y);
  free(all.x);
  cg_pool_destroy(pool);
  cg_model_release(model);
  return 0;
}
