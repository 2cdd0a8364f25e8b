// The running state of a batch of sequences of a network. Called by bindings and capi; calls Frames for one
// sequence and forward() for more, with memory of its own, so that a step of a known shape allocates nothing.
#pragma once

#include <memory>
#include <vector>

#include "memory/scratch.hpp"
#include "model/packed_network.hpp"
#include "run/frames.hpp"
#include "run/plane.hpp"
#include "threads/executor.hpp"
#include "threads/fork.hpp"

namespace cellgate {

// With pooling each step's output is that of all steps of its sequence since reset: the last is what
// forward() makes of the whole.
template <class S>
class NetworkStream {
 public:
  using Scalar = S;

  // The network is not bidirectional. `executor` is used by step() and run(), and must outlive it. This,
  // step() and run() throw std::bad_alloc, before the state has changed; the rest throws nothing, but mutex()
  // what fork.hpp says.
  NetworkStream(std::shared_ptr<const Network<S>> network, std::int64_t batch, Executor& executor);

  const Network<S>& network() const { return *network_; }
  const Config& config() const { return network_->config(); }
  std::int64_t batch() const { return batch_; }

  // Held for each of the calls below: they are not safe from two threads at once.
  ForkAwareMutex& mutex() { return mutex_; }

  // One step; x has rows of input_size scalars x_row apart, `out` [B, O] may overlap x.
  void step(const S* x, std::ptrdiff_t x_row, S* out, std::ptrdiff_t out_row);

  // `steps` steps, strides in scalars; y shares nothing with x.
  void run(std::int64_t steps, const S* x, std::ptrdiff_t x_step, std::ptrdiff_t x_row, S* y,
           std::ptrdiff_t y_step, std::ptrdiff_t y_row);

  // h is [L, B, P or H], c is [L, B, H]. Setting leaves what was pooled alone.
  void get(S* h, S* c) const;
  void set(const S* h, const S* c);

  // With pooling only: how many steps were pooled [B], and their sums [B, P or H].
  void get_pooled(std::int64_t* steps, S* sums) const;
  void set_pooled(const std::int64_t* steps, const S* sums);

  // To the network's initial state, with nothing pooled.
  void reset();
  void reset_rows(const std::vector<std::int64_t>& rows);

  double multiplies_per_step() const;

 private:
  void reset_row(std::int64_t row);
  void run_pooling(std::int64_t steps, const Plane<const S>& x, const Plane<S>& y);
  // h of some steps [steps, B, P or H], which become what is pooled up to each.
  void pool(std::int64_t steps, S* h);

  std::shared_ptr<const Network<S>> network_;
  std::int64_t batch_;
  Executor& executor_;
  AlignedBuffer<S> y_;  // [B, O]
  // Of one sequence that one thread runs:
  AlignedBuffer<std::byte> memory_;
  std::unique_ptr<Frames<S>> frames_;
  // Of all others:
  AlignedBuffer<S> h_, c_;
  std::vector<std::int64_t> pooled_steps_;
  AlignedBuffer<S> pooled_;
  Scratch scratch_;
  ForkAwareMutex mutex_;
};

}  // namespace cellgate
