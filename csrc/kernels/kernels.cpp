// Compiled once for each row of isa.cmake, with that row's flags and CELLGATE_ISA_NAME set.
// Exports exactly one symbol, cellgate_kernels_<name>; everything else has internal linkage, so
// that no inline function built for one instruction set can be linked into another's path.
#include "kernels/kernel_table.hpp"
#include "kernels/vec.hpp"

#include "kernels/activations-inl.hpp"
#include "kernels/cell_backward-inl.hpp"
#include "kernels/cell_forward-inl.hpp"
#include "kernels/gemm-inl.hpp"
#include "kernels/transpose-inl.hpp"

#define CELLGATE_JOIN2(a, b) a##b
#define CELLGATE_JOIN(a, b) CELLGATE_JOIN2(a, b)
#define CELLGATE_STRING2(a) #a
#define CELLGATE_STRING(a) CELLGATE_STRING2(a)

namespace {

template <class S>
constexpr cellgate::Kernels<S> kernels() {
  return {Simd<S>::lanes, gemm<S>,     cell_forward<S>,  cell_backward<S>,
          transpose<S>,   add_rows<S>, sigmoid_array<S>, tanh_array<S>};
}

}  // namespace

extern "C" {
extern const cellgate::KernelTable CELLGATE_JOIN(cellgate_kernels_, CELLGATE_ISA_NAME);
const cellgate::KernelTable CELLGATE_JOIN(cellgate_kernels_, CELLGATE_ISA_NAME) = {
    CELLGATE_STRING(CELLGATE_ISA_NAME), kVectorBytes, kernels<float>(), kernels<double>()};
}
