/* An LV2 plug-in that plays an amplifier or another effect from a .json, .aidax or .nam file, or from one
 * that Network.save wrote. The host sends the path as patch:Set of the property "model"; the file is read on
 * the host's worker thread and comes to the audio thread as one pointer. Nothing in run() allocates, locks or
 * waits. Without a model the sound passes through. */
#include <cellgate/cellgate.h>
#include <lv2/atom/atom.h>
#include <lv2/atom/util.h>
#include <lv2/core/lv2.h>
#include <lv2/core/lv2_util.h>
#include <lv2/log/logger.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>
#include <stdlib.h>
#include <string.h>

#define PLAYER_URI "urn:cellgate:player"
#define PLAYER_MODEL PLAYER_URI "#model"
#define PLAYER_FREE PLAYER_URI "#free"

enum { CONTROL, INPUT, OUTPUT };

/* A file that was read. */
typedef struct Loaded {
  cg_stream* stream;   /* has the only reference to the model */
  struct Loaded* next; /* of those that wait to be freed */
  char path[];
} Loaded;

/* What the audio thread asks the worker to free: all that `first` leads to. */
typedef struct {
  LV2_Atom atom;
  Loaded* first;
} FreeRequest;

typedef struct {
  const LV2_Atom_Sequence* control;
  const float* input;
  float* output;
  Loaded* loaded;  /* what plays; NULL: nothing */
  Loaded* retired; /* what played before and is not with the worker yet */
  double rate;
  LV2_URID_Map* map;
  LV2_Worker_Schedule* schedule;
  LV2_Log_Logger logger;
  LV2_URID path_type, model_property, free_type, set, property, value, urid_type, object;
} Player;

/* ---- any thread but the audio thread ----------------------------------------------------------------- */

static void free_all(Loaded* first) {
  while (first) {
    Loaded* next = first->next;
    cg_stream_destroy(first->stream);
    free(first);
    first = next;
  }
}

/* NULL, and a line in the host's log, if the file does not fit. */
static Loaded* load(Player* self, const char* path) {
  cg_error error;
  cg_model* model = NULL;
  cg_info info = {.struct_size = sizeof info};
  Loaded* loaded = calloc(1, sizeof *loaded + strlen(path) + 1);
  if (!loaded) return NULL;
  strcpy(loaded->path, path);
  if (cg_model_load(path, NULL, &model, &error) != CG_OK ||
      cg_model_get_info(model, &info, &error) != CG_OK) {
    lv2_log_error(&self->logger, "cellgate: %s\n", error.message);
  } else if (info.input_size != 1 || info.output_size != 1 || info.dtype != CG_FLOAT32) {
    lv2_log_error(&self->logger, "cellgate: %s: must have one input, one output and be float32\n", path);
  } else if (cg_stream_create(model, &loaded->stream, &error) != CG_OK) {
    lv2_log_error(&self->logger, "cellgate: %s\n", error.message);
  } else if (info.sample_rate != 0 && info.sample_rate != self->rate) {
    lv2_log_warning(&self->logger, "cellgate: %s is for %g Hz, the host runs at %g\n", path, info.sample_rate,
                    self->rate);
  }
  cg_model_release(model);
  if (loaded->stream) return loaded;
  free(loaded);
  return NULL;
}

static LV2_Worker_Status work(LV2_Handle handle, LV2_Worker_Respond_Function respond,
                              LV2_Worker_Respond_Handle to, uint32_t size, const void* data) {
  Player* self = handle;
  const LV2_Atom* request = data;
  (void)size;
  if (request->type == self->free_type) {
    free_all(((const FreeRequest*)data)->first);
    return LV2_WORKER_SUCCESS;
  }
  Loaded* loaded = load(self, (const char*)(request + 1));
  if (!loaded) return LV2_WORKER_ERR_UNKNOWN;
  const LV2_Worker_Status status = respond(to, sizeof loaded, &loaded);
  if (status != LV2_WORKER_SUCCESS) free_all(loaded);
  return status;
}

static LV2_Handle instantiate(const LV2_Descriptor* descriptor, double rate, const char* bundle,
                              const LV2_Feature* const* features) {
  (void)descriptor, (void)bundle;
  Player* self = calloc(1, sizeof *self);
  if (!self) return NULL;
  self->rate = rate;
  const char* missing =
      lv2_features_query(features, LV2_LOG__log, &self->logger.log, false, LV2_URID__map, &self->map, true,
                         LV2_WORKER__schedule, &self->schedule, true, NULL);
  lv2_log_logger_set_map(&self->logger, self->map);
  if (missing) {
    lv2_log_error(&self->logger, "cellgate: the host has no %s\n", missing);
    free(self);
    return NULL;
  }
  const struct {
    LV2_URID* id;
    const char* uri;
  } names[] = {{&self->path_type, LV2_ATOM__Path},     {&self->urid_type, LV2_ATOM__URID},
               {&self->object, LV2_ATOM__Object},      {&self->set, LV2_PATCH__Set},
               {&self->property, LV2_PATCH__property}, {&self->value, LV2_PATCH__value},
               {&self->model_property, PLAYER_MODEL},  {&self->free_type, PLAYER_FREE}};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    *names[i].id = self->map->map(self->map->handle, names[i].uri);
  return self;
}

static void cleanup(LV2_Handle handle) {
  Player* self = handle;
  free_all(self->loaded);
  free_all(self->retired);
  free(self);
}

static void release_path(const LV2_State_Free_Path* with, char* path) {
  if (with) {
    with->free_path(with->handle, path);
  } else {
    free(path);
  }
}

static LV2_State_Status save(LV2_Handle handle, LV2_State_Store_Function store, LV2_State_Handle state,
                             uint32_t flags, const LV2_Feature* const* features) {
  Player* self = handle;
  LV2_State_Map_Path* paths = NULL;
  LV2_State_Free_Path* free_path = NULL;
  (void)flags;
  if (!self->loaded) return LV2_STATE_SUCCESS;
  lv2_features_query(features, LV2_STATE__mapPath, &paths, false, LV2_STATE__freePath, &free_path, false,
                     NULL);
  if (!paths) return LV2_STATE_ERR_NO_FEATURE;
  char* path = paths->abstract_path(paths->handle, self->loaded->path);
  const LV2_State_Status status = store(state, self->model_property, path, strlen(path) + 1, self->path_type,
                                        LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE);
  release_path(free_path, path);
  return status;
}

/* The host calls it while run() does not run. */
static LV2_State_Status restore(LV2_Handle handle, LV2_State_Retrieve_Function retrieve,
                                LV2_State_Handle state, uint32_t flags, const LV2_Feature* const* features) {
  Player* self = handle;
  LV2_State_Map_Path* paths = NULL;
  LV2_State_Free_Path* free_path = NULL;
  size_t size = 0;
  uint32_t type = 0, value_flags = 0;
  (void)flags;
  const char* stored = retrieve(state, self->model_property, &size, &type, &value_flags);
  if (!stored || type != self->path_type) return LV2_STATE_SUCCESS;
  lv2_features_query(features, LV2_STATE__mapPath, &paths, false, LV2_STATE__freePath, &free_path, false,
                     NULL);
  if (!paths) return LV2_STATE_ERR_NO_FEATURE;
  char* path = paths->absolute_path(paths->handle, stored);
  Loaded* loaded = load(self, path);
  release_path(free_path, path);
  if (!loaded) return LV2_STATE_ERR_UNKNOWN;
  free_all(self->loaded);
  self->loaded = loaded;
  return LV2_STATE_SUCCESS;
}

/* ---- the audio thread -------------------------------------------------------------------------------- */

static void connect_port(LV2_Handle handle, uint32_t port, void* data) {
  Player* self = handle;
  if (port == CONTROL) self->control = data;
  if (port == INPUT) self->input = data;
  if (port == OUTPUT) self->output = data;
}

static void activate(LV2_Handle handle) {
  Player* self = handle;
  if (self->loaded) cg_stream_reset(self->loaded->stream, NULL);
}

static void free_retired(Player* self) {
  const FreeRequest request = {{sizeof request.first, self->free_type}, self->retired};
  if (!self->retired) return;
  /* Where the queue is full they wait for the next call. */
  if (self->schedule->schedule_work(self->schedule->handle, sizeof request, &request) == LV2_WORKER_SUCCESS)
    self->retired = NULL;
}

static LV2_Worker_Status work_response(LV2_Handle handle, uint32_t size, const void* data) {
  Player* self = handle;
  Loaded* old = self->loaded;
  if (size != sizeof self->loaded) return LV2_WORKER_ERR_UNKNOWN;
  memcpy(&self->loaded, data, sizeof self->loaded);
  if (old) {
    old->next = self->retired;
    self->retired = old;
  }
  free_retired(self);
  return LV2_WORKER_SUCCESS;
}

static void read_control(Player* self) {
  LV2_ATOM_SEQUENCE_FOREACH(self->control, event) {
    const LV2_Atom_Object* object = (const LV2_Atom_Object*)&event->body;
    const LV2_Atom *property = NULL, *value = NULL;
    if (object->atom.type != self->object || object->body.otype != self->set) continue;
    lv2_atom_object_get(object, self->property, &property, self->value, &value, 0);
    if (!property || property->type != self->urid_type || !value || value->type != self->path_type) continue;
    if (((const LV2_Atom_URID*)property)->body != self->model_property) continue;
    const char* path = (const char*)(value + 1);
    if (value->size == 0 || path[value->size - 1] != '\0') continue;
    self->schedule->schedule_work(self->schedule->handle, lv2_atom_total_size(value), value);
  }
}

static void run(LV2_Handle handle, uint32_t frames) {
  Player* self = handle;
  read_control(self);
  free_retired(self);
  if (self->loaded) {
    cg_stream_process(self->loaded->stream, self->input, self->output, frames, NULL);
  } else if (self->output != self->input) {
    memcpy(self->output, self->input, frames * sizeof(float));
  }
}

static const void* extension_data(const char* uri) {
  static const LV2_Worker_Interface worker = {work, work_response, NULL};
  static const LV2_State_Interface state = {save, restore};
  if (!strcmp(uri, LV2_WORKER__interface)) return &worker;
  if (!strcmp(uri, LV2_STATE__interface)) return &state;
  return NULL;
}

LV2_SYMBOL_EXPORT const LV2_Descriptor* lv2_descriptor(uint32_t index) {
  static const LV2_Descriptor descriptor = {PLAYER_URI, instantiate, connect_port, activate,
                                            run,        NULL,        cleanup,      extension_data};
  return index == 0 ? &descriptor : NULL;
}
