// The library itself: its version, the instruction set, pools of threads.
#include <memory>

#include "capi/handles.hpp"
#include "kernels/dispatch.hpp"
#if !defined(CELLGATE_NO_THREADS)
#include "threads/cpus.hpp"
#endif

using namespace cellgate::capi;

extern "C" {

const char* cg_version(void) noexcept { return CELLGATE_VERSION; }

cg_status cg_active_isa(const char** name, cg_error* error) noexcept {
  if (!name) return fail_null(error, "name: must be a pointer to write to, got NULL");
  *name = nullptr;
  return guarded(error, [&] { *name = cellgate::active_kernel_table().name; });
}

cg_status cg_pool_create(std::int32_t threads, cg_pool** pool, cg_error* error) noexcept {
  if (!pool) return fail_null(error, "pool: must be a pointer to write to, got NULL");
  *pool = nullptr;
#if defined(CELLGATE_NO_THREADS)
  static_cast<void>(threads);
  return fail(error, CG_UNSUPPORTED, "threads: this build of cellgate has none (CELLGATE_THREADS=OFF)");
#else
  return guarded(error, [&] {
    if (threads < 1 || threads > cellgate::kMaxThreads) {
      throw Failure(CG_INVALID_ARGUMENT, "threads: must be from 1 to " +
                                             std::to_string(cellgate::kMaxThreads) + ", got " +
                                             std::to_string(threads));
    }
    *pool = new cg_pool(threads);
  });
#endif
}

void cg_pool_destroy(cg_pool* pool) noexcept { delete pool; }

}  // extern "C"
