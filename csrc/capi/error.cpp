// Statuses, their names and messages.
#include "capi/error.hpp"

#include <cstring>
#include <new>

#include "run/check.hpp"
#if defined(CELLGATE_FILES)
#include "files/error.hpp"
#endif

namespace cellgate::capi {
namespace {

#if defined(CELLGATE_FILES)
cg_status status_of(files::Fault fault) {
  switch (fault) {
    case files::Fault::kMalformed:
      return CG_MALFORMED;
    case files::Fault::kUnsupported:
      return CG_UNSUPPORTED;
    case files::Fault::kTooLarge:
      return CG_TOO_LARGE;
    case files::Fault::kUnreadable:
      return CG_UNREADABLE;
  }
  return CG_INTERNAL;
}
#endif

// The bytes of `text` that fit, without a part of a character of UTF-8 at the end.
std::size_t fitting(const char* text) {
  const std::size_t length = std::strlen(text);
  std::size_t fits = length < CG_MESSAGE_BYTES ? length : CG_MESSAGE_BYTES - 1;
  while (fits < length && fits > 0 && (static_cast<unsigned char>(text[fits]) & 0xc0u) == 0x80u) --fits;
  return fits;
}

}  // namespace

cg_status fail(cg_error* error, cg_status status, const char* message, std::int64_t position) noexcept {
  if (error) {
    error->code = status;
    error->reserved = 0;
    error->position = position;
    const std::size_t fits = fitting(message);
    std::memcpy(error->message, message, fits);
    error->message[fits] = 0;
  }
  return status;
}

cg_status translate(cg_error* error) noexcept {
  try {
    throw;
  } catch (const Failure& failure) {
    return fail(error, failure.status(), failure.what());
#if defined(CELLGATE_FILES)
  } catch (const files::FileError& file) {
    return fail(error, status_of(file.fault()), file.what(), file.position());
#endif
  } catch (const WrongType& wrong) {
    return fail(error, CG_WRONG_TYPE, wrong.what());
  } catch (const std::invalid_argument& invalid) {
    return fail(error, CG_INVALID_ARGUMENT, invalid.what());
  } catch (const TooLarge& large) {
    return fail(error, CG_TOO_LARGE, large.what());
  } catch (const std::bad_alloc&) {
    return fail(error, CG_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception& other) {
    return fail(error, CG_INTERNAL, other.what());
  } catch (...) {
    return fail(error, CG_INTERNAL, "an exception of a type that cellgate does not throw");
  }
}

}  // namespace cellgate::capi

extern "C" const char* cg_status_name(cg_status status) noexcept {
  static constexpr const char* kNames[] = {
      "CG_OK",         "CG_INVALID_ARGUMENT", "CG_WRONG_TYPE",  "CG_OUT_OF_MEMORY", "CG_TOO_LARGE",
      "CG_UNREADABLE", "CG_MALFORMED",        "CG_UNSUPPORTED", "CG_ABSENT",        "CG_INTERNAL"};
  return status >= CG_OK && status <= CG_INTERNAL ? kNames[status] : "unknown status";
}
