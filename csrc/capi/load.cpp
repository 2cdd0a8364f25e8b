// Models from files.
#include "capi/model.hpp"
#include "capi/structs.hpp"
#if defined(CELLGATE_FILES)
#include "files/read.hpp"
#endif

namespace cellgate::capi {
namespace {

#if defined(CELLGATE_FILES)

files::ReadOptions read_options_of(const cg_model_options& options, const char* source) {
  files::ReadOptions read;
  read.format = checked_enum("options: format", options.format, files::Format::kNam);
  read.source = source;
  if (options.byte_limit && options.byte_limit < read.byte_limit) {
    read.byte_limit = static_cast<std::size_t>(options.byte_limit);
  }
  read.allow_nonfinite = (options.flags & CG_ALLOW_NONFINITE) != 0;
  read.borrow = (options.flags & CG_BORROW) != 0;
  return read;
}

cg_model* load(files::Bytes bytes, const files::ReadOptions& read, const cg_model_options& options) {
  table_of(options, 1, sizeof(float));  // a wrong one is refused before anything is read
  const AnyNetwork network = files::read_network(bytes, read);
  return std::visit([&](const auto& of_type) { return make_model(of_type, options); }, network);
}

cg_model* load_path(const char* path, const cg_model_options& options) {
  files::ReadOptions read = read_options_of(options, path);
  const std::vector<unsigned char> bytes = files::read_bytes(path, read.byte_limit);
  read.borrow = true;  // these outlive the packing, after which nothing refers to them
  return load({bytes.data(), bytes.size()}, read, options);
}

cg_model* load_bytes(const void* data, std::size_t size, const cg_model_options& options) {
  const files::ReadOptions read = read_options_of(options, options.source ? options.source : "data");
  return load({static_cast<const unsigned char*>(data), size}, read, options);
}

#else

cg_model* load_path(const char*, const cg_model_options&) {
  throw Failure(CG_UNSUPPORTED, "path: this build of cellgate has no readers of files (CELLGATE_FILES=OFF)");
}
cg_model* load_bytes(const void*, std::size_t, const cg_model_options&) {
  throw Failure(CG_UNSUPPORTED, "data: this build of cellgate has no readers of files (CELLGATE_FILES=OFF)");
}

#endif

constexpr const char* kNoPlace = "model: must be a pointer to write to, got NULL";

}  // namespace
}  // namespace cellgate::capi

using namespace cellgate::capi;

extern "C" {

cg_status cg_model_load(const char* path, const cg_model_options* options, cg_model** model,
                        cg_error* error) noexcept {
  if (!model) return fail_null(error, kNoPlace);
  *model = nullptr;
  if (!path) return fail_null(error, "path: must be a string, got NULL");
  return guarded(error, [&] { *model = load_path(path, read_options(options)); });
}

cg_status cg_model_load_memory(const void* data, std::size_t bytes, const cg_model_options* options,
                               cg_model** model, cg_error* error) noexcept {
  if (!model) return fail_null(error, kNoPlace);
  *model = nullptr;
  if (!data && bytes) return fail_null(error, "data: must be an array, got NULL");
  return guarded(error, [&] { *model = load_bytes(data, bytes, read_options(options)); });
}

}  // extern "C"
