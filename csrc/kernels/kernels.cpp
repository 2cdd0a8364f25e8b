// Compiled once for each row of isa.cmake, with that row's flags and CELLGATE_ISA_NAME set.
// Exports exactly one symbol, cellgate_kernels_<name>; everything else has internal linkage, so
// that no inline function built for one instruction set can be linked into another's path.
#include "kernels/kernel_table.hpp"

#include <type_traits>

#include "kernels/activations-inl.hpp"
#if !defined(CELLGATE_COMPACT)
#include "kernels/cell_backward-inl.hpp"
#endif
#include "kernels/cell_forward-inl.hpp"
#include "kernels/cell_steps-inl.hpp"
#include "kernels/gemm-inl.hpp"
#include "kernels/transpose-inl.hpp"
#include "kernels/vec.hpp"
#include "kernels/weights-inl.hpp"

#define CELLGATE_JOIN2(a, b) a##b
#define CELLGATE_JOIN(a, b) CELLGATE_JOIN2(a, b)
#define CELLGATE_STRING2(a) #a
#define CELLGATE_STRING(a) CELLGATE_STRING2(a)

namespace {

// The watershed where templates become function pointers. All that this file includes is templated on W and
// S; core, which includes kernel_table.hpp alone, sees Kernels<S>. One call for each row of weight_types.def.
template <class W, class S>
constexpr cellgate::Kernels<S> kernels(cellgate::WeightType type) {
  cellgate::Kernels<S> k{};
  k.weights = type;
  k.weight_bytes = sizeof(W);
  k.scaled = kScaled<W>;
  k.lanes = Simd<S>::lanes;
  k.gemm = gemm<W, S>;
  k.cell_forward = cell_forward<W, S>;
  k.cell_steps = cell_steps<W, S>;
  k.pack = pack<W, S>;
  k.unpack = unpack<W, S>;
#if !defined(CELLGATE_COMPACT)  // the C library trains nothing
  if constexpr (std::is_same_v<W, S>) k.cell_backward = cell_backward<S>;
  k.transpose = transpose<S>;
  k.add_rows = add_rows<S>;
#endif
  k.sigmoid = sigmoid_array<S>;
  k.tanh = tanh_array<S>;
  return k;
}

}  // namespace

extern "C" {
extern const cellgate::KernelTable CELLGATE_JOIN(cellgate_kernels_, CELLGATE_ISA_NAME);
const cellgate::KernelTable CELLGATE_JOIN(cellgate_kernels_, CELLGATE_ISA_NAME) = {
    CELLGATE_STRING(CELLGATE_ISA_NAME),
    kFused,
#define CELLGATE_WEIGHT_TYPE(name, W, S) kernels<W, S>(cellgate::WeightType::name),
#include "kernels/weight_types.def"
};
}
