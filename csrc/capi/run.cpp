// cg_run: whole sequences, from the caller's struct to ForwardArgs.
#include <cmath>

#include "capi/handles.hpp"
#include "capi/structs.hpp"
#include "run/check_network.hpp"
#include "run/network_forward.hpp"

namespace cellgate::capi {
namespace {

// An array of the caller's with shape and strides.
class Array {
 public:
  template <class T>
  Array(const char* name, T* data, Kind kind, const Shape& shape) {
    view_.name = name;
    view_.data = data;
    view_.kind = kind;
    view_.itemsize = sizeof(T);
    view_.rank = shape.rank();
    view_.writable = !std::is_const_v<T>;
    std::copy(shape.begin(), shape.end(), shape_);
    std::ptrdiff_t stride = view_.itemsize;
    for (int axis = view_.rank - 1; axis >= 0; --axis) {
      strides_[axis] = stride;
      stride = wrapped(stride, shape_[axis]);
    }
    view_.shape = shape_;
    view_.strides = strides_;
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  // The strides of an axis in elements, as the caller gave it.
  void set_stride(int axis, const char* name, std::int64_t elements) {
    const double reach = std::abs(static_cast<double>(elements)) * view_.itemsize *
                         std::max(1.0, static_cast<double>(shape_[axis]));
    if (reach > 0x1p61) bad_value(name, "must stay within the address space", std::to_string(elements));
    strides_[axis] = elements * view_.itemsize;
  }
  // Null is an array where there are no elements.
  void require_data() const {
    if (!view_.data && std::find(shape_, shape_ + view_.rank, 0) == shape_ + view_.rank) {
      bad_value(view_.name, "must be an array", "NULL");
    }
  }
  void require_readable() const {
    require_data();
    if (!is_readable(view_, view_.itemsize))
      bad_value(view_.name, "must be aligned", "an address that is not");
  }
  const ArrayView& view() const { return view_; }

 private:
  // The strides of shapes that no machine has room for are never used.
  static std::ptrdiff_t wrapped(std::ptrdiff_t a, std::ptrdiff_t b) {
    return static_cast<std::ptrdiff_t>(static_cast<std::size_t>(a) * static_cast<std::size_t>(b));
  }

  std::ptrdiff_t shape_[3] = {}, strides_[3] = {};
  ArrayView view_;
};

// The working memory that the model keeps, or, while another call has that, one of this call.
class RunScratch {
 public:
  explicit RunScratch(const cg_model& model)
      : model_(model),
        kept_(!model.scratch_taken.exchange(true, std::memory_order_acquire)),
        own_(model.memory()) {}
  ~RunScratch() {
    if (!kept_) return;
    if (model_.scratch.bytes() > kMostKept) model_.scratch = Scratch(model_.memory());
    model_.scratch_taken.store(false, std::memory_order_release);
  }
  RunScratch(const RunScratch&) = delete;
  RunScratch& operator=(const RunScratch&) = delete;
  Scratch& get() { return kept_ ? model_.scratch : own_; }

 private:
  static constexpr std::size_t kMostKept = std::size_t{16} << 20;
  const cg_model& model_;
  const bool kept_;
  Scratch own_;
};

template <class S, class Given>
class Run {
 public:
  Run(const cg_model& model, const Network<S>& network, const Given& given)
      : model_(model),
        network_(network),
        given_(given),
        x_("x", given.x, Kind::kFloat, {given.steps, given.batch, network.config().input_size}),
        y_("y", given.y, Kind::kFloat, shape_of_y(network, given)),
        lengths_("lengths", given.lengths, Kind::kSigned, {given.batch}),
        reset_("reset", given.reset, Kind::kBool, {given.steps, given.batch}),
        h0_("h0", given.h0, Kind::kFloat, h_shape(network, given)),
        c0_("c0", given.c0, Kind::kFloat, c_shape(network, given)),
        h_n_("h_n", given.h_n, Kind::kFloat, h_shape(network, given)),
        c_n_("c_n", given.c_n, Kind::kFloat, c_shape(network, given)) {
    set_strides(x_, "x_step", given.x_step, "x_row", given.x_row);
    set_strides(reset_, "reset_step", given.reset_step, "reset_row", given.reset_row);
    if (!network.pools()) {
      set_strides(y_, "y_step", given.y_step, "y_row", given.y_row);
    } else if (given.y_row) {
      y_.set_stride(0, "y_row", given.y_row);
    }
  }

  void run() {
    const CheckedCall call = check_call(network_, views());
    check_arrays(call.layout);
    ForwardArgs<S> args = forward_args<S>(call, views());
    args.y = output_plane(network_, call.layout, given_.y, y_.view().strides);
    const std::int64_t states = network_.config().num_layers * network_.config().directions() * given_.batch;
    AlignedBuffer<S> h, c;
    args.h_n = given_.h_n ? given_.h_n : room(h, states * network_.config().output_size());
    args.c_n = given_.c_n ? given_.c_n : room(c, states * network_.config().hidden_size);
    RunScratch scratch(model_);
    CallerAlone alone;
#if defined(CELLGATE_NO_THREADS)
    forward(network_, args, scratch.get(), alone);
#else
    Executor& executor = given_.pool ? static_cast<Executor&>(given_.pool->pool) : alone;
    forward(network_, args, scratch.get(), executor);
#endif
  }

 private:
  static Shape shape_of_y(const Network<S>& network, const Given& given) {
    const std::int64_t outputs = network.output_size();
    return network.pools() ? Shape{given.batch, outputs} : Shape{given.steps, given.batch, outputs};
  }
  static Shape h_shape(const Network<S>& network, const Given& given) {
    const Config& config = network.config();
    return {config.num_layers * config.directions(), given.batch, config.output_size()};
  }
  static Shape c_shape(const Network<S>& network, const Given& given) {
    const Config& config = network.config();
    return {config.num_layers * config.directions(), given.batch, config.hidden_size};
  }
  static void set_strides(Array& array, const char* step_name, std::int64_t step, const char* row_name,
                          std::int64_t row) {
    if (step == 0 && row == 0) return;
    array.set_stride(0, step_name, step);
    array.set_stride(1, row_name, row);
  }

  CallViews views() const {
    CallViews views;
    views.x = &x_.view();
    if (given_.h0) {
      views.h0 = &h0_.view();
      views.c0 = &c0_.view();
    }
    if (given_.lengths) views.lengths = &lengths_.view();
    if (given_.reset) views.reset = &reset_.view();
    return views;
  }

  void check_arrays(const CallLayout& layout) const {
    x_.require_readable();
    y_.require_data();
    require_output(y_.view(), sizeof(S), output_shape(network_, layout));
    for (const Array* array : {&h0_, &c0_, &h_n_, &c_n_}) {
      if (array->view().data) array->require_readable();
    }
    for (const Array* out : {&y_, &h_n_, &c_n_}) {
      for (const Array* other : {&x_, &y_, &reset_, &h0_, &c0_, &h_n_, &c_n_}) {
        if (other == out || !out->view().data || !other->view().data) continue;
        const bool in_place = out->view().data == other->view().data &&
                              ((out == &h_n_ && other == &h0_) || (out == &c_n_ && other == &c0_));
        if (!in_place) require_apart(out->view(), other->view());
      }
    }
  }

  S* room(AlignedBuffer<S>& buffer, std::int64_t count) const {
    buffer = AlignedBuffer<S>(static_cast<std::size_t>(count), model_.memory());
    return buffer.data();
  }

  const cg_model& model_;
  const Network<S>& network_;
  const Given& given_;
  Array x_, y_, lengths_, reset_, h0_, c0_, h_n_, c_n_;
};

template <class S, class Given>
cg_status run(const cg_model* model, const Given* arguments, cg_error* error) noexcept {
  if (!model) return fail_null(error, "model: must be a model, got NULL");
  if (!arguments) return fail_null(error, "arguments: must be a struct, got NULL");
  return guarded(error, [&] {
    Given given{};
    copy_struct(arguments, arguments->struct_size, "arguments", &given);
    const Network<S>* network = model->network_of<S>();
    if (!network) {
      bad_type("model",
               std::string("must be ") + kTypeName<S> + (sizeof(S) == 4 ? " for cg_run" : " for cg_run_f64"),
               sizeof(S) == 4 ? kTypeName<double> : kTypeName<float>);
    }
    for (const auto& [name, value] : {std::pair{"steps", given.steps}, {"batch", given.batch}}) {
      if (value < 0) bad_value(name, "must be at least 0", std::to_string(value));
    }
    if (!given.h0 != !given.c0) {
      bad_value(given.h0 ? "c0" : "h0", std::string("must be an array with ") + (given.h0 ? "h0" : "c0"),
                "NULL");
    }
    Run<S, Given>(*model, *network, given).run();
  });
}

}  // namespace
}  // namespace cellgate::capi

extern "C" {

cg_status cg_run(const cg_model* model, const cg_run_arguments* arguments, cg_error* error) noexcept {
  return cellgate::capi::run<float>(model, arguments, error);
}

cg_status cg_run_f64(const cg_model* model, const cg_run_arguments_f64* arguments, cg_error* error) noexcept {
  return cellgate::capi::run<double>(model, arguments, error);
}

}  // extern "C"
