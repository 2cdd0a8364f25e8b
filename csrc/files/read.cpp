// Detects the format, calls its reader, and opens every message with the source. Called by bindings and capi.
#include "files/read.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "files/readers.hpp"

namespace cellgate::files {
namespace {

constexpr const char* kNotJson = "is not JSON";

bool begins_with(Bytes bytes, std::string_view magic) {
  return bytes.size >= magic.size() && std::memcmp(bytes.data, magic.data(), magic.size()) == 0;
}

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data), bytes.size}; }

// A safetensors file begins with a length of 8 bytes, whose last is zero, and a brace. JSON has no zero
// bytes.
bool is_safetensors(Bytes bytes) { return bytes.size >= 9 && bytes.data[7] == 0 && bytes.data[8] == '{'; }

bool is_json(Bytes bytes) {
  std::string_view text = text_of(bytes);
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);  // a byte order mark
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

[[noreturn]] void fail_unknown(Bytes bytes) {
  const auto starts = [&](std::string_view magic) { return begins_with(bytes, magic); };
  const char* found = bytes.size == 0               ? "it is empty"
                      : starts("PK\x03\x04")        ? "it is a zip archive, such as .pt and .keras files are"
                      : starts("\x89HDF\r\n\x1a\n") ? "it is an HDF5 file"
                      : starts("\x80\x02")          ? "it is a Python pickle"
                      : starts("GGUF")              ? "it is a GGUF file"
                                                    : nullptr;
  unsupported("must be a safetensors file or JSON, but " +
              (found ? std::string(found) : "it begins with " + in_quotes(text_of(bytes).substr(0, 8))));
}

Format format_of(const Value& root) {
  if (root.find("architecture")) return Format::kNam;
  if (root.find("layers")) return Format::kRtneural;
  if (root.find("model_data") || root.find("state_dict")) return Format::kProteus;
  std::string names;
  if (const auto* members = std::get_if<Object>(&root.is)) {
    for (std::size_t i = 0; i < members->size() && i < 8; ++i)
      names += (i ? ", " : "") + in_quotes((*members)[i].name);
  }
  unsupported(
      "is JSON, but of no known format: wanted 'layers' (RTNeural, AIDA-X), 'model_data' (Proteus) or "
      "'architecture' (NAM), got " +
      (names.empty() ? kind_of(root) : names));
}

NetworkDescription<float> read_json(Bytes bytes, const ReadOptions& options) {
  const Value root = parse_json(text_of(bytes), kNotJson);
  switch (options.format == Format::kAuto ? format_of(root) : options.format) {
    case Format::kRtneural:
      return read_rtneural(root, options.allow_nonfinite);
    case Format::kProteus:
      return read_proteus(root, options.allow_nonfinite);
    default:
      return read_nam(root, options.allow_nonfinite);
  }
}

AnyNetwork read(Bytes bytes, const ReadOptions& options) {
  if (bytes.size > options.byte_limit) {
    throw FileError(Fault::kTooLarge, "must have at most " + std::to_string(options.byte_limit) +
                                          " bytes, got " + std::to_string(bytes.size));
  }
  const bool safetensors =
      options.format == Format::kAuto ? is_safetensors(bytes) : options.format == Format::kSafetensors;
  if (!safetensors && options.format == Format::kAuto && !is_json(bytes)) fail_unknown(bytes);
  AnyNetwork network = safetensors ? read_safetensors(bytes, options) : read_json(bytes, options);
  std::visit([](const auto& n) { validate(n); }, network);
  return network;
}

}  // namespace

AnyNetwork read_network(Bytes bytes, const ReadOptions& options) {
  try {
    return read(bytes, options);
  } catch (const FileError& error) {
    throw FileError(error.fault(), options.source + ": " + error.what(), error.position());
  } catch (const std::invalid_argument& error) {
    throw FileError(Fault::kMalformed, options.source + ": " + error.what());
  }
}

Format detect(Bytes bytes) {
  if (is_safetensors(bytes)) return Format::kSafetensors;
  if (!is_json(bytes)) fail_unknown(bytes);
  return format_of(parse_json(text_of(bytes), kNotJson));
}

std::vector<unsigned char> read_bytes(const std::string& path, std::size_t byte_limit) {
  const auto fail = [&](const std::string& why) {
    throw FileError(Fault::kUnreadable, path + ": cannot be read: " + why);
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail(std::strerror(errno));
  std::vector<unsigned char> bytes;
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  for (;;) {  // a pipe or a device has no size to ask for
    const std::size_t before = bytes.size();
    bytes.resize(before + kPiece);
    const std::size_t got = std::fread(bytes.data() + before, 1, kPiece, file.get());
    bytes.resize(before + got);
    if (std::ferror(file.get())) fail(std::strerror(errno));
    if (bytes.size() > byte_limit) {
      throw FileError(Fault::kTooLarge,
                      path + ": must have at most " + std::to_string(byte_limit) + " bytes");
    }
    if (got == 0) return bytes;
  }
}

}  // namespace cellgate::files
