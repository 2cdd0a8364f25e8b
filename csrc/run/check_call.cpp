// Checks of calls: over whole sequences, for training, of a stream. Called by bindings and capi.
#include <algorithm>
#include <functional>
#include <numeric>

#include "run/check.hpp"

namespace cellgate {
namespace {

// The results of a call are the largest arrays that follow from its shapes.
void require_addressable(const Config& config, int scalar_bytes, const CallLayout& layout,
                         const ArrayView& x) {
  const double steps = layout.packed ? 1 : static_cast<double>(layout.steps);
  const double batch = static_cast<double>(layout.packed ? layout.valid : layout.batch);
  const double width = static_cast<double>(config.directions()) * static_cast<double>(config.hidden_size);
  const double rows = batch * std::max(steps, static_cast<double>(config.num_layers));
  if (const double bytes = rows * width * scalar_bytes; bytes > kMostBytes) {
    throw TooLarge(std::string(x.name) + ": the results for shape " + shape_text(x), bytes);
  }
}

// Steps and batch from the values of batch_sizes, and what follows from them for each row.
void check_batch_sizes(const ArrayView& given, std::int64_t rows, CheckedCall& call) {
  require_integers(given);
  if (given.rank != 1) bad_value(given.name, "must have one axis", "shape " + shape_text(given));
  const std::string sum = "sum to the " + std::to_string(rows) + " rows of x";
  const std::int64_t steps = given.shape[0];
  if (steps > rows) {  // before they are copied
    bad_value(given.name, "must be positive, not rise, and " + sum, std::to_string(steps) + " steps");
  }
  const std::vector<std::int64_t> sizes = integers(given, steps);
  call.offsets.assign(1, 0);
  std::int64_t before = steps ? sizes[0] : 0;
  call.layout.steps = steps;
  call.layout.batch = before;
  for (const std::int64_t size : sizes) {
    if (size < 1 || size > before || size > rows - call.offsets.back()) {
      bad_value(given.name, "must be positive, not rise, and " + sum,
                integer_text(given, size) + " at step " + std::to_string(call.offsets.size() - 1));
    }
    call.offsets.push_back(call.offsets.back() + size);
    before = size;
  }
  if (call.offsets.back() != rows) bad_value(given.name, "must " + sum, std::to_string(call.offsets.back()));
  call.layout.valid = rows;
  call.lengths.assign(static_cast<std::size_t>(call.layout.batch), steps);
  for (std::int64_t t = steps - 1; t > 0; --t) {
    const auto at = static_cast<std::size_t>(t);
    std::fill(call.lengths.begin() + sizes[at], call.lengths.begin() + sizes[at - 1], t);
  }
}

void check_x(const Config& config, int scalar_bytes, const CallViews& given, CheckedCall& call) {
  const ArrayView& x = *given.x;
  CallLayout& layout = call.layout;
  require_floats(x, scalar_bytes);
  if (layout.packed && x.rank != 2) {
    bad_value(x.name, "must be (N, I) with batch_sizes", "shape " + shape_text(x));
  }
  if (x.rank != 2 && x.rank != 3) {
    bad_value(x.name, std::string("must be (T, I) or ") + (layout.batch_first ? "(B, T, I)" : "(T, B, I)"),
              "shape " + shape_text(x));
  }
  if (x.shape[x.rank - 1] != config.input_size) {
    bad_value(x.name, "last axis must be " + std::to_string(config.input_size), "shape " + shape_text(x));
  }
  if (layout.packed) {
    check_batch_sizes(*given.batch_sizes, x.shape[0], call);
  } else {
    layout.unbatched = x.rank == 2;
    layout.steps = x.shape[layout.time_axis()];
    layout.batch = layout.unbatched ? 1 : x.shape[1 - layout.time_axis()];
  }
  require_addressable(config, scalar_bytes, layout, x);
  if (!layout.packed) layout.valid = layout.steps * layout.batch;
}

void check_lengths(const ArrayView& given, CheckedCall& call) {
  CallLayout& layout = call.layout;
  require_integers(given);
  const bool one = layout.unbatched && given.rank == 0;
  if (!one) require_shape(given, {layout.batch});
  call.lengths = integers_in_range(given, layout.batch, layout.steps);
  layout.valid = std::accumulate(call.lengths.begin(), call.lengths.end(), std::int64_t{0});
}

}  // namespace

CheckedCall check_call(const Config& config, int scalar_bytes, const CallViews& given) {
  CheckedCall call;
  CallLayout& layout = call.layout;
  layout.batch_first = given.batch_first;
  layout.packed = given.batch_sizes != nullptr;
  check_x(config, scalar_bytes, given, call);
  if (given.h0) {
    const std::int64_t rows = config.num_layers * config.directions();
    require_floats(*given.h0, scalar_bytes, layout.state(rows, config.output_size()));
    require_floats(*given.c0, scalar_bytes, layout.state(rows, config.hidden_size));
  }
  if (layout.packed) {
    for (const ArrayView* view : {given.lengths, given.reset}) {
      if (view) bad_value(view->name, "must be None with batch_sizes", "shape " + shape_text(*view));
    }
    return call;
  }
  // Shapes of both first: lengths are copied to look at their values.
  if (given.reset) require_flags(*given.reset, layout.sequence(0).without_last());
  if (given.lengths) check_lengths(*given.lengths, call);
  return call;
}

template <class S>
ForwardArgs<S> forward_args(const CheckedCall& call, const CallViews& ready) {
  const CallLayout& layout = call.layout;
  ForwardArgs<S> args;
  args.steps = layout.steps;
  args.batch = layout.batch;
  args.x = layout.plane(static_cast<const S*>(ready.x->data), ready.x->strides,
                        layout.packed ? call.offsets.data() : nullptr);
  if (ready.h0) {
    args.h0 = static_cast<const S*>(ready.h0->data);
    args.c0 = static_cast<const S*>(ready.c0->data);
  }
  if (ready.lengths || layout.packed) args.lengths = call.lengths.data();
  if (ready.reset) {
    args.reset = static_cast<const unsigned char*>(ready.reset->data);
    args.reset_step = layout.step_stride(ready.reset->strides, 1);
    args.reset_row = layout.row_stride(ready.reset->strides, 1);
  }
  return args;
}

// ---- training ----------------------------------------------------------------------------------

Training check_training(double dropout, std::uint64_t seed, std::int64_t checkpoint, std::int64_t steps) {
  if (!(dropout >= 0 && dropout <= 1)) bad_value("dropout", "must be in [0, 1]", std::to_string(dropout));
  if (checkpoint < 0) bad_value("checkpoint", "must be at least 0", std::to_string(checkpoint));
  return {dropout, seed, std::min(checkpoint, std::max<std::int64_t>(steps, 1))};
}

template <class S>
std::int64_t tape_size(const Model<S>& model, std::int64_t batch, std::int64_t steps, std::int64_t valid,
                       const Training& training) {
  for (const auto& [name, value] : {std::pair{"steps", steps}, {"batch", batch}, {"positions", valid}}) {
    if (value < 0) bad_value(name, "must be at least 0", std::to_string(value));
  }
  // Sizes come from shapes, and those of an array that repeats one value may be anything.
  const double rows =
      static_cast<double>(valid) + static_cast<double>(batch) * (1 + static_cast<double>(steps));
  const double widths =
      static_cast<double>(model.config().num_layers) * 12 * static_cast<double>(model.padded_hidden());
  if (const double bytes = rows * widths * sizeof(S); bytes > kMostBytes) {
    throw TooLarge("tape: " + std::to_string(steps) + " steps of " + std::to_string(batch) + " sequences",
                   bytes);
  }
  return TapeLayout::kSpare + Tape<S>(model, batch, steps, valid, training, nullptr).size();
}

void check_derivatives(const Config& config, int scalar_bytes, const CallLayout& layout,
                       std::int64_t tape_size, const DerivativeViews& given) {
  const std::int64_t rows = config.num_layers * config.directions();
  const auto require = [&](const ArrayView* view, const Shape& shape) {
    if (view) require_floats(*view, scalar_bytes, shape);
  };
  require(given.tape, {tape_size});
  require(given.y, layout.sequence(config.directions() * config.output_size()));
  require(given.d_y, layout.sequence(config.directions() * config.output_size()));
  require(given.d_cells, layout.sequence(config.directions() * config.hidden_size));
  require(given.d_h, layout.state(rows, config.output_size()));
  require(given.d_c, layout.state(rows, config.hidden_size));
}

void check_sums(const std::vector<ArrayView>& sums, int scalar_bytes, const DerivativeViews& read) {
  std::vector<const ArrayView*> ordered;
  for (const ArrayView& sum : sums) ordered.push_back(&sum);
  std::sort(ordered.begin(), ordered.end(), [](const ArrayView* a, const ArrayView* b) {
    return std::less<const void*>()(a->data, b->data);
  });
  const auto parameter = [](const ArrayView* sum) { return std::string(sum->name + sizeof kSumPrefix - 1); };
  for (std::size_t i = 0; i + 1 < ordered.size(); ++i) {
    if (may_share_memory(*ordered[i], *ordered[i + 1])) {
      bad_value("accumulate", "arrays must not share memory",
                parameter(ordered[i]) + " and " + parameter(ordered[i + 1]));
    }
  }
  // What has to be converted is read from a copy, which shares nothing.
  std::vector<const ArrayView*> in_place;
  for (const ArrayView* view : {read.y, read.d_y, read.d_cells}) {
    if (view && is_readable(*view, scalar_bytes)) in_place.push_back(view);
  }
  for (const ArrayView* view : {read.tape, read.d_h, read.d_c}) {
    if (view && is_readable(*view, scalar_bytes) && is_contiguous(*view)) in_place.push_back(view);
  }
  for (const ArrayView& sum : sums) {
    for (const ArrayView* view : in_place) {
      if (may_share_memory(*view, sum)) {
        bad_value(sum.name, std::string("must not share memory with ") + view->name, "an array that does");
      }
    }
  }
}

// ---- streams -----------------------------------------------------------------------------------

void check_stream(const Config& config, int scalar_bytes, std::int64_t batch) {
  if (batch < 1) bad_value("batch_size", "must be at least 1", std::to_string(batch));
  if (config.bidirectional) throw std::invalid_argument("model: must not be bidirectional to stream");
  const double scalars = static_cast<double>(batch) * static_cast<double>(config.num_layers * 2 + 1) *
                         static_cast<double>(config.hidden_size);
  if (scalars > 1e15) {
    throw TooLarge("batch_size: states of " + std::to_string(batch) + " sequences", scalars * scalar_bytes);
  }
}

bool check_step(const Config& config, int scalar_bytes, std::int64_t batch, const ArrayView& x) {
  require_floats(x, scalar_bytes);
  const bool unbatched = x.rank == 1 && batch == 1;
  const bool fits = unbatched || (x.rank == 2 && x.shape[0] == batch);
  if (!fits || x.shape[x.rank - 1] != config.input_size) {
    const std::string i = std::to_string(config.input_size), b = std::to_string(batch);
    bad_value(x.name, "must have shape (" + b + ", " + i + ")" + (batch == 1 ? " or (" + i + ",)" : ""),
              "shape " + shape_text(x));
  }
  return unbatched;
}

CallLayout check_run(const Config& config, int scalar_bytes, std::int64_t batch, bool batch_first,
                     const ArrayView& x) {
  require_floats(x, scalar_bytes);
  CallLayout layout;
  layout.batch = batch;
  layout.batch_first = batch_first;
  layout.unbatched = x.rank == 2 && batch == 1;
  const int time = layout.time_axis();
  const bool fits = layout.unbatched || (x.rank == 3 && x.shape[1 - time] == batch);
  if (!fits || x.shape[x.rank - 1] != config.input_size) {
    const std::string i = std::to_string(config.input_size), b = std::to_string(batch);
    bad_value(x.name,
              "must have shape " + (batch_first ? "(" + b + ", T, " : "(T, " + b + ", ") + i + ")" +
                  (batch == 1 ? " or (T, " + i + ")" : ""),
              "shape " + shape_text(x));
  }
  layout.steps = x.shape[time];
  require_addressable(config, scalar_bytes, layout, x);
  return layout;
}

void require_apart(const ArrayView& out, const ArrayView& x) {
  if (may_share_memory(x, out)) {
    bad_value(out.name, std::string("must not share memory with ") + x.name, "an array that does");
  }
}

std::vector<std::int64_t> check_rows(const ArrayView& rows, std::int64_t batch) {
  if (rows.kind == Kind::kBool) {
    require_flags(rows, {batch});
    std::vector<std::int64_t> set;
    for (std::int64_t row = 0; row < batch; ++row) {
      if (static_cast<const unsigned char*>(rows.data)[row * rows.strides[0]]) set.push_back(row);
    }
    return set;
  }
  if (rows.kind != Kind::kSigned && rows.kind != Kind::kUnsigned) {
    bad_type(rows.name, "dtype must be bool or an integer", type_text(rows));
  }
  if (rows.rank > 1) {
    bad_value(rows.name, "must be one row, (n,) of rows or (B,) of bool", "shape " + shape_text(rows));
  }
  return integers_in_range(rows, rows.rank ? rows.shape[0] : 1, batch - 1);
}

template ForwardArgs<float> forward_args<float>(const CheckedCall&, const CallViews&);
template ForwardArgs<double> forward_args<double>(const CheckedCall&, const CallViews&);
template std::int64_t tape_size<float>(const Model<float>&, std::int64_t, std::int64_t, std::int64_t,
                                       const Training&);
template std::int64_t tape_size<double>(const Model<double>&, std::int64_t, std::int64_t, std::int64_t,
                                        const Training&);

}  // namespace cellgate
