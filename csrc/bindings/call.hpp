// The arguments that forward, record and backward share, checked and pointed at. Called by model.cpp
// and training.cpp.
#pragma once

#include <memory>
#include <vector>

#include "bindings/convert.hpp"
#include "memory/kept_scratch.hpp"
#include "run/forward.hpp"

namespace cellgate::python {

// A py::array that holds nothing, which its own constructor would have NumPy make an empty array for.
inline py::array no_array() { return py::reinterpret_steal<py::array>(py::handle()); }

struct CallArgs {
  py::handle x, state, lengths, reset;
  bool batch_first;
  py::handle batch_sizes;  // None, or as in torch's PackedSequence: x is then [N, I]
};

// Owns, or shares, every array that args() points into.
template <class S>
class Call {
 public:
  Call(const Config& config, const CallArgs& given);

  ForwardArgs<S>& args() { return args_; }
  std::int64_t valid() const { return valid_; }  // (t, b) pairs that are no padding

  // The shapes of what is laid out like x, with another width, and of a state.
  Shape laid_out(std::int64_t width) const;
  Shape state_shape(std::int64_t width) const;
  // An array of the former shape as the core wants it.
  template <class T>
  Plane<T> plane(const py::array& array, T* base) const;

  // Makes the arrays that the forward pass writes, and points args() at them.
  void make_outputs(bool cells);
  py::array y{no_array()}, h{no_array()}, c{no_array()}, cells{no_array()};

 private:
  void take_x(const CallArgs& given);
  void take_batch_sizes(py::handle batch_sizes);
  void take_lengths_and_reset(const CallArgs& given);

  const Config& config_;
  ForwardArgs<S> args_;
  bool unbatched_ = false, batch_first_, packed_ = false;
  std::int64_t valid_ = 0;
  py::array x_{no_array()}, h0_{no_array()}, c0_{no_array()}, lengths_{no_array()}, reset_{no_array()};
  std::vector<std::int64_t> packed_lengths_, offsets_;
};

template <class S>
template <class T>
Plane<T> Call<S>::plane(const py::array& array, T* base) const {
  if (packed_) return {base, 0, stride<S>(array, 0), offsets_.data()};
  const py::ssize_t time_axis = !unbatched_ && batch_first_ ? 1 : 0;
  return {base, stride<S>(array, time_axis), unbatched_ ? 0 : stride<S>(array, 1 - time_axis), nullptr};
}

}  // namespace cellgate::python
