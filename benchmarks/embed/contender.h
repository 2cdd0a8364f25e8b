/* What step_times asks of a library that it times: one C table, compiled in for cellgate, or exported by a
   shared object, as cellgate_contenders(), for another library. */
#ifndef CELLGATE_BENCHMARKS_CONTENDER_H
#define CELLGATE_BENCHMARKS_CONTENDER_H

#ifdef __cplusplus
extern "C" {
#endif

/* An LSTM of one layer and one input, and a linear head with one output. Gates in the order i, f, g, o. */
typedef struct {
  int hidden_size;        /* H */
  const float* w_ih;      /* [4H] */
  const float* w_hh;      /* [4H, H] */
  const float* bias;      /* [4H], both biases summed */
  const float* head;      /* [H] */
  const float* head_bias; /* [1] */
} ContenderWeights;

typedef struct {
  const char* name;
  /* A network at a zero state, or NULL where this size is not compiled in. The arrays live until it returns.
   */
  void* (*create)(const ContenderWeights* weights);
  /* The next `frames` samples. */
  void (*run)(void* network, const float* in, float* out, int frames);
  void (*destroy)(void* network);
  /* Largest difference allowed between its outputs and cellgate's. */
  float tolerance;
} Contender;

/* The name and the type of what a shared object exports: its contenders, up to one whose name is NULL. */
#define CONTENDERS_SYMBOL "cellgate_contenders"
typedef const Contender* (*ContendersFunction)(void);

#ifdef __cplusplus
}
#endif

#endif
