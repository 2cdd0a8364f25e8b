// Checks of the arguments of a call over whole sequences.
#include "bindings/call.hpp"

#include <algorithm>
#include <numeric>

namespace cellgate::python {

template <class S>
Call<S>::Call(const Config& config, const CallArgs& given)
    : config_(config), batch_first_(given.batch_first) {
  packed_ = !given.batch_sizes.is_none();
  take_x(given);
  if (!given.state.is_none()) {
    auto state = as_state<S>(given.state, state_shape(config.output_size()), state_shape(config.hidden_size));
    h0_ = std::move(state.first);
    c0_ = std::move(state.second);
    args_.h0 = data<S>(h0_);
    args_.c0 = data<S>(c0_);
  }
  take_lengths_and_reset(given);
}

template <class S>
void Call<S>::take_x(const CallArgs& given) {
  x_ = as_floats<S>(given.x, "x");
  if (packed_ && x_.ndim() != 2) bad_value("x", "must be (N, I) with batch_sizes", "shape " + shape_text(x_));
  if (x_.ndim() != 2 && x_.ndim() != 3) {
    bad_value("x", std::string("must be (T, I) or ") + (batch_first_ ? "(B, T, I)" : "(T, B, I)"),
              "shape " + shape_text(x_));
  }
  if (x_.shape(x_.ndim() - 1) != config_.input_size) {
    bad_value("x", "last axis must be " + std::to_string(config_.input_size), "shape " + shape_text(x_));
  }
  if (packed_) {
    take_batch_sizes(given.batch_sizes);
  } else {
    unbatched_ = x_.ndim() == 2;
    const py::ssize_t time_axis = !unbatched_ && batch_first_ ? 1 : 0;
    args_.steps = x_.shape(time_axis);
    args_.batch = unbatched_ ? 1 : x_.shape(1 - time_axis);
    valid_ = args_.steps * args_.batch;
  }
  args_.x = plane(x_, data<S>(x_));
}

template <class S>
void Call<S>::take_batch_sizes(py::handle batch_sizes) {
  const py::array sizes = as_sizes(batch_sizes, "batch_sizes");
  const std::int64_t* size = data<std::int64_t>(sizes);
  args_.steps = sizes.shape(0);
  args_.batch = args_.steps ? size[0] : 0;
  const std::int64_t rows = x_.shape(0);
  offsets_.assign(1, 0);
  for (std::int64_t t = 0; t < args_.steps; ++t) {
    if (size[t] < 1 || (t > 0 && size[t] > size[t - 1]) || size[t] > rows - offsets_.back()) {
      bad_value("batch_sizes",
                "must be positive, not rise, and sum to the " + std::to_string(rows) + " rows of x",
                std::to_string(size[t]) + " at step " + std::to_string(t));
    }
    offsets_.push_back(offsets_.back() + size[t]);
  }
  if (offsets_.back() != rows) {
    bad_value("batch_sizes", "must sum to the " + std::to_string(rows) + " rows of x",
              std::to_string(offsets_.back()));
  }
  valid_ = rows;
  packed_lengths_.assign(static_cast<std::size_t>(args_.batch), args_.steps);
  for (std::int64_t t = args_.steps - 1; t > 0; --t) {
    std::fill(packed_lengths_.begin() + size[t], packed_lengths_.begin() + size[t - 1], t);
  }
  args_.lengths = packed_lengths_.data();
}

template <class S>
void Call<S>::take_lengths_and_reset(const CallArgs& given) {
  if (packed_) {
    if (!given.lengths.is_none())
      bad_value("lengths", "must be None with batch_sizes", type_text(given.lengths));
    if (!given.reset.is_none()) bad_value("reset", "must be None with batch_sizes", type_text(given.reset));
    return;
  }
  if (!given.lengths.is_none()) {
    lengths_ = as_lengths(given.lengths, args_.batch, args_.steps, unbatched_);
    args_.lengths = data<std::int64_t>(lengths_);
    valid_ = std::accumulate(args_.lengths, args_.lengths + args_.batch, std::int64_t{0});
  }
  if (!given.reset.is_none()) {
    reset_ = as_flags(given.reset, "reset", laid_out(0).without_last());
    const py::ssize_t time_axis = !unbatched_ && batch_first_ ? 1 : 0;
    args_.reset = data<unsigned char>(reset_);
    args_.reset_step = reset_.strides(time_axis);
    args_.reset_row = unbatched_ ? 0 : reset_.strides(1 - time_axis);
  }
}

template <class S>
Shape Call<S>::laid_out(std::int64_t width) const {
  if (packed_) return Shape{valid_, width};
  if (unbatched_) return Shape{args_.steps, width};
  return batch_first_ ? Shape{args_.batch, args_.steps, width} : Shape{args_.steps, args_.batch, width};
}

template <class S>
Shape Call<S>::state_shape(std::int64_t width) const {
  const std::int64_t rows = config_.num_layers * config_.directions();
  return unbatched_ ? Shape{rows, width} : Shape{rows, args_.batch, width};
}

template <class S>
void Call<S>::make_outputs(bool wants_cells) {
  y = new_array<S>(laid_out(config_.directions() * config_.output_size()));
  h = new_array<S>(state_shape(config_.output_size()));
  c = new_array<S>(state_shape(config_.hidden_size));
  args_.y = plane(y, mutable_data<S>(y));
  args_.h_n = mutable_data<S>(h);
  args_.c_n = mutable_data<S>(c);
  if (!wants_cells) return;
  cells = new_array<S>(laid_out(config_.directions() * config_.hidden_size));
  args_.cells = plane(cells, mutable_data<S>(cells));
}

template class Call<float>;
template class Call<double>;

}  // namespace cellgate::python
