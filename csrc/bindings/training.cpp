// Recording a call, and its gradients.
#include <algorithm>
#include <tuple>

#include "bindings/call.hpp"
#include "bindings/model.hpp"
#include "bindings/tables.hpp"
#include "run/backward.hpp"

namespace cellgate::python {
namespace {

struct TrainingArgs {
  double dropout;
  std::uint64_t seed;
  std::int64_t checkpoint;

  Training checked(std::int64_t steps) const {
    if (!(dropout >= 0 && dropout <= 1)) bad_value("dropout", "must be in [0, 1]", std::to_string(dropout));
    if (checkpoint < 0) bad_value("checkpoint", "must be at least 0", std::to_string(checkpoint));
    return {dropout, seed, std::min(checkpoint, std::max<std::int64_t>(steps, 1))};
  }
};

// Memory of the core's own, aligned to cache lines and in huge pages where there are any.
template <class S>
py::array aligned_array(std::int64_t count) {
  auto* buffer = new AlignedBuffer<S>(static_cast<std::size_t>(count));
  const py::capsule owner(buffer, [](void* held) { delete static_cast<AlignedBuffer<S>*>(held); });
  return py::array_t<S>({static_cast<py::ssize_t>(count)}, {static_cast<py::ssize_t>(sizeof(S))},
                        buffer->data(), owner);
}

// Sizes come from shapes,
// which may be those of arrays that repeat one value for ever.
template <class S>
std::int64_t tape_size(const Model<S>& model, std::int64_t steps, std::int64_t batch, std::int64_t positions,
                       const Training& training) {
  const double rows =
      static_cast<double>(positions) + static_cast<double>(batch) * (1 + static_cast<double>(steps));
  const double widths =
      static_cast<double>(model.config().num_layers) * 12 * static_cast<double>(model.padded_hidden());
  if (rows * widths > 1e18) throw std::bad_alloc();
  return TapeLayout::kSpare + Tape<S>(model, batch, steps, positions, training, nullptr).size();
}

template <class S>
std::int64_t tape_size_of(const Model<S>& model, std::int64_t steps, std::int64_t batch,
                          std::int64_t positions, bool dropout, std::int64_t checkpoint) {
  const TrainingArgs given{dropout ? 0.5 : 0.0, 0, checkpoint};
  for (const auto& [name, value] : {std::pair{"steps", steps}, {"batch", batch}, {"positions", positions}}) {
    if (value < 0) bad_value(name, "must be at least 0", std::to_string(value));
  }
  return tape_size(model, steps, batch, positions, given.checked(steps));
}

template <class S>
py::tuple record(const Model<S>& model, const CallArgs& given, bool return_cells,
                 const TrainingArgs& training) {
  Call<S> call(model.config(), given);
  call.make_outputs(return_cells);
  ForwardArgs<S>& args = call.args();
  args.training = training.checked(args.steps);
  py::array tape = aligned_array<S>(tape_size(model, args.steps, args.batch, call.valid(), args.training));
  args.tape = mutable_data<S>(tape);
  args.tape[tape.size() - 1] = 0;
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::forward(model, args, scratch.get(), executor);
  }
  py::object cells = return_cells ? py::object(std::move(call.cells)) : py::none();
  return py::make_tuple(std::move(call.y), py::make_tuple(std::move(call.h), std::move(call.c)),
                        std::move(cells), std::move(tape));
}

// Every gradient of the parameters: new, or the caller's to add to.
template <class S>
py::dict gradient_arrays(const Config& config, py::handle accumulate,
                         std::vector<MutableLayerWeights<S>>& parameters) {
  if (!accumulate.is_none() && !py::isinstance<py::dict>(accumulate)) {
    bad_type("accumulate", "must be a dict of names to arrays", type_text(accumulate));
  }
  parameters.assign(static_cast<std::size_t>(config.num_layers * config.directions()),
                    MutableLayerWeights<S>{});
  py::dict arrays;
  std::vector<std::tuple<const S*, const S*, std::string>> places;  // begin, end, name
  for_each_parameter<MutableLayerWeights<S>>(
      config, [&](const std::string& name, const ParameterShape<std::int64_t>& sizes, auto member,
                  std::size_t index) {
        const Shape shape = array_shape(sizes);
        py::array array = no_array();
        if (accumulate.is_none()) {
          array = new_array<S>(shape);
        } else {
          const std::string title = "accumulate: " + name;
          const auto given = py::reinterpret_borrow<py::dict>(accumulate);
          if (!given.contains(name)) throw py::value_error(title + " is missing");
          array = as_contiguous_output<S>(given[name.c_str()], title.c_str(), shape);
        }
        parameters[index].*member = mutable_data<S>(array);
        places.emplace_back(data<S>(array), data<S>(array) + array.size(), name);
        arrays[name.c_str()] = std::move(array);
      });
  if (accumulate.is_none()) return arrays;
  if (py::len(accumulate) != py::len(arrays)) {
    bad_value("accumulate", "must have the " + std::to_string(py::len(arrays)) + " parameters and no others",
              std::to_string(py::len(accumulate)) + " entries");
  }
  std::sort(places.begin(), places.end());
  for (std::size_t i = 0; i + 1 < places.size(); ++i) {
    if (std::get<1>(places[i]) > std::get<0>(places[i + 1])) {
      bad_value("accumulate", "arrays must not share memory",
                std::get<2>(places[i]) + " and " + std::get<2>(places[i + 1]));
    }
  }
  return arrays;
}

struct Derivatives {
  py::handle y, d_y, d_h, d_c, d_cells;
  bool input;
  py::handle accumulate;
};

// Owns, or shares, what the backward pass reads and writes beside the call itself.
template <class S>
class BackwardCall {
 public:
  BackwardCall(const Model<S>& model, Call<S>& call, py::handle tape, const Derivatives& given)
      : config_(model.config()), call_(call) {
    ForwardArgs<S>& forward = call.args();
    const std::int64_t size = tape_size(model, forward.steps, forward.batch, call.valid(), forward.training);
    forward.tape = const_cast<S*>(keep(tape, "tape", Shape{size}, true));
    const Shape y_shape = call.laid_out(config_.directions() * config_.output_size());
    const S* y = keep(given.y, "y", y_shape, false);
    forward.y = call.plane(read_.back().first, const_cast<S*>(y));
    args.forward = &forward;
    if (const S* d_y = keep_if_given(given.d_y, "d_output", y_shape, false)) {
      args.d_y = call.plane(read_.back().first, d_y);
    }
    const Shape cells_shape = call.laid_out(config_.directions() * config_.hidden_size);
    if (const S* d_cells = keep_if_given(given.d_cells, "d_cells", cells_shape, false)) {
      args.d_cells = call.plane(read_.back().first, d_cells);
    }
    args.d_h_n = keep_if_given(given.d_h, "d_state: h", call.state_shape(config_.output_size()), true);
    args.d_c_n = keep_if_given(given.d_c, "d_state: c", call.state_shape(config_.hidden_size), true);
    parameters = gradient_arrays<S>(config_, given.accumulate, args.parameters);
    args.accumulate = !given.accumulate.is_none();
    if (args.accumulate) refuse_shared_memory();
    make_outputs(given.input);
  }

  BackwardArgs<S> args;
  py::dict parameters;
  py::array d_h0{no_array()}, d_c0{no_array()};
  py::object d_x = py::none();

 private:
  const S* keep_if_given(py::handle given, const char* name, const Shape& shape, bool contiguous) {
    return given.is_none() ? nullptr : keep(given, name, shape, contiguous);
  }
  const S* keep(py::handle given, const char* name, const Shape& shape, bool contiguous) {
    read_.emplace_back(as_floats_of<S>(given, name, shape, contiguous), name);
    return data<S>(read_.back().first);
  }

  // Sums are written while other layers still read.
  void refuse_shared_memory() const {
    for (const auto& [name, sum] : parameters) {
      for (const auto& [array, title] : read_) {
        if (may_share_memory(array, py::reinterpret_borrow<py::array>(sum))) {
          bad_value("accumulate: " + py::str(name).cast<std::string>(),
                    std::string("must not share memory with ") + title, "an array that does");
        }
      }
    }
  }

  void make_outputs(bool input) {
    d_h0 = new_array<S>(call_.state_shape(config_.output_size()));
    d_c0 = new_array<S>(call_.state_shape(config_.hidden_size));
    args.d_h0 = mutable_data<S>(d_h0);
    args.d_c0 = mutable_data<S>(d_c0);
    if (!input) return;
    py::array array = new_array<S>(call_.laid_out(config_.input_size));
    args.d_x = call_.plane(array, mutable_data<S>(array));
    d_x = std::move(array);
  }

  const Config& config_;
  Call<S>& call_;
  std::vector<std::pair<py::array, const char*>> read_;
};

template <class S>
py::tuple backward(const Model<S>& model, py::handle tape, const CallArgs& given,
                   const TrainingArgs& training, const Derivatives& derivatives) {
  Call<S> call(model.config(), given);
  call.args().training = training.checked(call.args().steps);
  BackwardCall<S> way_back(model, call, tape, derivatives);
  Executor& executor = default_executor();
  {
    const py::gil_scoped_release release;
    KeptScratch scratch;
    cellgate::backward(model, way_back.args, scratch.get(), executor);
  }
  return py::make_tuple(std::move(way_back.d_x),
                        py::make_tuple(std::move(way_back.d_h0), std::move(way_back.d_c0)),
                        std::move(way_back.parameters));
}

}  // namespace

void register_training(py::class_<PyModel, std::shared_ptr<PyModel>>& type) {
  type.def(
      "tape_size",
      [](const PyModel& self, std::int64_t steps, std::int64_t batch, std::int64_t positions, bool dropout,
         std::int64_t checkpoint) {
        return std::visit(
            [&](const auto& model) {
              return tape_size_of(*model, steps, batch, positions, dropout, checkpoint);
            },
            self.held());
      },
      py::arg("steps"), py::arg("batch"), py::arg("positions"), py::arg("dropout"), py::arg("checkpoint"));
  type.def(
      "record",
      [](const PyModel& self, py::handle x, py::handle state, py::handle lengths, py::handle reset,
         bool batch_first, bool return_cells, py::handle batch_sizes, double dropout, std::uint64_t seed,
         std::int64_t checkpoint) {
        const CallArgs given{x, state, lengths, reset, batch_first, batch_sizes};
        const TrainingArgs training{dropout, seed, checkpoint};
        return std::visit([&](const auto& model) { return record(*model, given, return_cells, training); },
                          self.held());
      },
      py::arg("x"), py::arg("state"), py::arg("lengths"), py::arg("reset"), py::arg("batch_first"),
      py::arg("return_cells"), py::arg("batch_sizes"), py::arg("dropout"), py::arg("seed"),
      py::arg("checkpoint"));
  type.def(
      "backward",
      [](const PyModel& self, py::handle tape, py::handle x, py::handle state, py::handle lengths,
         py::handle reset, bool batch_first, py::handle batch_sizes, double dropout, std::uint64_t seed,
         std::int64_t checkpoint, py::handle y, py::handle d_y, py::handle d_h, py::handle d_c,
         py::handle d_cells, bool input_gradient, py::handle accumulate) {
        const CallArgs given{x, state, lengths, reset, batch_first, batch_sizes};
        const TrainingArgs training{dropout, seed, checkpoint};
        const Derivatives derivatives{y, d_y, d_h, d_c, d_cells, input_gradient, accumulate};
        return std::visit(
            [&](const auto& model) { return backward(*model, tape, given, training, derivatives); },
            self.held());
      },
      py::arg("tape"), py::arg("x"), py::arg("state"), py::arg("lengths"), py::arg("reset"),
      py::arg("batch_first"), py::arg("batch_sizes"), py::arg("dropout"), py::arg("seed"),
      py::arg("checkpoint"), py::arg("y"), py::arg("d_y"), py::arg("d_h"), py::arg("d_c"), py::arg("d_cells"),
      py::arg("input_gradient"), py::arg("accumulate"));
}

}  // namespace cellgate::python
