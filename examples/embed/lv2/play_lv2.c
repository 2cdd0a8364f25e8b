/* A small LV2 host, which runs the player on a WAV file in blocks: its work on a thread of its own, and any
 * allocation on the audio thread ends the program. usage: play_lv2 MODEL INPUT.wav OUTPUT.wav BLOCK LV2_PATH
 * is the folder that holds the plug-in's bundle. The first half of the file is played by an instance that was
 * sent the model's path, the second half, from the beginning of a state, by one that got it from a saved
 * state. */
#include <lilv/lilv.h>
#include <lv2/atom/atom.h>
#include <lv2/atom/forge.h>
#include <lv2/core/lv2.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>
#include <pthread.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLAYER_URI "urn:cellgate:player"

/* ---- allocation: glibc's functions under names that the plug-in finds first -------------------------- */

extern void* __libc_malloc(size_t bytes);
extern void* __libc_calloc(size_t count, size_t bytes);
extern void* __libc_realloc(void* memory, size_t bytes);
extern void __libc_free(void* memory);

static _Thread_local int in_run;

static void check_not_in_run(void) {
  static const char message[] = "play_lv2: the plug-in allocates or frees in run()\n";
  if (!in_run) return;
  if (write(2, message, sizeof message - 1) < 0) _exit(4);
  _exit(3);
}

void* malloc(size_t bytes) { return check_not_in_run(), __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) { return check_not_in_run(), __libc_calloc(count, bytes); }
void* realloc(void* memory, size_t bytes) { return check_not_in_run(), __libc_realloc(memory, bytes); }
void free(void* memory) { check_not_in_run(), __libc_free(memory); }

static void fail(const char* message) {
  fprintf(stderr, "play_lv2: %s\n", message);
  exit(1);
}

/* ---- URIDs ------------------------------------------------------------------------------------------- */

static char* uris[256];
static uint32_t uri_count;

static LV2_URID map_uri(LV2_URID_Map_Handle handle, const char* uri) {
  (void)handle;
  for (uint32_t i = 0; i < uri_count; ++i) {
    if (!strcmp(uris[i], uri)) return i + 1;
  }
  if (uri_count == sizeof uris / sizeof *uris) fail("too many URIs");
  uris[uri_count] = strdup(uri);
  return ++uri_count;
}

static const char* unmap_urid(LV2_URID_Unmap_Handle handle, LV2_URID id) {
  (void)handle;
  return id > 0 && id <= uri_count ? uris[id - 1] : NULL;
}

static LV2_URID_Map map = {NULL, map_uri};
static LV2_URID_Unmap unmap = {NULL, unmap_urid};

/* ---- work: requests of the audio thread, handled by another thread between two calls of run() -------- */

enum { QUEUE_BYTES = 8192 };

typedef struct {
  LilvInstance* instance;
  const LV2_Worker_Interface* worker;
  uint32_t request_size, response_size; /* 0: none waits */
  char request[QUEUE_BYTES], response[QUEUE_BYTES];
} Work;

static LV2_Worker_Status schedule_work(LV2_Worker_Schedule_Handle handle, uint32_t size, const void* data) {
  Work* work = handle;
  if (work->request_size || size > QUEUE_BYTES) return LV2_WORKER_ERR_NO_SPACE;
  memcpy(work->request, data, size);
  work->request_size = size;
  return LV2_WORKER_SUCCESS;
}

static LV2_Worker_Status respond(LV2_Worker_Respond_Handle handle, uint32_t size, const void* data) {
  Work* work = handle;
  if (size > QUEUE_BYTES) return LV2_WORKER_ERR_NO_SPACE;
  memcpy(work->response, data, size);
  work->response_size = size;
  return LV2_WORKER_SUCCESS;
}

static void* run_work(void* argument) {
  Work* work = argument;
  const uint32_t size = work->request_size;
  work->request_size = 0;
  work->worker->work(lilv_instance_get_handle(work->instance), respond, work, size, work->request);
  return NULL;
}

/* ---- playing ----------------------------------------------------------------------------------------- */

typedef struct {
  LilvInstance* instance;
  Work work;
  union {
    LV2_Atom_Sequence sequence;
    char bytes[QUEUE_BYTES];
  } control;
} Player;

static void run(Player* player, const float* in, float* out, uint32_t frames) {
  lilv_instance_connect_port(player->instance, 1, (void*)in);
  lilv_instance_connect_port(player->instance, 2, out);
  in_run = 1;
  lilv_instance_run(player->instance, frames);
  if (player->work.response_size) {
    const LV2_Handle handle = lilv_instance_get_handle(player->instance);
    player->work.worker->work_response(handle, player->work.response_size, player->work.response);
    player->work.response_size = 0;
  }
  in_run = 0;
  if (player->work.request_size) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_work, &player->work) || pthread_join(thread, NULL))
      fail("a thread cannot be started");
  }
}

static void clear_control(Player* player) {
  player->control.sequence.atom.type = map_uri(NULL, LV2_ATOM__Sequence);
  player->control.sequence.atom.size = sizeof(LV2_Atom_Sequence_Body);
  player->control.sequence.body.unit = player->control.sequence.body.pad = 0;
}

static void send_path(Player* player, const char* path) {
  LV2_Atom_Forge forge;
  LV2_Atom_Forge_Frame sequence, object;
  lv2_atom_forge_init(&forge, &map);
  lv2_atom_forge_set_buffer(&forge, (uint8_t*)player->control.bytes, QUEUE_BYTES);
  lv2_atom_forge_sequence_head(&forge, &sequence, 0);
  lv2_atom_forge_frame_time(&forge, 0);
  lv2_atom_forge_object(&forge, &object, 0, map_uri(NULL, LV2_PATCH__Set));
  lv2_atom_forge_key(&forge, map_uri(NULL, LV2_PATCH__property));
  lv2_atom_forge_urid(&forge, map_uri(NULL, PLAYER_URI "#model"));
  lv2_atom_forge_key(&forge, map_uri(NULL, LV2_PATCH__value));
  if (!lv2_atom_forge_path(&forge, path, (uint32_t)strlen(path) + 1)) fail("MODEL: the path is too long");
  lv2_atom_forge_pop(&forge, &object);
  lv2_atom_forge_pop(&forge, &sequence);
  run(player, NULL, NULL, 0); /* schedules the work, which is done when it returns */
  clear_control(player);
  run(player, NULL, NULL, 0); /* takes the model over */
}

static void start(Player* player, const LilvPlugin* plugin, double rate) {
  LV2_Worker_Schedule schedule = {&player->work, schedule_work};
  /* The plug-in keeps the pointer. */
  static LV2_Worker_Schedule kept[2];
  static int count;
  kept[count] = schedule;
  const LV2_Feature features[] = {
      {LV2_URID__map, &map}, {LV2_URID__unmap, &unmap}, {LV2_WORKER__schedule, &kept[count]}};
  const LV2_Feature* list[] = {&features[0], &features[1], &features[2], NULL};
  ++count;
  player->instance = lilv_plugin_instantiate(plugin, rate, list);
  if (!player->instance) fail("the plug-in cannot be instantiated");
  player->work.instance = player->instance;
  player->work.worker = lilv_instance_get_extension_data(player->instance, LV2_WORKER__interface);
  clear_control(player);
  lilv_instance_connect_port(player->instance, 0, &player->control);
  lilv_instance_activate(player->instance);
}

static void play(Player* player, const float* in, float* out, long frames, long block) {
  for (long done = 0; done < frames; done += block)
    run(player, in + done, out + done, (uint32_t)(frames - done < block ? frames - done : block));
}

int main(int argc, char** argv) {
  static Player first, second;
  SF_INFO format = {0};
  const long block = argc == 5 ? atol(argv[4]) : 0;
  if (block < 1) fail("usage: play_lv2 MODEL INPUT.wav OUTPUT.wav BLOCK");
  SNDFILE* input = sf_open(argv[2], SFM_READ, &format);
  if (!input || format.channels != 1) fail("INPUT.wav: must be a file of one channel");
  const long frames = (long)format.frames, half = frames / 2;
  float* in = calloc((size_t)frames + 1, sizeof *in);
  float* out = calloc((size_t)frames + 1, sizeof *out);
  if (!in || !out || sf_readf_float(input, in, frames) != frames) fail("INPUT.wav: cannot be read");

  LilvWorld* world = lilv_world_new();
  lilv_world_load_all(world);
  LilvNode* uri = lilv_new_uri(world, PLAYER_URI);
  const LilvPlugin* plugin = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(world), uri);
  if (!plugin) fail("no plug-in " PLAYER_URI " in LV2_PATH");

  start(&first, plugin, format.samplerate);
  play(&first, in, out, half < block ? half : block, block); /* without a model sound passes through */
  if (memcmp(in, out, sizeof *in * (size_t)(half < block ? half : block)))
    fail("the sound did not pass through");
  send_path(&first, "/nowhere/at.all"); /* an error, which the log has, and no change */
  send_path(&first, argv[1]);
  play(&first, in, out, half, block);

  LilvState* state = lilv_state_new_from_instance(plugin, first.instance, &map, NULL, NULL, NULL, NULL, NULL,
                                                  NULL, LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE, NULL);
  start(&second, plugin, format.samplerate);
  lilv_state_restore(state, second.instance, NULL, NULL, 0, NULL);
  play(&second, in + half, out + half, frames - half, block);
  send_path(&second, argv[1]); /* the model that played goes back to the worker */
  lilv_state_free(state);

  format.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
  SNDFILE* output = sf_open(argv[3], SFM_WRITE, &format);
  if (!output || sf_writef_float(output, out, frames) != frames) fail("OUTPUT.wav: cannot be written");
  sf_close(output);
  sf_close(input);
  lilv_instance_free(first.instance);
  lilv_instance_free(second.instance);
  lilv_node_free(uri);
  lilv_world_free(world);
  free(in);
  free(out);
  for (uint32_t i = 0; i < uri_count; ++i) free(uris[i]);
  return 0;
}
