// One reader for each format. Called by read.cpp, which opens their messages with the source. Each throws
// FileError for what it does not accept; what concerns the network as such is checked by validate().
#pragma once

#include "files/json.hpp"
#include "files/read.hpp"

namespace cellgate::files {

AnyNetwork read_safetensors(Bytes bytes, const ReadOptions& options);
NetworkDescription<float> read_rtneural(const Value& root, bool allow_nonfinite);
NetworkDescription<float> read_proteus(const Value& root, bool allow_nonfinite);
NetworkDescription<float> read_nam(const Value& root, bool allow_nonfinite);

}  // namespace cellgate::files
