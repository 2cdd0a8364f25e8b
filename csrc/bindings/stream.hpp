// A stream as Python holds it: state that lives on between calls, of an LSTM or of a network. Used by
// stream.cpp and network_stream.cpp, which register the two classes.
#pragma once

#include <memory>
#include <mutex>

#include "bindings/method.hpp"
#include "bindings/model.hpp"
#include "run/check_network.hpp"
#include "run/network_stream.hpp"
#include "threads/fork.hpp"

namespace cellgate::python {

// Below this many multiply-adds (some microseconds) releasing the interpreter lock costs more than
// another thread could gain.
constexpr double kWorthReleasing = 1 << 18;

// Calls f with the stream locked; the interpreter lock is released while waiting for it and, if
// `release`, while f runs. Waiting while holding it could deadlock: the thread that has
// the stream may be waiting for the interpreter lock.
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

// Base: PyStream, or what the network's adds to it.
template <class Base, class S>
class StreamOf : public Base {
 public:
  static void* operator new(std::size_t bytes) { return ::operator new(bytes); }
  static void operator delete(void* at) { ::operator delete(at); }

  StreamOf(std::shared_ptr<const Network<S>> network, std::int64_t batch, bool batch_first)
      : stream_(std::move(network), batch, default_executor()),
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
    const CallLayout layout = check_run(stream_.network(), stream_.batch(), batch_first_, x.view());
    take_or_make(out, out_given, layout.sequence(width()));
    if (!out_given.is_none() && is_readable(x.view(), sizeof(S))) require_apart(out.view(), x.view());
    x.make_readable<S>();
    const Plane<const S> from = layout.plane(x.data<S>(), x.view().strides);
    const Plane<S> to = layout.plane(out.mutable_data<S>(), out.view().strides);
    exclusively(stream_.mutex(), true,
                [&] { stream_.run(layout.steps, from.base, from.step, from.row, to.base, to.step, to.row); });
    return std::move(out.array());
  }

  void reset(py::handle given) override {
    if (given.is_none()) return exclusively(stream_.mutex(), false, [&] { stream_.reset(); });
    Argument argument;
    argument.take_integers(given, "rows");
    const std::vector<std::int64_t> rows = check_rows(argument.view(), stream_.batch());
    exclusively(stream_.mutex(), false, [&] { stream_.reset_rows(rows); });
  }

 protected:
  NetworkStream<S> stream_;

 private:
  std::int64_t width() const { return stream_.network().output_size(); }
  Shape h_shape() const {
    return {stream_.config().num_layers, stream_.batch(), stream_.config().output_size()};
  }
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

  bool batch_first_, release_in_step_;
};

template <class Base>
PyObject* step(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"step", {"x", "out"}, 2, 1};
  return call_method<Base>(signature, self, given, count, names, [](Base& s, const py::handle* argument) {
    return s.step(argument[0], argument[1]);
  });
}

template <class Base>
PyObject* run(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"run", {"x", "out"}, 2, 1};
  return call_method<Base>(signature, self, given, count, names, [](Base& s, const py::handle* argument) {
    return s.run(argument[0], argument[1]);
  });
}

template <class Base>
PyObject* reset(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  constexpr Signature signature{"reset", {"rows"}, 1, 0};
  return call_method<Base>(signature, self, given, count, names, [](Base& s, const py::handle* argument) {
    s.reset(argument[0]);
    return py::none();
  });
}

}  // namespace cellgate::python
