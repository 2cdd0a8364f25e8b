// Stream: state that lives on between calls.
#include "run/stream.hpp"

#include <mutex>

#include "bindings/model.hpp"

namespace cellgate::python {
namespace {

// Below this many multiply-adds (some microseconds) releasing the interpreter lock costs more than
// another thread could gain.
constexpr std::int64_t kWorthReleasing = 1 << 18;

// Calls f with the stream locked; the interpreter lock is released while waiting for it and, if
// `release`, while f runs. Waiting with both could stop the thread that must make way.
template <class F>
void exclusively(ForkAwareMutex& mutex, bool release, const F& f) {
  if (!release) {
    std::unique_lock<ForkAwareMutex> lock(mutex, std::try_to_lock);
    if (lock.owns_lock()) return f();
  }
  const py::gil_scoped_release released;
  const std::lock_guard<ForkAwareMutex> lock(mutex);
  f();
}

// What Python sees, whatever the scalar type.
class PyStream : public MustBeInitialised {
 public:
  virtual ~PyStream() = default;
  virtual std::int64_t batch_size() const = 0;
  virtual py::tuple state() = 0;
  virtual void set_state(py::handle value) = 0;
  virtual py::object step(py::handle x, py::handle out) = 0;
  virtual py::object run(py::handle x, py::handle out) = 0;
  virtual void reset(py::handle rows) = 0;
};

template <class S>
class StreamOf final : public PyStream {
 public:
  static void* operator new(std::size_t bytes) { return ::operator new(bytes); }
  static void operator delete(void* at) { ::operator delete(at); }

  StreamOf(SharedModel<S> model, std::int64_t batch, bool batch_first)
      : stream_(std::move(model), batch, default_executor()), batch_first_(batch_first) {
    const Config& c = stream_.config();
    work_ = batch * 4 * c.hidden_size * (c.input_size + c.output_size()) * c.num_layers;
  }

  std::int64_t batch_size() const override { return stream_.batch(); }

  py::tuple state() override {
    py::array h = new_array<S>(h_shape()), c = new_array<S>(c_shape());
    S *h_to = mutable_data<S>(h), *c_to = mutable_data<S>(c);
    exclusively(stream_.mutex(), false, [&] { stream_.get(h_to, c_to); });
    return py::make_tuple(std::move(h), std::move(c));
  }

  void set_state(py::handle value) override {
    const auto given = as_state<S>(value, h_shape(), c_shape());
    const S *h = data<S>(given.first), *c = data<S>(given.second);
    exclusively(stream_.mutex(), false, [&] { stream_.set(h, c); });
  }

  py::object step(py::handle x_given, py::handle out_given) override {
    const py::array x = as_floats<S>(x_given, "x");
    const bool unbatched = x.ndim() == 1 && stream_.batch() == 1;
    const bool fits = unbatched || (x.ndim() == 2 && x.shape(0) == stream_.batch());
    if (!fits || x.shape(x.ndim() - 1) != input_size()) {
      const std::string i = std::to_string(input_size()), b = std::to_string(stream_.batch());
      bad_value("x",
                "must have shape (" + b + ", " + i + ")" + (stream_.batch() == 1 ? " or (" + i + ",)" : ""),
                "shape " + shape_text(x));
    }
    py::array out = result(out_given, unbatched ? Shape{width()} : Shape{stream_.batch(), width()});
    const S* x_from = data<S>(x);
    S* out_to = mutable_data<S>(out);
    const std::ptrdiff_t x_row = unbatched ? 0 : stride<S>(x, 0), out_row = unbatched ? 0 : stride<S>(out, 0);
    exclusively(stream_.mutex(), work_ > kWorthReleasing,
                [&] { stream_.step(x_from, x_row, out_to, out_row); });
    return out;
  }

  py::object run(py::handle x_given, py::handle out_given) override {
    const py::array x = as_floats<S>(x_given, "x");
    const bool unbatched = x.ndim() == 2 && stream_.batch() == 1;
    const py::ssize_t time = !unbatched && batch_first_ ? 1 : 0, batch = 1 - time;
    const bool fits = unbatched || (x.ndim() == 3 && x.shape(batch) == stream_.batch());
    if (!fits || x.shape(x.ndim() - 1) != input_size()) {
      const std::string i = std::to_string(input_size()), b = std::to_string(stream_.batch());
      bad_value("x",
                "must have shape " + (batch_first_ ? "(" + b + ", T, " : "(T, " + b + ", ") + i + ")" +
                    (stream_.batch() == 1 ? " or (T, " + i + ")" : ""),
                "shape " + shape_text(x));
    }
    Shape shape(x);
    shape.back() = width();
    py::array out = result(out_given, shape);
    if (may_share_memory(x, out)) bad_value("out", "must not share memory with x", "an array that does");
    const S* x_from = data<S>(x);
    S* out_to = mutable_data<S>(out);
    const std::ptrdiff_t x_step = stride<S>(x, time), x_row = unbatched ? 0 : stride<S>(x, batch);
    const std::ptrdiff_t out_step = stride<S>(out, time), out_row = unbatched ? 0 : stride<S>(out, batch);
    const py::ssize_t steps = x.shape(time);
    exclusively(stream_.mutex(), true,
                [&] { stream_.run(steps, x_from, x_step, x_row, out_to, out_step, out_row); });
    return out;
  }

  void reset(py::handle rows) override {
    if (rows.is_none()) return exclusively(stream_.mutex(), false, [&] { stream_.clear(); });
    py::array given = as_array(rows, "rows");
    const char kind = given.dtype().kind();
    if (kind == 'b') {
      const py::tuple found = as_flags(rows, "rows", {stream_.batch()}).attr("nonzero")();
      given = found[0];
    } else if (given.size() == 0 && given.ndim() == 1 && !py::isinstance<py::array>(rows)) {
      return;  // no rows; [] and () have no integers to tell their dtype by
    } else if (kind != 'i' && kind != 'u') {
      bad_type("rows", "dtype must be bool or an integer", py::str(given.dtype()).cast<std::string>());
    }
    if (given.ndim() > 1)
      bad_value("rows", "must be one row, (n,) of rows or (B,) of bool", "shape " + shape_text(given));
    const auto indices = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>::ensure(given);
    if (!indices) throw py::error_already_set();
    const std::int64_t* row = indices.data();
    const auto bad = std::find_if(row, row + indices.size(),
                                  [&](std::int64_t r) { return r < 0 || r >= stream_.batch(); });
    if (bad != row + indices.size()) {
      bad_value("rows", "must be from 0 to " + std::to_string(stream_.batch() - 1),
                py::str(given.reshape({-1})[py::int_(bad - row)]).cast<std::string>());
    }
    exclusively(stream_.mutex(), false, [&] {
      for (py::ssize_t i = 0; i < indices.size(); ++i) stream_.clear_row(row[i]);
    });
  }

 private:
  std::int64_t input_size() const { return stream_.config().input_size; }
  std::int64_t width() const { return stream_.config().output_size(); }
  Shape h_shape() const { return {stream_.config().num_layers, stream_.batch(), width()}; }
  Shape c_shape() const {
    return {stream_.config().num_layers, stream_.batch(), stream_.config().hidden_size};
  }

  static py::array result(py::handle out, const Shape& shape) {
    return out.is_none() ? new_array<S>(shape) : as_output<S>(out, "out", shape);
  }

  StreamState<S> stream_;
  bool batch_first_;
  std::int64_t work_;
};

std::unique_ptr<PyStream> make_stream(const PyModel& model, std::int64_t batch, bool batch_first) {
  if (batch < 1) bad_value("batch_size", "must be at least 1", std::to_string(batch));
  return std::visit(
      [&](const auto& held) -> std::unique_ptr<PyStream> {
        using M = typename std::decay_t<decltype(*held)>;
        const Config& c = held->config();
        if (c.bidirectional) throw py::value_error("model: must not be bidirectional to stream");
        const double scalars = static_cast<double>(batch) * static_cast<double>(c.num_layers * 2 + 1) *
                               static_cast<double>(c.hidden_size);
        if (scalars > 1e15) throw std::bad_alloc();
        if constexpr (std::is_same_v<M, const Model<float>> || std::is_same_v<M, Model<float>>) {
          return std::make_unique<StreamOf<float>>(held, batch, batch_first);
        } else {
          return std::make_unique<StreamOf<double>>(held, batch, batch_first);
        }
      },
      model.held());
}

}  // namespace

void register_stream(py::module_& module) {
  py::class_<PyStream>(module, "Stream")
      .def(py::init(&make_stream), py::arg("model"), py::arg("batch_size"), py::arg("batch_first"))
      .def_property_readonly("batch_size", &PyStream::batch_size)
      .def_property("state", &PyStream::state, &PyStream::set_state)
      .def("step", &PyStream::step, py::arg("x"), py::arg("out") = py::none())
      .def("run", &PyStream::run, py::arg("x"), py::arg("out") = py::none())
      .def("reset", &PyStream::reset, py::arg("rows") = py::none());
}

}  // namespace cellgate::python
