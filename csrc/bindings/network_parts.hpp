// The parts of a network as a dict, from Python and back. Called by network.cpp.
//
//   "head": (weight, bias or None, "linear")     "pooling": "none"
//   "input_mean", "input_scale": array           "skip", "input_gain", "output_gain", "sample_rate": number
//   "initial_state": (h, c)                      "metadata": {str: str}
//   "self_test": (input, output, with_gains)
//
// Each may be missing or None.
#pragma once

#include <deque>

#include "bindings/convert.hpp"
#include "model/network.hpp"

namespace cellgate::python {

template <class S>
class GivenParts {
 public:
  GivenParts(const Config& config, const py::dict& given);
  // Arrays in it refer to those that this object holds.
  NetworkParts<S> parts() const { return parts_; }

 private:
  void take_head(py::handle head);
  void take_self_test(py::handle test);
  void read(const Config& config);
  // An array under a name for messages; none if `given` is None.
  Argument* take(py::handle given, const char* name);

  NetworkParts<S> parts_;
  std::deque<Argument> arguments_;  // which cannot be moved
  Argument *weight_ = nullptr, *bias_ = nullptr, *mean_ = nullptr, *scale_ = nullptr;
  Argument *h_ = nullptr, *c_ = nullptr, *test_input_ = nullptr, *test_output_ = nullptr;
};

// All of them, in new arrays.
template <class S>
py::dict parts_dict(const Config& config, const NetworkParts<S>& network);

}  // namespace cellgate::python
