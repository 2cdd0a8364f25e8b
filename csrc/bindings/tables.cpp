// What follows from a configuration alone: options, names and shapes of parameters, counts, the layout of a
// tape. Called by config.py and torch/_kernels.py.
#include "bindings/tables.hpp"

#include <cstring>

#include "kernels/dispatch.hpp"
#include "run/tape.hpp"

namespace cellgate::python {
namespace {

// (name, type, standard value, least) of every option; the standard value is None where there is none.
py::tuple option_table() {
  py::list rows;
  const Config standard;
  for_each_option(standard, [&](const OptionInfo& option, auto value, auto least) {
    const py::handle type(
        reinterpret_cast<PyObject*>(std::is_same_v<decltype(value), bool> ? &PyBool_Type : &PyLong_Type));
    const py::object fallback = option.given == Given::kAlways ? py::none() : py::cast(value);
    rows.append(py::make_tuple(option.name, type, fallback, least));
  });
  return py::tuple(rows);
}

py::list parameter_shapes(const py::dict& options) {
  const Config config = config_of(options);
  validate(config, sizeof(float));  // before as many names are spelled out
  py::list rows;
  for_each_parameter<LayerWeights<float>>(
      config, [&](const std::string& name, const ParameterShape<std::int64_t>& shape, auto, std::size_t) {
        py::tuple sizes(shape.rank);
        for (int axis = 0; axis < shape.rank; ++axis)
          sizes[static_cast<std::size_t>(axis)] = shape.sizes[axis];
        rows.append(py::make_tuple(name, std::move(sizes)));
      });
  return rows;
}

py::tuple totals(const py::dict& options) {
  const ParameterTotals found = parameter_totals(config_of(options));
  return py::make_tuple(found.arrays, found.elements, found.padded, found.largest);
}

template <class S>
py::tuple layout_of(const Config& config, const Training& training) {
  const std::int64_t lanes = cellgate::kernels<S>(kernel_table_for(config.hidden_size, sizeof(S))).lanes;
  const TapeLayout layout(config, config.padded_hidden(lanes), training);
  py::list parts;
  for (const TapePart& part : {layout.gates, layout.cells, layout.planes})
    parts.append(py::make_tuple(part.count, part.per_valid, part.per_batch));
  return py::make_tuple(layout.kSpare, Tape<S>::kLine, py::tuple(parts));
}

py::tuple tape_layout(const py::dict& options, const std::string& dtype, bool dropout) {
  const Config config = config_of(options);
  Training training;
  training.dropout = dropout;
  return dtype == scalar_name(sizeof(double)) ? layout_of<double>(config, training)
                                              : layout_of<float>(config, training);
}

// Compares the bytes at addresses with those at others. The GIL is kept, so that no other thread of Python's
// can free or move either while they are read.
bool same_bytes(const py::list& addresses, const py::list& copies) {
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const auto copy = copies[i].cast<std::pair<std::uintptr_t, std::size_t>>();
    if (std::memcmp(reinterpret_cast<const void*>(addresses[i].cast<std::uintptr_t>()),
                    reinterpret_cast<const void*>(copy.first), copy.second) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

Config config_of(const py::dict& options) {
  Config config;
  std::size_t known = 0;
  for_each_option(config, [&](const OptionInfo& option, auto& member, auto) {
    if (options.contains(option.name)) {
      using Value = std::decay_t<decltype(member)>;
      const std::string title = std::string("options: ") + option.name;
      member = scalar<Value>(options[option.name], title.c_str(),
                             std::is_same_v<Value, bool> ? "must be a bool" : "must be an int64");
      ++known;
    } else if (option.given == Given::kAlways) {
      throw std::invalid_argument(std::string("options: ") + option.name + " is missing");
    }
  });
  if (known != options.size()) throw std::invalid_argument("options: there are unknown ones");
  return config;
}

py::dict dict_of(const Config& config) {
  py::dict options;
  for_each_option(config, [&](const OptionInfo& option, auto value, auto) { options[option.name] = value; });
  return options;
}

void register_tables(py::module_& module) {
  module.def("option_table", &option_table);
  module.def("parameter_shapes", &parameter_shapes, py::arg("options"));
  module.def("parameter_totals", &totals, py::arg("options"));
  module.def("tape_layout", &tape_layout, py::arg("options"), py::arg("dtype"), py::arg("dropout"));
  module.def("same_bytes", &same_bytes, py::arg("addresses"), py::arg("copies"));
}

}  // namespace cellgate::python
