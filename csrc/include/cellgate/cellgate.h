/* cellgate in C99: LSTMs and networks of an LSTM and a linear head, run on CPUs. The one header of the C
 * library.
 *
 *   cg_model* model;  cg_stream* stream;  cg_error error;
 *   if (cg_model_load("model.safetensors", NULL, &model, &error) != CG_OK) return puts(error.message);
 *   if (cg_stream_create(model, &stream, &error) != CG_OK) return puts(error.message);
 *   cg_stream_process(stream, in, out, frames, NULL);
 *
 * Symbols: T steps, B sequences, I inputs of a step, O outputs, H hidden size, P projection size (0: none),
 * L layers, D directions (1 or 2). An array "[T, B, I]" is row-major: its last index runs fastest. What a
 * network computes, gains being factors:
 *
 *   u = input_gain * x               z = (u - input_mean) / input_scale      h = LSTM(z)
 *   v = activation(W h + b), of h pooled over time if asked for              y = output_gain * (v + skip * u)
 *
 * Rules that hold for every function:
 * - Errors. What can fail returns a cg_status and takes a cg_error last, which may be NULL. On failure
 * outputs are NULL or 0 where they are handles or counts, and as they were where they are arrays; nothing
 * leaks. NULL in the place of a handle or of an array that is needed is CG_INVALID_ARGUMENT, never a crash.
 * Nothing is printed, and no C++ exception leaves the library.
 * - Sample types. A model computes in float (CG_FLOAT32) or in double (CG_FLOAT64), see cg_info.dtype.
 * Functions of samples come in pairs: cg_run for models in float, cg_run_f64 for those in double. The wrong
 * one of the two is CG_WRONG_TYPE; nothing is converted.
 * - Structs that can grow begin with struct_size, which the caller sets to sizeof of the struct as it
 * compiled it. Members that an older program does not have count as zero; what a newer program asks for and
 * this library does not know is CG_UNSUPPORTED. Zero is the default of every member, except in
 *   cg_model_description, which cg_model_description_init fills in.
 * - Threads. "Any thread" means at any time, beside any other call on the same object. "One thread at a time"
 *   means that the caller sees to it that no two calls on the object overlap. Functions that take no object
 * may be called from any thread.
 * - Real-time safe means: no allocation, no lock, no system call, no page fault on memory that has been
 * touched, nothing initialised at first use, and a time that does not depend on the values. It holds for
 * failing calls too. A function is real-time safe only where its comment says so.
 * - The caller's floating-point mode (rounding, flushing of subnormals) has no influence on results and is
 *   afterwards as it was.
 * - Results have the same bits whatever the batch, the threads, the split into calls and the instruction set
 *   (of those with fused multiply-add), and are those of the Python package.
 */
#ifndef CELLGATE_H
#define CELLGATE_H

#include <stddef.h>
#include <stdint.h>

#define CG_VERSION_MAJOR 0
#define CG_VERSION_MINOR 1
#define CG_VERSION_PATCH 0

/* Functions with this mark are what the shared library exports. */
#if defined(__GNUC__)
#define CG_API __attribute__((visibility("default")))
#else
#define CG_API
#endif

#ifdef __cplusplus
#define CG_NOEXCEPT noexcept
extern "C" {
#else
#define CG_NOEXCEPT
#endif

/* ---- errors ------------------------------------------------------------------------------------------ */

typedef int32_t cg_status;
enum {
  CG_OK = 0,
  CG_INVALID_ARGUMENT = 1, /* a value or shape that does not fit, NULL where an object is needed */
  CG_WRONG_TYPE = 2,       /* samples of another type than the model's */
  CG_OUT_OF_MEMORY = 3,
  CG_TOO_LARGE = 4,   /* over byte_limit, or a size that no machine has memory for */
  CG_UNREADABLE = 5,  /* the system does not give the bytes of the file */
  CG_MALFORMED = 6,   /* the file is not what its format says */
  CG_UNSUPPORTED = 7, /* a whole file, but of no LSTM that runs here; or this build cannot do it */
  CG_ABSENT = 8,      /* there is no such metadata, no self-test */
  CG_INTERNAL = 9     /* an error of cellgate itself: please report it with the message */
};

#define CG_MESSAGE_BYTES 1000

/* In the caller's memory. Written by calls that fail; calls that succeed leave it alone. */
typedef struct cg_error {
  cg_status code;                 /* what the call returned */
  int32_t reserved;               /* 0 */
  int64_t position;               /* offset of the byte at fault in a file, or -1 */
  char message[CG_MESSAGE_BYTES]; /* UTF-8, ends in 0, cut if need be: "argument: what was wanted, got what
                                     came" */
} cg_error;

/* "CG_OK", ...; "unknown status" for other numbers. Static; never NULL. Real-time safe. */
CG_API const char* cg_status_name(cg_status status) CG_NOEXCEPT;

/* Version of the library that runs, "0.1.0". Static. Real-time safe. */
CG_API const char* cg_version(void) CG_NOEXCEPT;

/* *name: of the instruction set that models use which ask for none: the one that the environment variable
 * CELLGATE_ISA names, else the best that this CPU has, chosen once, at the first call that needs it. (A model
 * that would leave half of its vectors empty is packed for narrower ones with the same bits, see
 * cg_info.isa.) Static. CG_INVALID_ARGUMENT if CELLGATE_ISA names none that was built in and that this CPU
 * has. */
CG_API cg_status cg_active_isa(const char** name, cg_error* error) CG_NOEXCEPT;

/* ---- models ------------------------------------------------------------------------------------------ */

/* The weights of a network, packed for one instruction set. Never changes once made, and counts its
 * references: any number of threads, streams and calls share one. */
typedef struct cg_model cg_model;

typedef int32_t cg_dtype;
enum { CG_FLOAT32 = 0, CG_FLOAT64 = 1 };

typedef int32_t cg_format;
enum {
  CG_FORMAT_AUTO = 0,        /* as the content shows */
  CG_FORMAT_SAFETENSORS = 1, /* cellgate's own: LSTM.save, Network.save */
  CG_FORMAT_RTNEURAL = 2,    /* RTNeural's and AIDA-X's JSON */
  CG_FORMAT_PROTEUS = 3,     /* Proteus and GuitarML */
  CG_FORMAT_NAM = 4          /* Neural Amp Modeler, architecture LSTM */
};

/* Where the memory comes from that a model keeps (its handle, packed weights, the working memory of cg_run)
 * and that of streams made by cg_stream_create. What is needed only while a model is made, and its metadata
 * and other small tables, come from the C++ allocator. Both functions are called from whichever thread makes
 * or ends something, and must not throw. */
typedef struct cg_allocator {
  void* context; /* handed to both */
  /* `bytes` > 0 at a multiple of `alignment`, a power of two up to 2 MiB; or NULL: there is no memory. */
  void* (*allocate)(void* context, size_t bytes, size_t alignment);
  void (*release)(void* context, void* memory, size_t bytes); /* `memory` is never NULL */
} cg_allocator;

/* Flags of cg_model_options. */
enum {
  /* The bytes given to cg_model_load_memory outlive the model, which may refer to them. In this version a
   * model packs all weights and refers to none; with the flag safetensors weights are read where they lie,
   * which saves one copy of them while the model is made. */
  CG_BORROW = 1,
  /* Accept NaN, infinity and numbers that overflow float32 in weights; without it they are refused. */
  CG_ALLOW_NONFINITE = 2
};

typedef struct cg_model_options {
  size_t struct_size; /* sizeof(cg_model_options) */
  const cg_allocator*
      allocator;       /* copied; NULL: the C library's. Must live as long as its model and streams */
  const char* isa;     /* "avx512", "avx2", "baseline", "neon"; NULL: that of cg_active_isa */
  const char* source;  /* what messages call the bytes of cg_model_load_memory; NULL: "data" */
  uint64_t byte_limit; /* largest file that is read, in bytes; 0: no limit */
  cg_format format;    /* of the file; not read by cg_model_create */
  uint32_t flags;      /* CG_BORROW, CG_ALLOW_NONFINITE */
} cg_model_options;

/* Reads a model from the file at `path`, UTF-8. `options` may be NULL. *model has one reference. Without
 * readers (CELLGATE_FILES=OFF) CG_UNSUPPORTED. */
CG_API cg_status cg_model_load(const char* path, const cg_model_options* options, cg_model** model,
                               cg_error* error) CG_NOEXCEPT;

/* The same of `bytes` bytes at `data`, which need not outlive the call unless CG_BORROW promises it. */
CG_API cg_status cg_model_load_memory(const void* data, size_t bytes, const cg_model_options* options,
                                      cg_model** model, cg_error* error) CG_NOEXCEPT;

/* The weights of one layer and direction, as PyTorch has them: rows of gates in the order i, f, g, o.
 * Elements are of the description's dtype. I here is the input size of the layer: D * (P or H) from the
 * second on. */
typedef struct cg_layer_weights {
  const void* weight_ih; /* [4 * H, I] */
  const void* weight_hh; /* [4 * H, P or H] */
  const void* bias_ih;   /* [4 * H]; NULL without bias */
  const void* bias_hh;   /* [4 * H]; NULL without bias */
  const void* weight_hr; /* [P, H]; NULL without projection */
} cg_layer_weights;

typedef int32_t cg_activation;
enum { CG_LINEAR = 0, CG_SIGMOID = 1, CG_SOFTMAX = 2, CG_TANH = 3, CG_RELU = 4 };

typedef int32_t cg_pooling;
enum {
  CG_POOL_NONE = 0,
  CG_POOL_MEAN = 1, /* mean of h over the steps */
  CG_POOL_LAST = 2  /* the final h of each direction */
};

/* A model in the caller's arrays, which are copied and need not outlive the call. */
typedef struct cg_model_description {
  size_t struct_size;             /* sizeof(cg_model_description) */
  int64_t input_size;             /* I */
  int64_t hidden_size;            /* H */
  int64_t num_layers;             /* L; 1 after init */
  int64_t proj_size;              /* P; 0: no projection */
  cg_dtype dtype;                 /* of all arrays, and of the model */
  int32_t bias;                   /* whether layers have biases; 1 after init */
  int32_t bidirectional;          /* whether D is 2 */
  cg_pooling pooling;             /* what the head reads */
  size_t layer_struct_size;       /* sizeof(cg_layer_weights); set by init */
  const cg_layer_weights* layers; /* [L * D]: layer 0 forward, layer 0 reverse, layer 1 forward, ... */
  int64_t head_outputs;           /* O; 0: no head, then O is D * (P or H) */
  const void* head_weight;        /* [O, D * (P or H)] */
  const void* head_bias;          /* [O], or NULL: zero */
  cg_activation head_activation;  /* of the head */
  int32_t reserved;               /* 0 */
  const void* input_mean;         /* [I], or NULL: 0 */
  const void* input_scale;        /* [I], none 0, or NULL: 1 */
  double skip;                    /* 0: nothing of the input is added; else O <= I, and no pooling */
  double input_gain;              /* a factor; 1 after init */
  double output_gain;             /* a factor; 1 after init */
  const void* initial_h;          /* [L * D, P or H], where sequences begin; NULL, with initial_c: zero */
  const void* initial_c;          /* [L * D, H] */
  double sample_rate;             /* steps per second, Hz; 0: unknown */
  const char* const* metadata;    /* [2 * metadata_count], UTF-8: a key, its value, the next key, ... */
  size_t metadata_count;          /* of keys */
} cg_model_description;

/* Sets the first `struct_size` bytes to the defaults, struct_size among them; call it with sizeof
 * *description. NULL: does nothing. */
CG_API void cg_model_description_init(cg_model_description* description, size_t struct_size) CG_NOEXCEPT;

/* Makes a model of the arrays of `description`. `options` may be NULL. *model has one reference. */
CG_API cg_status cg_model_create(const cg_model_description* description, const cg_model_options* options,
                                 cg_model** model, cg_error* error) CG_NOEXCEPT;

/* One reference more; returns `model`. Any thread. Real-time safe. NULL: returns NULL. */
CG_API cg_model* cg_model_retain(cg_model* model) CG_NOEXCEPT;

/* One reference less: with the last one, and once no stream is left, the memory goes. Any thread. NULL:
 * nothing. */
CG_API void cg_model_release(cg_model* model) CG_NOEXCEPT;

typedef struct cg_info {
  size_t struct_size;  /* sizeof(cg_info), set by the caller */
  int64_t input_size;  /* I */
  int64_t output_size; /* O */
  int64_t hidden_size; /* H */
  int64_t num_layers;  /* L */
  int64_t proj_size;   /* P; 0: no projection */
  int64_t directions;  /* D; streams need 1 */
  cg_dtype dtype;
  int32_t bias;     /* whether layers have biases */
  int32_t has_head; /* else O is D * (P or H) */
  cg_activation activation;
  cg_pooling pooling;
  int32_t has_initial_state; /* else sequences begin at zero */
  double skip;
  double input_gain;      /* a factor */
  double output_gain;     /* a factor */
  double sample_rate;     /* Hz; 0: unknown */
  int64_t selftest_steps; /* of the file's self-test; 0: it has none */
  size_t metadata_count;  /* of keys */
  const char* isa;        /* the instruction set that it was packed for. Static */
} cg_info;

/* Fills in the first info->struct_size bytes of *info. Any thread. Real-time safe. */
CG_API cg_status cg_model_get_info(const cg_model* model, cg_info* info, cg_error* error) CG_NOEXCEPT;

/* *value: what the file says of `key`, UTF-8; CG_ABSENT, and NULL, if nothing. Lives as long as the model.
 * Any thread. Real-time safe. */
CG_API cg_status cg_model_metadata(const cg_model* model, const char* key, const char** value,
                                   cg_error* error) CG_NOEXCEPT;

/* The same by number, from 0 to metadata_count - 1, in the order of the keys. */
CG_API cg_status cg_model_metadata_at(const cg_model* model, size_t index, const char** key,
                                      const char** value, cg_error* error) CG_NOEXCEPT;

/* Runs the self-test of the file: an input, and what the network that was trained answered.
 * *largest_difference is that between any of these answers and the model's; NaN if one of these is NaN. What
 * is close enough is the caller's to say. CG_ABSENT if there is none. Allocates. Any thread. */
CG_API cg_status cg_model_selftest(const cg_model* model, double* largest_difference,
                                   cg_error* error) CG_NOEXCEPT;

/* ---- streams ----------------------------------------------------------------------------------------- */

/* The running state of one sequence over a model, to which it holds a reference. One thread at a time. Needs
 * a model with one direction. Until state is set it begins at the model's initial state. */
typedef struct cg_stream cg_stream;

#define CG_STREAM_ALIGNMENT 64

/* *bytes: the memory that a stream over `model` takes. Any thread. Real-time safe. */
CG_API cg_status cg_stream_size(const cg_model* model, size_t* bytes, cg_error* error) CG_NOEXCEPT;

/* Makes a stream in `memory`: the caller's, of `bytes` >= cg_stream_size bytes, at a multiple of
 * CG_STREAM_ALIGNMENT, not moved or freed before cg_stream_destroy. All of it that is used is written once
 * here, so that later calls meet no page fault. Any thread. Real-time safe but for these page faults. */
CG_API cg_status cg_stream_init(cg_model* model, void* memory, size_t bytes, cg_stream** stream,
                                cg_error* error) CG_NOEXCEPT;

/* Makes a stream in memory of the model's allocator. Any thread. */
CG_API cg_status cg_stream_create(cg_model* model, cg_stream** stream, cg_error* error) CG_NOEXCEPT;

/* Ends a stream: gives its reference to the model back and, if cg_stream_create made it, its memory.
 * Afterwards `stream` is invalid. NULL: nothing. Not real-time safe: the model may go with it. */
CG_API void cg_stream_destroy(cg_stream* stream) CG_NOEXCEPT;

/* The next `frames` steps: `in` is [frames, I], `out` [frames, O], interleaved. `out` may be `in` where O =
 * I; else they must not overlap. With pooling each output is that of all frames since the last reset. 0
 * frames do nothing, and the arrays may then be NULL. However a sequence is split into calls, bits are the
 * same. Real-time safe. */
CG_API cg_status cg_stream_process(cg_stream* stream, const float* in, float* out, size_t frames,
                                   cg_error* error) CG_NOEXCEPT;
CG_API cg_status cg_stream_process_f64(cg_stream* stream, const double* in, double* out, size_t frames,
                                       cg_error* error) CG_NOEXCEPT;

/* The same with one array for each input and output: in[i], of I, and out[j], of O, are [frames]. Any out[j]
 * may be any in[i], but no two of `out` the same, and none may overlap another otherwise. Real-time safe. */
CG_API cg_status cg_stream_process_planar(cg_stream* stream, const float* const* in, float* const* out,
                                          size_t frames, cg_error* error) CG_NOEXCEPT;
CG_API cg_status cg_stream_process_planar_f64(cg_stream* stream, const double* const* in, double* const* out,
                                              size_t frames, cg_error* error) CG_NOEXCEPT;

/* Back to the model's initial state, with nothing pooled. Real-time safe. */
CG_API cg_status cg_stream_reset(cg_stream* stream, cg_error* error) CG_NOEXCEPT;

/* *count: elements of the state: h of all layers, [L, P or H], then c of all layers, [L, H]. Real-time safe.
 */
CG_API cg_status cg_stream_state_count(const cg_stream* stream, size_t* count, cg_error* error) CG_NOEXCEPT;

/* Copies the state to or from `state`, whose `count` elements must be cg_stream_state_count. What was pooled
 * is not part of it, and setting leaves that alone. Real-time safe. */
CG_API cg_status cg_stream_get_state(const cg_stream* stream, float* state, size_t count,
                                     cg_error* error) CG_NOEXCEPT;
CG_API cg_status cg_stream_get_state_f64(const cg_stream* stream, double* state, size_t count,
                                         cg_error* error) CG_NOEXCEPT;
CG_API cg_status cg_stream_set_state(cg_stream* stream, const float* state, size_t count,
                                     cg_error* error) CG_NOEXCEPT;
CG_API cg_status cg_stream_set_state_f64(cg_stream* stream, const double* state, size_t count,
                                         cg_error* error) CG_NOEXCEPT;

/* ---- whole sequences --------------------------------------------------------------------------------- */

/* Threads for cg_run. The thread that calls is one of them; the others are started when first wanted, wait
 * actively for some microseconds between jobs, and then sleep. One call at a time has the pool: another one
 * that finds it taken runs on its own thread, with the same bits. */
typedef struct cg_pool cg_pool;

/* A pool of up to `threads` threads, from 1 to 1024, the caller's included. CG_UNSUPPORTED in a build without
 * threads (CELLGATE_THREADS=OFF). */
CG_API cg_status cg_pool_create(int32_t threads, cg_pool** pool, cg_error* error) CG_NOEXCEPT;

/* Ends its threads. No call may be using it. NULL: nothing. */
CG_API void cg_pool_destroy(cg_pool* pool) CG_NOEXCEPT;

/* What cg_run reads and writes, all in the caller's memory. Strides count elements, may be negative, and are
 * those of the first two axes of an array whose last axis is contiguous; where both of an array are 0 it is
 * contiguous, [T, B, ...]. So [B, T, I] is x_step = I, x_row = T * I. */
typedef struct cg_run_arguments {
  size_t struct_size;     /* sizeof(cg_run_arguments) */
  int64_t steps;          /* T, from 0 */
  int64_t batch;          /* B, from 0 */
  const float* x;         /* [T, B, I] */
  int64_t x_step, x_row;  /* strides of x */
  float* y;               /* [T, B, O], or with pooling [B, O]; overlaps nothing else */
  int64_t y_step, y_row;  /* strides of y; with pooling y_step is not read, and a y_row of 0 is O */
  const int64_t* lengths; /* [B], valid steps of each sequence, from 0 to T; y is zero beyond. NULL: all T */
  const uint8_t* reset; /* [T, B], 1 where a new segment begins, from the initial state, else 0; or NULL. Not
                           with pooling */
  int64_t reset_step, reset_row; /* strides of reset */
  const float* h0; /* [L * D, B, P or H], contiguous; NULL, with c0: the model's initial state */
  const float* c0; /* [L * D, B, H], contiguous */
  float* h_n;      /* [L * D, B, P or H], contiguous, may be h0: receives the final state; or NULL */
  float* c_n;      /* [L * D, B, H], contiguous, may be c0; or NULL */
  cg_pool* pool;   /* threads, or NULL: the calling one alone */
} cg_run_arguments;

typedef struct cg_run_arguments_f64 {
  size_t struct_size; /* sizeof(cg_run_arguments_f64) */
  int64_t steps;
  int64_t batch;
  const double* x;
  int64_t x_step, x_row;
  double* y;
  int64_t y_step, y_row;
  const int64_t* lengths;
  const uint8_t* reset;
  int64_t reset_step, reset_row;
  const double* h0;
  const double* c0;
  double* h_n;
  double* c_n;
  cg_pool* pool;
} cg_run_arguments_f64;

/* Runs whole sequences. Everything is checked before anything is written. Working memory is allocated; that
 * of one call, up to 16 MiB, the model keeps for the next. Any thread; not real-time safe. */
CG_API cg_status cg_run(const cg_model* model, const cg_run_arguments* arguments,
                        cg_error* error) CG_NOEXCEPT;
CG_API cg_status cg_run_f64(const cg_model* model, const cg_run_arguments_f64* arguments,
                            cg_error* error) CG_NOEXCEPT;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CELLGATE_H */
