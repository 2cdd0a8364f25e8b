// Forward pass of a network: what is around the LSTM.
#include "run/network_forward.hpp"

#include <algorithm>

#include "run/floating_mode.hpp"
#include "run/head.hpp"
#include "threads/plan.hpp"

namespace cellgate {
namespace {

// Rows whose outputs are computed together: their activation finds them in the L1 or L2 cache.
constexpr std::int64_t kHeadRows = 64;

template <class S>
struct NetworkLayout {
  S *z, *h, *pooled;  // [T, B, I], [T, B, F] and [B, F], where they are needed
  // [threads] of [kHeadRows] each, [kHeadRows, 4, lanes] and [kHeadRows, F]:
  const S **h_rows, **x_rows;
  S **y_rows, *partial, *gathered;

  NetworkLayout(Arena& arena, const Network<S>& network, const ForwardArgs<S>& args, int threads) {
    const std::int64_t rows = args.steps * args.batch, features = network.features();
    z = arena.take<S>(network.scales_input() ? rows * network.config().input_size : 0);
    h = arena.take<S>(network.passes_output() ? 0 : rows * features);
    pooled = arena.take<S>(network.pools() ? args.batch * features : 0);
    h_rows = arena.take<const S*>(threads * kHeadRows);
    x_rows = arena.take<const S*>(threads * kHeadRows);
    y_rows = arena.take<S*>(threads * kHeadRows);
    partial = arena.take<S>(threads * kHeadRows * 4 * network.lstm().lanes());
    gathered = arena.take<S>(threads * kHeadRows * features);
  }
};

template <class S>
class NetworkForward {
 public:
  NetworkForward(const Network<S>& network, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor)
      : network_(network),
        call_(args),
        executor_(executor),
        work_(head_work()),
        threads_(network.has_head() ? threads_that_pay(work_, executor.limit()) : 1),
        at_(scratch.outer.lay_out<NetworkLayout<S>>(network, args, threads_)) {}

  void run(Scratch& scratch) {
    const std::int64_t batch = call_.batch, width = network_.config().input_size;
    ForwardArgs<S> lstm = call_;
    if (network_.scales_input()) {
      scale();
      lstm.x = {at_.z, batch * width, width, nullptr};
    }
    if (!network_.passes_output())
      lstm.y = {at_.h, batch * network_.features(), network_.features(), nullptr};
    lstm.first_h = network_.initial_h();
    lstm.first_c = network_.initial_c();
    forward(network_.lstm(), lstm, scratch, executor_);
    if (network_.passes_output()) return;
    if (network_.pools()) pool();
    apply_head();
  }

 private:
  bool valid(std::int64_t t, std::int64_t b) const { return !call_.lengths || t < call_.lengths[b]; }
  std::int64_t length(std::int64_t b) const { return call_.lengths ? call_.lengths[b] : call_.steps; }
  // Rows of the head's product.
  std::int64_t rows() const { return network_.pools() ? call_.batch : call_.steps * call_.batch; }

  Work head_work() const {
    const auto outputs = static_cast<double>(network_.output_size());
    Work w{};
    w.rows = w.row_steps = rows();
    w.steps = w.directions = w.chain = 1;
    w.blocks = network_.panels();
    w.multiplies = outputs * static_cast<double>(network_.features());
    w.recurrent_bytes = w.multiplies * sizeof(S);
    w.multiplies_per_us = 5e3 * static_cast<double>(network_.lstm().lanes());
    return w;
  }

  void scale() const noexcept {
    const FlushDenormals flush;
    const std::int64_t batch = call_.batch, width = network_.config().input_size;
    for (std::int64_t t = 0; t < call_.steps; ++t) {
      for (std::int64_t b = 0; b < batch; ++b) {
        if (valid(t, b)) scale_input(network_, call_.x.at(t, b, b), 1, at_.z + (t * batch + b) * width);
      }
    }
  }

  // For a sequence without steps: a mean of zero, or its initial h.
  void pool() const noexcept {
    const FlushDenormals flush;
    const std::int64_t batch = call_.batch, features = network_.features(),
                       width = network_.config().output_size();
    const std::int64_t directions = network_.config().directions(), last = network_.config().num_layers - 1;
    for (std::int64_t b = 0; b < batch; ++b) {
      S* to = at_.pooled + b * features;
      if (network_.parts().pooling == Pooling::kLast) {
        for (std::int64_t d = 0; d < directions; ++d)
          std::copy_n(call_.h_n + ((last * directions + d) * batch + b) * width, width, to + d * width);
        continue;
      }
      std::fill_n(to, features, S(0));
      for (std::int64_t t = 0; t < length(b); ++t) {
        const S* h = at_.h + (t * batch + b) * features;
        for (std::int64_t j = 0; j < features; ++j) to[j] = to[j] + h[j];
      }
      const S count = static_cast<S>(std::max<std::int64_t>(1, length(b)));
      for (std::int64_t j = 0; j < features; ++j) to[j] = to[j] / count;
    }
  }

  void apply_head() {
    Lease lease(executor_, threads_, get_split() != Split::kAuto);
    const Plan plan = choose_plan(work_, lease.size());
    const int members = plan.members;
    const auto run = [&](int member, const Share& share, const Share& panels, bool finish) {
      const FlushDenormals flush;
      walk(member, share, [&](const HeadArgs<S>& args) {
        head_sums(network_, args, panels);
        if (finish) finish_head(network_, args);
      });
    };
    const std::int64_t panels = network_.panels();
    if (members > 1 && !plan.split_rows) {
      auto sums = [&](int member) { run(member, all(rows()), Share(panels, member, members), false); };
      lease.run(members, sums);
      const FlushDenormals flush;
      walk(0, all(rows()), [&](const HeadArgs<S>& args) { finish_head(network_, args); });
    } else {
      auto job = [&](int member) { run(member, Share(rows(), member, members), all(panels), true); };
      lease.run(members, job);
    }
    if (!network_.pools()) zero_padding();
  }
  static Share all(std::int64_t count) { return Share(count, 0, 1); }

  // Calls visit(args) for the valid rows among `share` of all, up to kHeadRows at a time.
  template <class Visit>
  void walk(int member, const Share& share, const Visit& visit) const noexcept {
    const std::int64_t batch = call_.batch, features = network_.features(), first = member * kHeadRows;
    const bool pools = network_.pools();
    HeadArgs<S> args{};
    const S **h = at_.h_rows + first, **x = at_.x_rows + first;
    S** y = at_.y_rows + first;
    args.h = h;
    args.x = x;
    args.x_stride = 1;
    args.y = y;
    args.partial = at_.partial + first * 4 * network_.lstm().lanes();
    args.gathered = at_.gathered + first * features;
    for (std::int64_t i = share.begin; i < share.end; ++i) {
      const std::int64_t t = pools ? 0 : i / batch, b = pools ? i : i % batch;
      if (pools || valid(t, b)) {
        h[args.rows] = (pools ? at_.pooled : at_.h) + i * features;
        x[args.rows] = pools ? nullptr : call_.x.at(t, b, b);
        y[args.rows++] = call_.y.at(t, b, b);
      }
      if (args.rows == kHeadRows || (i + 1 == share.end && args.rows > 0)) {
        visit(args);
        args.rows = 0;
      }
    }
  }

  void zero_padding() const noexcept {
    for (std::int64_t b = 0; call_.lengths && b < call_.batch; ++b) {
      for (std::int64_t t = length(b); t < call_.steps; ++t)
        std::fill_n(call_.y.at(t, b, b), network_.output_size(), S(0));
    }
  }

  const Network<S>& network_;
  const ForwardArgs<S>& call_;
  Executor& executor_;
  const Work work_;
  const int threads_;
  const NetworkLayout<S> at_;
};

}  // namespace

template <class S>
void forward(const Network<S>& network, const ForwardArgs<S>& args, Scratch& scratch, Executor& executor) {
  if (args.batch == 0) return;  // nothing to write, and there may be more steps than can be counted through
  NetworkForward<S>(network, args, scratch, executor).run(scratch);
}

template void forward(const Network<float>&, const ForwardArgs<float>&, Scratch&, Executor&);
template void forward(const Network<double>&, const ForwardArgs<double>&, Scratch&, Executor&);

}  // namespace cellgate
