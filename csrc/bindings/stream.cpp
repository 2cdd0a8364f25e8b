// Stream: state that lives on between calls.
#include "run/stream.hpp"

#include <mutex>

#include "bindings/method.hpp"
#include "bindings/model.hpp"

namespace cellgate::python {
namespace {

// Below this many multiply-adds (some microseconds) releasing the interpreter lock costs more than
// another thread could gain.
constexpr double kWorthReleasing = 1 << 18;

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
      : stream_(std::move(model), batch),
        batch_first_(batch_first),
        release_in_step_(stream_.multiplies_per_step() > kWorthReleasing) {}

  std::int64_t batch_size() const override { return stream_.batch(); }

  py::tuple state() override {
    Argument h, c;
    h.make<S>(h_shape());
    c.make<S>(c_shape());
    S *h_to = h.mutable_data<S>(), *c_to = c.mutable_data<S>();
    exclusively(stream_.mutex(), false, [&] { stream_.get(h_to, c_to); });
    return py::make_tuple(std::move(h.array()), std::move(c.array()));
  }

  void set_state(py::handle value) override {
    Argument h, c;
    take_state(value, h, c);
    require_floats(h.view(), sizeof(S), h_shape());
    require_floats(c.view(), sizeof(S), c_shape());
    h.make_readable<S>(true);
    c.make_readable<S>(true);
    exclusively(stream_.mutex(), false, [&] { stream_.set(h.data<S>(), c.data<S>()); });
  }

  py::object step(py::handle x_given, py::handle out_given) override {
    Argument x(x_given, "x"), out;
    const bool unbatched = check_step(stream_.config(), sizeof(S), stream_.batch(), x.view());
    const Shape shape = unbatched ? Shape{width()} : Shape{stream_.batch(), width()};
    take_or_make(out, out_given, shape);
    x.make_readable<S>();
    const S* x_from = x.data<S>();
    S* out_to = out.mutable_data<S>();
    const std::ptrdiff_t x_row = row_stride(x, unbatched), out_row = row_stride(out, unbatched);
    exclusively(stream_.mutex(), release_in_step_, [&] { stream_.step(x_from, x_row, out_to, out_row); });
    return std::move(out.array());
  }

  py::object run(py::handle x_given, py::handle out_given) override {
    Argument x(x_given, "x"), out;
    const CallLayout layout =
        check_run(stream_.config(), sizeof(S), stream_.batch(), batch_first_, x.view());
    take_or_make(out, out_given, layout.sequence(width()));
    if (!out_given.is_none() && is_readable(x.view(), sizeof(S))) require_apart(out.view(), x.view());
    x.make_readable<S>();
    const Plane<const S> from = layout.plane(x.data<S>(), x.view().strides);
    const Plane<S> to = layout.plane(out.mutable_data<S>(), out.view().strides);
    exclusively(stream_.mutex(), true, [&] {
      stream_.run(layout.steps, from.base, from.step, from.row, to.base, to.step, to.row);
    });
    return std::move(out.array());
  }

  void reset(py::handle given) override {
    if (given.is_none()) return exclusively(stream_.mutex(), false, [&] { stream_.clear(); });
    Argument argument;
    argument.take_integers(given, "rows");
    const std::vector<std::int64_t> rows = check_rows(argument.view(), stream_.batch());
    exclusively(stream_.mutex(), false, [&] { stream_.clear_rows(rows); });
  }

 private:
  std::int64_t width() const { return stream_.config().output_size(); }
  Shape h_shape() const { return {stream_.config().num_layers, stream_.batch(), width()}; }
  Shape c_shape() const {
    return {stream_.config().num_layers, stream_.batch(), stream_.config().hidden_size};
  }

  static std::ptrdiff_t row_stride(const Argument& array, bool unbatched) {
    return unbatched ? 0 : array.view().strides[0] / static_cast<std::ptrdiff_t>(sizeof(S));
  }

  static void take_or_make(Argument& out, py::handle given, const Shape& shape) {
    if (given.is_none()) return out.make<S>(shape);
    out.take_output(given, "out", sizeof(S));
    require_output(out.view(), sizeof(S), shape);
  }

  StreamState<S> stream_;
  bool batch_first_, release_in_step_;
};

std::unique_ptr<PyStream> make_stream(const PyModel& model, std::int64_t batch, bool batch_first) {
  return std::visit(
      [&](const auto& held) -> std::unique_ptr<PyStream> {
        using S = typename std::decay_t<decltype(*held)>::Scalar;
        check_stream(held->config(), sizeof(S), batch);
        return std::make_unique<StreamOf<S>>(held, batch, batch_first);
      },
      model.held());
}

constexpr const char kStateDoc[] = R"(The state (h, c): arrays of shape (L, B, P or H) and (L, B, H).

Reading it gives new arrays, setting it copies. h and c may be of a narrower floating type than the
model's dtype, which is widened exactly.

Raises
------
TypeError, ValueError
    On setting: no pair of arrays of floats, or of a wrong shape. The state is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> stream = cellgate.LSTM(8, 16, seed=0).stream()
>>> h, c = stream.state
>>> h.shape, c.shape
((1, 1, 16), (1, 1, 16))
>>> stream.state = np.ones_like(h), np.zeros_like(c)
>>> float(stream.state[0].sum())
16.0
)";

constexpr const char kStepDoc[] = R"(step($self, /, x, out=None)
--

One step of all sequences; the state moves on.

Parameters
----------
x : array_like, shape (B, I), or (I,) if B is 1
    The input: of the model's dtype, or of a narrower floating type, which is widened exactly.
    Any layout of memory is accepted.
out : array, shape of the result, optional
    Of the model's dtype, writable, with a contiguous last axis: the result is written there and
    nothing is allocated. It may overlap with x.

Returns
-------
y : array, shape (B, P or H), or (P or H,) for an x of (I,)
    The output of the last layer: `out`, or a new array.

Raises
------
TypeError, ValueError
    An argument of a wrong type, dtype or shape, or an `out` that cannot be written to. The state
    is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> lstm = cellgate.LSTM(8, 16, seed=0)
>>> stream = lstm.stream()
>>> out = np.empty(16, np.float32)
>>> stream.step(np.ones(8, np.float32), out) is out
True
>>> bool((out == lstm(np.ones((1, 8), np.float32))[0][0]).all())
True
)";

constexpr const char kRunDoc[] = R"(run($self, /, x, out=None)
--

T steps of all sequences; the state moves on.

Parameters
----------
x : array_like, shape (T, B, I), or (B, T, I) if the model is `batch_first`, or (T, I) if B is 1
    The input: of the model's dtype, or of a narrower floating type, which is widened exactly.
    Any layout of memory is accepted.
out : array, shape of the result, optional
    Of the model's dtype, writable, with a contiguous last axis: the result is written there. It
    must not share memory with x.

Returns
-------
y : array, laid out like x with P or H for I
    The output of the last layer at every step: `out`, or a new array.

Raises
------
TypeError, ValueError
    An argument of a wrong type, dtype or shape, or an `out` that cannot be written to. The state
    is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> lstm = cellgate.LSTM(8, 16, seed=0)
>>> x = np.linspace(-1, 1, 5 * 8, dtype=np.float32).reshape(5, 8)
>>> stream = lstm.stream()
>>> y = np.concatenate([stream.run(x[:3]), stream.run(x[3:])])
>>> np.array_equal(y, lstm(x)[0])
True
)";

constexpr const char kResetDoc[] = R"(reset($self, /, rows=None)
--

Set the state of some sequences, or of all, to zero.

Parameters
----------
rows : array_like of bool, shape (B,), or of int, shape () or (n,), optional
    True for the sequences to reset, or their indices, from 0 to B - 1. All if left out.

Raises
------
TypeError, ValueError
    Rows of a wrong type, shape or value. The state is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> stream = cellgate.LSTM(8, 16, seed=0).stream(batch_size=3)
>>> y = stream.step(np.ones((3, 8), np.float32))
>>> stream.reset([0, 2])
>>> stream.state[0].any(axis=(0, 2)).tolist()
[False, True, False]
)";

PyObject* step(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"step", {"x", "out"}, 1};
  return call_method<PyStream>(signature, self, given, count, names,
                               [](PyStream& s, py::handle x, py::handle out) { return s.step(x, out); });
}

PyObject* run(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"run", {"x", "out"}, 1};
  return call_method<PyStream>(signature, self, given, count, names,
                               [](PyStream& s, py::handle x, py::handle out) { return s.run(x, out); });
}

}  // namespace

void register_stream(py::module_& module) {
  py::options options;
  options.disable_function_signatures();  // help() shows the one that follows from the arguments' names
  py::class_<PyStream> type(module, "Stream");
  type.def(py::init(&make_stream), py::arg("model"), py::arg("batch_size"), py::arg("batch_first"))
      .def_property_readonly("batch_size", &PyStream::batch_size, "B, the number of sequences.")
      .def_property("state", &PyStream::state, &PyStream::set_state, kStateDoc)
      .def("reset", &PyStream::reset, py::arg("rows") = py::none(), kResetDoc);
  add_method(type, "step", &step, kStepDoc);
  add_method(type, "run", &run, kRunDoc);
}

}  // namespace cellgate::python
