// cellgate's own files: weights as tensors, all else as JSON in the metadata. Called by safetensors.cpp,
// which reads, and safetensors_write.cpp.
//
// A safetensors file is 8 bytes of length, little-endian, a JSON header of that length, and the tensors'
// bytes, without gaps (huggingface/safetensors, README, "Format"). Its metadata has one key:
//
//   "cellgate": {"format_version": 1, options of options.def, "batch_first", "dropout", "dtype", "network"}
//
//   dtype    "float32" or "float64": the type of the model. A tensor may be of a narrower type.
//   network  is there for a Network and not for an LSTM alone; each of its members may be left out:
//            {"activation": "linear",        of the head: linear, sigmoid, softmax, tanh, relu
//             "pooling": "none",             none, mean, last
//             "skip": 0, "input_gain": 1, "output_gain": 1,
//             "sample_rate": 48000,          Hz; left out: unknown
//             "selftest_gains": true,        false: the self-test was recorded with both gains 1
//             "metadata": {}}                strings by name
//
// Options that are left out have the default of options.def; unknown ones would change the results and are
// refused, and so are unknown members of `network`. A cellgate older than networks refuses "network".
//
// Tensors: PyTorch's parameters of the LSTM by PyTorch's names ("weight_ih_l0", ...), and of a network those
// of these that it has:
//   head.weight [O, D * (P or H)]     head.bias [O]
//   input_mean [I]                    input_scale [I]
//   initial_h [L * D, P or H]         initial_c [L * D, H]
//   selftest_input [T, I]             selftest_output [T, O]
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are read and written as they lie in memory, which must be little-endian"
#endif

namespace cellgate::files {

constexpr const char* kMetadataKey = "cellgate";
constexpr std::int64_t kFormatVersion = 1;
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMostHeaderBytes = 100'000'000;  // as the safetensors library has it

}  // namespace cellgate::files
