// The model as Python holds it: one of two scalar types. Used by the other bindings.
#pragma once

#include <memory>
#include <variant>

#include "bindings/convert.hpp"
#include "bindings/method.hpp"
#include "model/packed_weights.hpp"

namespace cellgate::python {

template <class S>
using SharedModel = std::shared_ptr<const Model<S>>;

// pybind11 makes room for an object whose __init__ never ran (cls.__new__(cls)) with the operator
// new of the registered class. Objects of ours are made by make_shared and make_unique instead, so
// that this one can refuse: a method would run on memory in which no object was constructed.
struct MustBeInitialised {
  static void* operator new(std::size_t) { refuse_uninitialised(); }
  static void* operator new(std::size_t, void* at) { return at; }
  static void operator delete(void*) {}
};

class PyModel : public MustBeInitialised {
 public:
  PyModel(const py::dict& options, const std::string& dtype, const py::dict& parameters);
  template <class S>
  explicit PyModel(SharedModel<S> model) : model_(std::move(model)) {}

  py::dict parameters() const;
  py::tuple forward(py::handle call, py::handle return_cells) const;

  const std::variant<SharedModel<float>, SharedModel<double>>& held() const { return model_; }

 private:
  std::variant<SharedModel<float>, SharedModel<double>> model_;
};

void register_model(py::module_& module);
// Adds what training needs to the type Model.
void register_training(py::class_<PyModel, std::shared_ptr<PyModel>>& type);
void register_stream(py::module_& module);

}  // namespace cellgate::python
