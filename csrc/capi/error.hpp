// From exceptions to a status and a cg_error: the only place where errors of the core become C's. Used by all
// of capi.
#pragma once

#include <stdexcept>
#include <string>

#include "include/cellgate/cellgate.h"

namespace cellgate::capi {

// What only this interface knows of: thrown where the core has no exception for it.
class Failure : public std::runtime_error {
 public:
  Failure(cg_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  cg_status status() const { return status_; }

 private:
  cg_status status_;
};

// Fills in *error, unless null, and returns `status`. Allocates nothing: also for real-time threads.
cg_status fail(cg_error* error, cg_status status, const char* message, std::int64_t position = -1) noexcept;

inline cg_status fail_null(cg_error* error, const char* message) noexcept {
  return fail(error, CG_INVALID_ARGUMENT, message);
}

// Of the exception that is being handled.
cg_status translate(cg_error* error) noexcept;

template <class F>
cg_status guarded(cg_error* error, const F& f) noexcept {
  try {
    f();
    return CG_OK;
  } catch (...) {
    return translate(error);
  }
}

}  // namespace cellgate::capi
