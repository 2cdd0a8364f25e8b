// The arguments of forward, record and backward: from the tuples in which they come to ForwardArgs.
// Called by model.cpp, network.cpp and training.cpp.
#pragma once

#include "bindings/convert.hpp"
#include "memory/kept_scratch.hpp"
#include "run/check_network.hpp"

namespace cellgate::python {

// The items of `tuple`, which must have `count` of them; `type` is the class of this module that names them.
// They live as long as the tuple, which is immutable.
PyObject* const* items(py::handle tuple, const char* argument, const char* type, py::ssize_t count);

// Outputs, as many as any call has, none of which the caller gave: None for each.
PyObject* const* new_arrays();
// Those in `out`, unless that is None.
inline PyObject* const* outputs(py::handle out, const char* wanted, py::ssize_t count) {
  return out.is_none() ? new_arrays() : items(out, "out", wanted, count);
}

// Training as the core has it; what `training` holds: see register_calls.
struct GivenTraining {
  explicit GivenTraining(py::handle training);
  Training checked(std::int64_t steps) const { return check_training(dropout, seed, checkpoint, steps); }
  double dropout;
  std::uint64_t seed;
  std::int64_t checkpoint;
};

// Owns, or shares, every array that args() points into.
template <class S>
class Call {
 public:
  // Checked when it is constructed, for a model or for a network.
  Call(const Config& config, py::handle call);
  Call(const Network<S>& network, py::handle call);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  ForwardArgs<S>& args() { return args_; }
  const CallLayout& layout() const { return checked_.layout; }
  // An array laid out like x.
  template <class T>
  Plane<T> plane(T* base, const Argument& array) const {
    return layout().plane(base, array.view().strides, args_.x.offsets);
  }

  // Makes the arrays that the forward pass writes, or takes them from `out`, (y, h, c), and points args() at
  // them.
  void make_outputs(bool cells, PyObject* const* out = new_arrays());
  void make_outputs(const Network<S>& network);
  // (y, (h, c)) of them.
  Argument y, h, c, cells;

  // A Call over copies of all arrays, which nothing else can write to.
  py::tuple copied();

 private:
  template <class Check>
  Call(const Config& config, py::handle call, const Check& check);
  void make_state(PyObject* const* out);

  const Config& config_;
  bool batch_first_;
  Argument x_, h0_, c0_, lengths_, reset_, batch_sizes_;
  CheckedCall checked_;
  ForwardArgs<S> args_;
};

// The classes Call, Training and Derivatives: tuples with named items, in the order in which they are read.
void register_calls(py::module_& module);

}  // namespace cellgate::python
