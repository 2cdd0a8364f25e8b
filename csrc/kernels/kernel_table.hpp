// The whole contract between core and kernels: plain structs and function pointers.
// core fills the structs and calls through a KernelTable; kernels.cpp provides one table for
// each instruction set. Nothing here includes SIMD, core or Python.
//
// Two types: W is what weights are stored as, S what activations, sums and states are. Core is templated on S
// alone; its packed weights are bytes that only the functions of a Kernels<S> read, which were made for one
// W. weight_types.def lists the pairs. Training needs W = S: its products are of panels of S.
//
// The packed layout that every kernel reads: a *panel* is four vectors wide, [depth][4][lanes], so
// that a walk along `depth` reads memory in one line. For gates, panel u holds the weights of the
// hidden units [u * lanes, (u + 1) * lanes) and its four vectors are the gates i, f, g, o; for a
// plain product, panel p holds the columns [p * 4 * lanes, (p + 1) * 4 * lanes). Columns beyond
// the last are zero. A panel starts at multiples of depth * 4 * lanes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cellgate {

enum class WeightType {
#define CELLGATE_WEIGHT_TYPE(name, W, S) name,
#include "kernels/weight_types.def"
};

// The name that errors give a type.
constexpr const char* name_of(WeightType type) {
  switch (type) {
#define CELLGATE_WEIGHT_TYPE(name, W, S) \
  case WeightType::name:                 \
    return #name;
#include "kernels/weight_types.def"
  }
  return nullptr;
}

// The type of weights that are stored as the scalars they are multiplied by: W = S.
template <class S>
constexpr WeightType weight_type_of();
template <>
constexpr WeightType weight_type_of<float>() {
  return WeightType::float32;
}
template <>
constexpr WeightType weight_type_of<double>() {
  return WeightType::float64;
}

// Sets of vectors that units have beside their rows of the matrices. Packed, each is [blocks, 4, lanes]: up
// to four numbers of a unit in the order of the parameter, then zero. parameters.def says what each is the
// sum of.
enum UnitSet {
  kBias,  // where the sums of i, f, g, o begin
  kUnitSets
};

// Something of each set; a null pointer where the configuration does not have it.
template <class T>
struct UnitVectors {
  T of[kUnitSets];
};

// Panels of W. In training, where W = S, panels of gradients too.
struct PanelsView {
  const void* data = nullptr;     // of W, aligned, from panel 0
  const float* scales = nullptr;  // [panels, 4, lanes], a factor of each column; null for types without
};

// C[row, :] = start + sum over k of A[row, k] * panels[k, :], summed in index order of k, each
// term one fused multiply-add onto the sum so far.
template <class S>
struct GemmArgs {
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t panel_begin, panel_end;  // the panels this call computes
  const S* const* a;                    // [rows], each pointing at `depth` scalars
  std::ptrdiff_t a_offset;              // scalars added to every row pointer of a
  bool transposed;                      // a is [depth] instead, each pointing at `rows` scalars
  bool accumulate;                      // every sum begins with what is in c, which must not be null
  PanelsView panels;                    // depth `depth`
  const S* start;  // [panels, 4, lanes], where every sum begins (the bias), or null: zero
  S* c;            // [panels, c_panel_stride / (4 * lanes) >= rows, 4, lanes], aligned; or null, then out
  std::ptrdiff_t c_panel_stride;
  S* const* out;              // [rows], used when c is null: columns [0, out_columns) as plain rows
  std::ptrdiff_t out_offset;  // scalars added to every row pointer of out
  std::int64_t out_columns;   // nothing at or beyond out_columns is written
  S* partial;                 // [rows, 4, lanes], aligned, used when c is null
  S* gathered;                // [rows, depth]: room to bring a into the order it is read in
};

// If weights do not fit into a cache, a part of them is still there when every second pass goes over them
// backward: what was read last is read first. Hence `descending` below; no sum depends on it.
//
// One time step of the gates and the cell for the units of some blocks:
//   gates = start + x W^T + h R^T;  c = f * c + i * g;  out = o * tanh(c)
template <class S>
struct CellForwardArgs {
  std::int64_t rows;
  std::int64_t block_begin, block_end;  // blocks of `lanes` hidden units this call computes
  bool descending;                      // the last block first
  std::int64_t hidden_size;             // out and cells are not written at or beyond it
  const S* preactivation;  // [blocks, preactivation_block_stride] of [rows, 4, lanes]: bias + x W^T;
  std::ptrdiff_t preactivation_block_stride;  // null: start from the bias and add the x part here
  UnitVectors<const S*> units;                // each [blocks, 4, lanes]; the bias always
  const S* const* x;        // [rows], each of input_size scalars; read if preactivation is null
  std::ptrdiff_t x_offset;  // scalars added to every row pointer of x
  std::int64_t input_size;
  PanelsView w;             // panels of W, depth input_size
  const S* const* h;        // [rows], each of recurrent_size scalars: the state before this step
  std::ptrdiff_t h_offset;  // scalars added to every row pointer of h
  std::int64_t recurrent_size;
  PanelsView r;     // panels of R, depth recurrent_size
  const S* c_prev;  // [rows, c_stride], padded to whole blocks
  S* c;             // [rows, c_stride], padded to whole blocks; may be c_prev
  std::ptrdiff_t c_stride;
  S* gates;                   // null, or laid out like preactivation (which it may be): receives i, f, g, o
  S* const* out;              // [rows], receives h (the cell output before a projection)
  std::ptrdiff_t out_offset;  // scalars added to every row pointer of out
  S* const* cells;            // [rows] or null: receives a copy of c
  std::ptrdiff_t cells_offset;
  S* partial;   // [rows, 4, lanes], aligned: partial sums between blocks of k
  S* gathered;  // [rows, input_size + recurrent_size]: as in GemmArgs
};

// Many time steps of one sequence forward, all units: the same as one CellForwardArgs with one row after the
// other, without what lies between two calls.
template <class S>
struct CellStepsArgs {
  std::int64_t steps, blocks;
  bool descending;         // the last blocks first in the first step; then every second step turns
  const S* preactivation;  // [blocks, preactivation_block_stride] of [steps, 4, lanes]: bias + x W^T;
  std::ptrdiff_t preactivation_block_stride;  // null: start from the bias and add the x part here
  UnitVectors<const S*> units;                // each [blocks, 4, lanes]; the bias always
  const S* x;                                 // [steps, x_step] of input_size; read if preactivation is null
  std::ptrdiff_t x_step;
  std::int64_t input_size;
  PanelsView w;  // panels of W, depth input_size
  std::int64_t recurrent_size;
  PanelsView r;  // panels of R, depth recurrent_size
  S* h;  // [1 + steps, h_step], each padded to whole blocks: the first is the state before, the others
         // receive
  std::ptrdiff_t h_step;  // h after each step; what is padding is written too
  S* c;                   // padded to whole blocks: read and overwritten
  // out = start + h W^T of each step, of at most `lanes` columns; 0: not wanted here.
  std::int64_t outputs;
  PanelsView head;      // one panel, depth recurrent_size; of one column:
  const S* head_row;    // [recurrent_size], the same weights, which leave more of a cache to R
  const S* head_start;  // [4, lanes], or null: zero
  S* out;               // [steps, out_step], each of `outputs`
  std::ptrdiff_t out_step;
};

// One time step backward, the cell and the gates of some blocks of units. With h = o * tanh(c):
//   dc += dh * o * (1 - tanh(c)^2)
//   d_gates = (dc * g * i', dc * c_prev * f', dc * i * g', dh * tanh(c) * o')
//   dc = dc * f
// where i' = i (1 - i) and likewise f' and o', and g' = 1 - g^2.
template <class S>
struct CellBackwardArgs {
  std::int64_t rows;
  std::int64_t block_begin, block_end;
  std::int64_t hidden_size;           // dy and d_cells are not read at or beyond it
  const S* gates;                     // [blocks, gates_block_stride] of [rows, 4, lanes]: i, f, g, o
  std::ptrdiff_t gates_block_stride;  // of d_panels too
  const S *c_prev, *c;                // [rows, stride], padded to whole blocks
  const S* dh;                        // [rows, stride], padded: what comes from the later step
  const S* const* dy;                 // [rows] or null: added to dh
  std::ptrdiff_t dy_offset;           // scalars added to every row pointer of dy
  const S* const* d_cells;            // [rows] or null: added to dc
  std::ptrdiff_t d_cells_offset;      // scalars added to every row pointer of d_cells
  S* dc;                              // [rows, stride], padded: read, and overwritten with that of c_prev
  std::ptrdiff_t stride;              // of the five above, a multiple of lanes
  UnitVectors<S*> d_panels;           // each laid out like gates: in every row the gradient with respect to a
                                      //   set; that of the bias is d_gates, laid out as panels
  S* d_rows;                          // [rows, d_rows_stride] of [4, d_rows_gate_stride]: d_gates once more
  std::ptrdiff_t d_rows_stride, d_rows_gate_stride;  // the latter is H padded to whole blocks
  S* unprojected;  // null, or [panels, unprojected_panel_stride] of [rows, 4 * lanes]: receives o * tanh(c)
  std::ptrdiff_t unprojected_panel_stride;
};

// to[column * to_stride + row] = from[row * from_stride + column]
template <class S>
struct TransposeArgs {
  std::int64_t rows, columns;
  const S* from;
  std::ptrdiff_t from_stride;
  S* to;
  std::ptrdiff_t to_stride;
};

// Rows of weights, which lie side by side in a panel too, into their columns of it.
template <class S>
struct PackArgs {
  std::int64_t rows, depth;
  const S* from;        // [rows, depth]
  void* panel;          // [depth, 4, lanes] of W
  std::int64_t column;  // of the panel: where the first row goes
  float* scales;        // [4, lanes] of the panel, of types that have them
};

// And back: what the panel holds, exactly where W = S.
template <class S>
struct UnpackArgs {
  std::int64_t rows, depth;
  const void* panel;
  std::int64_t column;
  const float* scales;
  S* to;  // [rows, depth]
};

// All functions for weights of one type; those that do not read weights are the same for each.
template <class S>
struct Kernels {
  WeightType weights;
  int weight_bytes;  // of one weight in a panel
  bool scaled;       // whether panels have scales
  int lanes;         // scalars S in one vector register
  void (*gemm)(const GemmArgs<S>&) noexcept;
  void (*cell_forward)(const CellForwardArgs<S>&) noexcept;
  void (*cell_steps)(const CellStepsArgs<S>&) noexcept;
  void (*pack)(const PackArgs<S>&) noexcept;
  void (*unpack)(const UnpackArgs<S>&) noexcept;
  void (*cell_backward)(const CellBackwardArgs<S>&) noexcept;  // null where W is not S
  void (*transpose)(const TransposeArgs<S>&) noexcept;
  // sum[j] += rows[0][j] + rows[1][j] + ... in that order, for j < width, a multiple of 4 * lanes
  void (*add_rows)(const S* rows, std::int64_t count, std::int64_t width, S* sum) noexcept;
  // out[j] = sigmoid(x[j]) and tanh(x[j]) for j < count; out may be x.
  void (*sigmoid)(const S* x, S* out, std::int64_t count) noexcept;
  void (*tanh)(const S* x, S* out, std::int64_t count) noexcept;

  bool trains() const { return cell_backward != nullptr; }
};

struct KernelTable {
  const char* name;  // as in isa.cmake and CELLGATE_ISA
  bool fused;        // whether a multiply-add is rounded once: tables that do give the same bits
#define CELLGATE_WEIGHT_TYPE(name, W, S) Kernels<S> name;
#include "kernels/weight_types.def"
};

}  // namespace cellgate
