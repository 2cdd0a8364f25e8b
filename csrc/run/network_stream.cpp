// Steps of a batch of sequences of a network: state, and what was pooled.
#include "run/network_stream.hpp"

#include <algorithm>

#include "run/batch.hpp"
#include "run/floating_mode.hpp"
#include "run/forward.hpp"
#include "run/network_forward.hpp"

namespace cellgate {
namespace {

// With pooling: rows of all sequences that go through the LSTM in one call, and through the head together.
constexpr std::int64_t kPoolingRows = 256, kHeadRows = 64;

// Whether steps of one sequence are too small for a second thread, however many come at once.
template <class S>
bool runs_alone(const Network<S>& network, const Executor& executor) {
  const Work steps = work_of(network.lstm(), nullptr, 1, std::int64_t{1} << 20, 1.0, true);
  return threads_that_pay(steps, executor.limit()) < 2;
}

template <class S>
struct PoolingLayout {
  S *z, *h;          // [rows, I] where the input is scaled, [rows, F]
  const S** h_rows;  // [kHeadRows], and so the next
  S **y_rows, *partial, *gathered;

  PoolingLayout(Arena& arena, const Network<S>& network, std::int64_t rows) {
    z = arena.take<S>(network.scales_input() ? rows * network.config().input_size : 0);
    h = arena.take<S>(rows * network.features());
    h_rows = arena.take<const S*>(kHeadRows);
    y_rows = arena.take<S*>(kHeadRows);
    partial = arena.take<S>(kHeadRows * 4 * network.lstm().lanes());
    gathered = arena.take<S>(kHeadRows * network.features());
  }
};

template <class S>
void apply_head(const Network<S>& network, const PoolingLayout<S>& at, std::int64_t steps, std::int64_t batch,
                const Plane<S>& y) {
  const FlushDenormals flush;
  HeadArgs<S> args{};
  args.h = at.h_rows;
  args.y = at.y_rows;
  args.partial = at.partial;
  args.gathered = at.gathered;
  for (std::int64_t i = 0; i < steps * batch; ++i) {
    at.h_rows[args.rows] = at.h + i * network.features();
    at.y_rows[args.rows++] = y.at(i / batch, 0, i % batch);
    if (args.rows < kHeadRows && i + 1 < steps * batch) continue;
    head_sums(network, args, Share(network.panels(), 0, 1));
    finish_head(network, args);
    args.rows = 0;
  }
}

}  // namespace

template <class S>
NetworkStream<S>::NetworkStream(std::shared_ptr<const Network<S>> network, std::int64_t batch,
                                Executor& executor)
    : network_(std::move(network)),
      batch_(batch),
      executor_(executor),
      y_(static_cast<std::size_t>(batch * network_->output_size())) {
  const auto rows = static_cast<std::size_t>(batch);
  if (batch == 1 && !network_->pools() && runs_alone(*network_, executor)) {
    memory_ = AlignedBuffer<std::byte>(frames_bytes(*network_));
    Arena arena(memory_.data());
    frames_ = std::make_unique<Frames<S>>(arena, *network_);
  } else {
    const std::size_t layers = rows * static_cast<std::size_t>(config().num_layers);
    h_ = AlignedBuffer<S>(layers * static_cast<std::size_t>(config().output_size()));
    c_ = AlignedBuffer<S>(layers * static_cast<std::size_t>(config().hidden_size));
  }
  if (network_->pools()) {
    pooled_steps_.resize(rows);
    pooled_ = AlignedBuffer<S>(rows * static_cast<std::size_t>(network_->features()));
  }
  reset();
}

template <class S>
void NetworkStream<S>::step(const S* x, std::ptrdiff_t x_row, S* out, std::ptrdiff_t out_row) {
  const std::int64_t width = network_->output_size();
  run(1, x, 0, x_row, y_.data(), 0, width);
  for (std::int64_t row = 0; row < batch_; ++row)
    std::copy_n(y_.data() + row * width, width, out + row * out_row);
}

template <class S>
void NetworkStream<S>::run(std::int64_t steps, const S* x, std::ptrdiff_t x_step, std::ptrdiff_t x_row, S* y,
                           std::ptrdiff_t y_step, std::ptrdiff_t y_row) {
  if (frames_) return frames_->process(steps, x, x_step, 1, y, y_step, 1);
  const Plane<const S> from{x, x_step, x_row, nullptr};
  const Plane<S> to{y, y_step, y_row, nullptr};
  if (network_->pools()) return run_pooling(steps, from, to);
  ForwardArgs<S> args;
  args.steps = steps;
  args.batch = batch_;
  args.x = from;
  args.h0 = args.h_n = h_.data();
  args.c0 = args.c_n = c_.data();
  args.y = to;
  forward(*network_, args, scratch_, executor_);
}

template <class S>
void NetworkStream<S>::run_pooling(std::int64_t steps, const Plane<const S>& x, const Plane<S>& y) {
  const std::int64_t inputs = config().input_size, features = network_->features();
  const std::int64_t most = std::min(steps, std::max<std::int64_t>(1, kPoolingRows / batch_));
  const auto at = scratch_.outer.template lay_out<PoolingLayout<S>>(*network_, most * batch_);
  for (std::int64_t begin = 0; begin < steps; begin += most) {
    ForwardArgs<S> args;
    args.steps = std::min(most, steps - begin);
    args.batch = batch_;
    args.x = {x.base + begin * x.step, x.step, x.row, nullptr};
    if (network_->scales_input()) {
      const FlushDenormals flush;
      for (std::int64_t i = 0; i < args.steps * batch_; ++i)
        scale_input(*network_, args.x.at(i / batch_, 0, i % batch_), 1, at.z + i * inputs);
      args.x = {at.z, batch_ * inputs, inputs, nullptr};
    }
    args.h0 = args.h_n = h_.data();
    args.c0 = args.c_n = c_.data();
    args.y = {at.h, batch_ * features, features, nullptr};
    forward(network_->lstm(), args, scratch_, executor_);
    pool(args.steps, at.h);
    apply_head(*network_, at, args.steps, batch_, Plane<S>{y.base + begin * y.step, y.step, y.row, nullptr});
  }
}

template <class S>
void NetworkStream<S>::pool(std::int64_t steps, S* h) {
  const FlushDenormals flush;
  const std::int64_t features = network_->features();
  for (std::int64_t i = 0; i < steps * batch_; ++i) {
    S* row = h + i * features;
    const std::int64_t count = ++pooled_steps_[static_cast<std::size_t>(i % batch_)];
    pool_step(*network_, row, count, pooled_.data() + i % batch_ * features, row);
  }
}

template <class S>
void NetworkStream<S>::get(S* h, S* c) const {
  if (frames_) return frames_->get_state(h, c);
  std::copy_n(h_.data(), h_.size(), h);
  std::copy_n(c_.data(), c_.size(), c);
}

template <class S>
void NetworkStream<S>::set(const S* h, const S* c) {
  if (frames_) return frames_->set_state(h, c);
  std::copy_n(h, h_.size(), h_.data());
  std::copy_n(c, c_.size(), c_.data());
}

template <class S>
void NetworkStream<S>::get_pooled(std::int64_t* steps, S* sums) const {
  std::copy(pooled_steps_.begin(), pooled_steps_.end(), steps);
  std::copy_n(pooled_.data(), pooled_.size(), sums);
}

template <class S>
void NetworkStream<S>::set_pooled(const std::int64_t* steps, const S* sums) {
  std::copy_n(steps, pooled_steps_.size(), pooled_steps_.begin());
  std::copy_n(sums, pooled_.size(), pooled_.data());
}

template <class S>
void NetworkStream<S>::reset() {
  for (std::int64_t row = 0; row < batch_; ++row) reset_row(row);
}

template <class S>
void NetworkStream<S>::reset_rows(const std::vector<std::int64_t>& rows) {
  for (const std::int64_t row : rows) reset_row(row);
}

template <class S>
void NetworkStream<S>::reset_row(std::int64_t row) {
  if (frames_) return frames_->reset();
  const auto begin_from = [](const S* initial, std::int64_t width, S* to) {
    initial ? std::copy_n(initial, width, to) : std::fill_n(to, width, S(0));
  };
  const std::int64_t width = config().output_size(), hidden = config().hidden_size;
  const S *h = network_->initial_h(), *c = network_->initial_c();
  for (std::int64_t layer = 0; layer < config().num_layers; ++layer) {
    begin_from(h ? h + layer * width : nullptr, width, h_.data() + (layer * batch_ + row) * width);
    begin_from(c ? c + layer * hidden : nullptr, hidden, c_.data() + (layer * batch_ + row) * hidden);
  }
  if (!network_->pools()) return;
  pooled_steps_[static_cast<std::size_t>(row)] = 0;
  std::fill_n(pooled_.data() + row * network_->features(), network_->features(), S(0));
}

template <class S>
double NetworkStream<S>::multiplies_per_step() const {
  const Config& c = config();
  const double inputs = static_cast<double>(c.input_size + c.output_size());
  const double cells = 4.0 * static_cast<double>(c.hidden_size) * inputs * static_cast<double>(c.num_layers);
  const double head =
      static_cast<double>(network_->output_size()) * static_cast<double>(network_->features());
  return static_cast<double>(batch_) * (cells + (network_->has_head() ? head : 0.0));
}

template class NetworkStream<float>;
template class NetworkStream<double>;

}  // namespace cellgate
