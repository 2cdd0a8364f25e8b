// Recording a call, and its gradients.
#include <algorithm>
#include <tuple>

#include "../core/bptt.hpp"
#include "call.hpp"
#include "model.hpp"
#include "parameters.hpp"

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

template <class S>
std::int64_t tape_size(const Model<S>& model, std::int64_t steps, std::int64_t batch, std::int64_t positions,
                       bool dropout, std::int64_t checkpoint) {
  const TrainingArgs given{dropout ? 0.5 : 0.0, 0, checkpoint};
  for (const auto& [name, value] : {std::pair{"steps", steps}, {"batch", batch}, {"positions", positions}}) {
    if (value < 0) bad_value(name, "must be at least 0", std::to_string(value));
  }
  const double rows =
      static_cast<double>(positions) + static_cast<double>(batch) * (1 + static_cast<double>(steps));
  const double widths =
      static_cast<double>(model.config().num_layers) * 12 * static_cast<double>(model.padded_hidden());
  if (rows * widths > 1e18) throw std::bad_alloc();
  return Tape<S>(model, batch, steps, positions, given.checked(steps), nullptr).size();
}

template <class S>
py::tuple record(const Model<S>& model, const CallArgs& given, bool return_cells,
                 const TrainingArgs& training) {
  Call<S> call(model.config(), given);
  call.make_outputs(return_cells);
  ForwardArgs<S>& args = call.args();
  args.training = training.checked(args.steps);
  py::array tape = aligned_array<S>(
      Tape<S>(model, args.batch, args.steps, call.valid(), args.training, nullptr).size() + 1);
  args.tape = mutable_data<S>(tape);
  args.tape[tape.size() - 1] = 0;  // one more than needed, so that there is an array in any case
  {
    const py::gil_scoped_release release;
    Scratch scratch;
    cellgate::forward(model, args, scratch);
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
      config, [&](const std::string& name, const Shape& shape, auto member, std::size_t index) {
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

struct Gradients {
  py::handle y, d_y, d_h, d_c, d_cells;
  bool input;
  py::handle accumulate;
};

template <class S>
py::tuple backward(const Model<S>& model, py::handle tape_given, const CallArgs& given,
                   const TrainingArgs& training, const Gradients& gradients) {
  const Config& config = model.config();
  Call<S> call(config, given);
  ForwardArgs<S>& forward = call.args();
  forward.training = training.checked(forward.steps);
  const Shape y_shape = call.laid_out(config.directions() * config.output_size()),
              h_shape = call.state_shape(config.output_size()),
              c_shape = call.state_shape(config.hidden_size);
  const std::int64_t size =
      Tape<S>(model, forward.batch, forward.steps, call.valid(), forward.training, nullptr).size() + 1;
  const py::array tape = as_floats_of<S>(tape_given, "tape", {size}, true);
  forward.tape = const_cast<S*>(data<S>(tape));
  const py::array y = as_floats_of<S>(gradients.y, "y", y_shape, false);
  forward.y = call.plane(y, const_cast<S*>(data<S>(y)));

  BackwardArgs<S> args;
  args.forward = &forward;
  py::array d_y = no_array(), d_cells = no_array(), d_h = no_array(), d_c = no_array();
  if (!gradients.d_y.is_none()) {
    d_y = as_floats_of<S>(gradients.d_y, "d_output", y_shape, false);
    args.d_y = call.plane(d_y, data<S>(d_y));
  }
  if (!gradients.d_cells.is_none()) {
    const Shape shape = call.laid_out(config.directions() * config.hidden_size);
    d_cells = as_floats_of<S>(gradients.d_cells, "d_cells", shape, false);
    args.d_cells = call.plane(d_cells, data<S>(d_cells));
  }
  if (!gradients.d_h.is_none()) {
    d_h = as_floats_of<S>(gradients.d_h, "d_state: h", h_shape, true);
    args.d_h_n = data<S>(d_h);
  }
  if (!gradients.d_c.is_none()) {
    d_c = as_floats_of<S>(gradients.d_c, "d_state: c", c_shape, true);
    args.d_c_n = data<S>(d_c);
  }
  py::dict parameters = gradient_arrays<S>(config, gradients.accumulate, args.parameters);
  args.accumulate = !gradients.accumulate.is_none();
  py::array d_h0 = new_array<S>(h_shape), d_c0 = new_array<S>(c_shape), d_x = no_array();
  args.d_h0 = mutable_data<S>(d_h0);
  args.d_c0 = mutable_data<S>(d_c0);
  if (gradients.input) {
    d_x = new_array<S>(call.laid_out(config.input_size));
    args.d_x = call.plane(d_x, mutable_data<S>(d_x));
  }
  {
    const py::gil_scoped_release release;
    Scratch scratch;
    cellgate::backward(model, args, scratch);
  }
  py::object d_input = gradients.input ? py::object(std::move(d_x)) : py::none();
  return py::make_tuple(std::move(d_input), py::make_tuple(std::move(d_h0), std::move(d_c0)),
                        std::move(parameters));
}

}  // namespace

void register_training(py::class_<PyModel, std::shared_ptr<PyModel>>& type) {
  type.def(
      "tape_size",
      [](const PyModel& self, std::int64_t steps, std::int64_t batch, std::int64_t positions, bool dropout,
         std::int64_t checkpoint) {
        return std::visit(
            [&](const auto& model) {
              return 1 + tape_size(*model, steps, batch, positions, dropout, checkpoint);
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
        const Gradients gradients{y, d_y, d_h, d_c, d_cells, input_gradient, accumulate};
        return std::visit(
            [&](const auto& model) { return backward(*model, tape, given, training, gradients); },
            self.held());
      },
      py::arg("tape"), py::arg("x"), py::arg("state"), py::arg("lengths"), py::arg("reset"),
      py::arg("batch_first"), py::arg("batch_sizes"), py::arg("dropout"), py::arg("seed"),
      py::arg("checkpoint"), py::arg("y"), py::arg("d_y"), py::arg("d_h"), py::arg("d_c"), py::arg("d_cells"),
      py::arg("input_gradient"), py::arg("accumulate"));
}

}  // namespace cellgate::python
