// The running state of a batch of sequences over shared weights. Called by bindings and capi;
// calls forward() with memory of its own, so that a step of a known shape allocates nothing.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "run/forward.hpp"
#include "threads/executor.hpp"
#include "threads/fork.hpp"

namespace cellgate {

template <class S>
class StreamState {
 public:
  // `executor` is used by step() and run(), and must outlive it. This, step() and run() throw std::bad_alloc,
  // before the state has changed; the rest throws nothing, but mutex() what fork.hpp says.
  StreamState(std::shared_ptr<const Model<S>> model, std::int64_t batch, Executor& executor)
      : model_(std::move(model)),
        batch_(batch),
        executor_(executor),
        h_(state_size(model_->config().output_size())),
        c_(state_size(model_->config().hidden_size)),
        y_(static_cast<std::size_t>(batch * model_->config().output_size())) {
    clear();
  }

  const Config& config() const { return model_->config(); }
  std::int64_t batch() const { return batch_; }
  std::int64_t h_count() const { return static_cast<std::int64_t>(h_.size()); }
  std::int64_t c_count() const { return static_cast<std::int64_t>(c_.size()); }

  // Held for each of the calls below: they are not safe from two threads at once.
  ForkAwareMutex& mutex() { return mutex_; }

  // One step; x has rows of input_size scalars x_row apart, `out` [B, P or H] may overlap x.
  void step(const S* x, std::ptrdiff_t x_row, S* out, std::ptrdiff_t out_row) {
    const std::int64_t width = config().output_size();
    run(1, x, 0, x_row, y_.data(), 0, width);
    for (std::int64_t row = 0; row < batch_; ++row)
      std::copy_n(y_.data() + row * width, width, out + row * out_row);
  }

  // `steps` steps, strides in scalars; y shares nothing with x.
  void run(std::int64_t steps, const S* x, std::ptrdiff_t x_step, std::ptrdiff_t x_row, S* y,
           std::ptrdiff_t y_step, std::ptrdiff_t y_row) {
    ForwardArgs<S> args;
    args.steps = steps;
    args.batch = batch_;
    args.x = {x, x_step, x_row, nullptr};
    args.h0 = args.h_n = h_.data();
    args.c0 = args.c_n = c_.data();
    args.y = {y, y_step, y_row, nullptr};
    forward(*model_, args, scratch_, executor_);
  }

  // h is [L, B, P or H], c is [L, B, H].
  void get(S* h, S* c) const {
    std::copy_n(h_.data(), h_count(), h);
    std::copy_n(c_.data(), c_count(), c);
  }
  void set(const S* h, const S* c) {
    std::copy_n(h, h_count(), h_.data());
    std::copy_n(c, c_count(), c_.data());
  }

  void clear() {
    std::fill_n(h_.data(), h_count(), S(0));
    std::fill_n(c_.data(), c_count(), S(0));
  }
  void clear_rows(const std::vector<std::int64_t>& rows) {
    const std::int64_t width = config().output_size(), hidden = config().hidden_size;
    for (const std::int64_t row : rows) {
      for (std::int64_t layer = 0; layer < config().num_layers; ++layer) {
        std::fill_n(h_.data() + (layer * batch_ + row) * width, width, S(0));
        std::fill_n(c_.data() + (layer * batch_ + row) * hidden, hidden, S(0));
      }
    }
  }

  double multiplies_per_step() const {
    const Config& c = config();
    const double inputs = static_cast<double>(c.input_size + c.output_size());
    return 4.0 * static_cast<double>(batch_) * static_cast<double>(c.hidden_size) * inputs *
           static_cast<double>(c.num_layers);
  }

 private:
  std::size_t state_size(std::int64_t width) const {
    return static_cast<std::size_t>(model_->config().num_layers * batch_ * width);
  }

  std::shared_ptr<const Model<S>> model_;
  std::int64_t batch_;
  Executor& executor_;
  AlignedBuffer<S> h_, c_, y_;
  Scratch scratch_;
  ForkAwareMutex mutex_;
};

}  // namespace cellgate
