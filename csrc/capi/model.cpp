// Models: options, references, and what can be asked of one.
#include "capi/model.hpp"

#include <cstdlib>
#include <memory>

#include "capi/structs.hpp"
#include "run/self_test.hpp"

namespace cellgate::capi {

cg_model_options read_options(const cg_model_options* given) {
  cg_model_options options{};
  if (given) copy_struct(given, given->struct_size, "options", &options);
  if (options.flags & ~static_cast<std::uint32_t>(CG_BORROW | CG_ALLOW_NONFINITE)) {
    throw Failure(CG_UNSUPPORTED, "options: flags must be CG_BORROW and CG_ALLOW_NONFINITE only, got " +
                                      std::to_string(options.flags));
  }
  if (options.allocator && !(options.allocator->allocate && options.allocator->release)) {
    throw Failure(CG_INVALID_ARGUMENT, "options: allocator must have both functions, got NULL");
  }
  return options;
}

const KernelTable& table_of(const cg_model_options& options, std::int64_t hidden_size, int scalar_bytes) {
  return options.isa ? kernel_table(options.isa) : kernel_table_for(hidden_size, scalar_bytes);
}

void* allocate(const MemorySource* source, std::size_t bytes, std::size_t alignment) noexcept {
  if (source) return source->allocate(source->context, bytes, alignment);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void release(const MemorySource* source, void* memory, std::size_t bytes) noexcept {
  source ? source->release(source->context, memory, bytes) : std::free(memory);
}

namespace {

void destroy(cg_model* model) noexcept {
  const MemorySource given = model->given;
  model->~cg_model();
  release(given.allocate ? &given : nullptr, model, sizeof(cg_model));
}

}  // namespace

template <class S>
cg_model* make_model(const NetworkDescription<S>& network, const cg_model_options& options) {
  const KernelTable& table = table_of(options, network.config.hidden_size, sizeof(S));
  MemorySource source{};
  if (options.allocator) {
    source = {options.allocator->context, options.allocator->allocate, options.allocator->release};
  }
  void* memory = allocate(source.allocate ? &source : nullptr, sizeof(cg_model), kAlignment);
  if (!memory) throw std::bad_alloc();
  std::unique_ptr<cg_model, decltype(&destroy)> model(new (memory) cg_model(source), destroy);
  model->isa = table.name;
  model->network.emplace<Network<S>>(network, table, model->memory());
  return model.release();
}

template cg_model* make_model(const NetworkDescription<float>&, const cg_model_options&);
template cg_model* make_model(const NetworkDescription<double>&, const cg_model_options&);

namespace {

constexpr const char* kNoModel = "model: must be a model, got NULL";

template <class S>
cg_info info_of(const Network<S>& network) {
  const Config& config = network.config();
  const NetworkParts<S>& parts = network.parts();
  cg_info info{};
  info.input_size = config.input_size;
  info.output_size = network.output_size();
  info.hidden_size = config.hidden_size;
  info.num_layers = config.num_layers;
  info.proj_size = config.proj_size;
  info.directions = config.directions();
  info.dtype = sizeof(S) == 4 ? CG_FLOAT32 : CG_FLOAT64;
  info.bias = config.bias;
  info.has_head = network.has_head();
  info.activation = network.has_head() ? static_cast<cg_activation>(parts.head->activation) : CG_LINEAR;
  info.pooling = static_cast<cg_pooling>(parts.pooling);
  info.has_initial_state = network.initial_h() != nullptr;
  info.skip = parts.skip;
  info.input_gain = parts.input_gain;
  info.output_gain = parts.output_gain;
  info.sample_rate = parts.sample_rate.value_or(0.0);
  info.selftest_steps = parts.self_test ? parts.self_test->steps : 0;
  info.metadata_count = parts.metadata.size();
  return info;
}

}  // namespace
}  // namespace cellgate::capi

using namespace cellgate::capi;

extern "C" {

cg_model* cg_model_retain(cg_model* model) noexcept {
  if (model) model->references.fetch_add(1, std::memory_order_relaxed);
  return model;
}

void cg_model_release(cg_model* model) noexcept {
  if (model && model->references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(model);
}

cg_status cg_model_get_info(const cg_model* model, cg_info* info, cg_error* error) noexcept {
  if (!model) return fail_null(error, kNoModel);
  if (!info) return fail_null(error, "info: must be a cg_info, got NULL");
  const std::size_t size = info->struct_size;
  if (size < sizeof(std::size_t)) return fail_null(error, "info: struct_size must be sizeof(cg_info)");
  cg_info full = model->visit([](const auto& network) { return info_of(network); });
  full.struct_size = size;
  full.isa = model->isa;
  std::memset(static_cast<void*>(info), 0, size);
  std::memcpy(static_cast<void*>(info), &full, std::min(size, sizeof full));
  return CG_OK;
}

cg_status cg_model_metadata(const cg_model* model, const char* key, const char** value,
                            cg_error* error) noexcept {
  if (!value) return fail_null(error, "value: must be a pointer, got NULL");
  *value = nullptr;
  if (!model) return fail_null(error, kNoModel);
  if (!key) return fail_null(error, "key: must be a string, got NULL");
  *value = model->visit([&](const auto& network) -> const char* {
    for (const auto& [name, text] : network.parts().metadata) {
      if (name == key) return text.c_str();
    }
    return nullptr;
  });
  return *value ? CG_OK : fail(error, CG_ABSENT, "key: must be one that the file has, got another one");
}

cg_status cg_model_metadata_at(const cg_model* model, std::size_t index, const char** key, const char** value,
                               cg_error* error) noexcept {
  if (!key || !value) return fail_null(error, "key, value: must be pointers, got NULL");
  *key = *value = nullptr;
  if (!model) return fail_null(error, kNoModel);
  model->visit([&](const auto& network) {
    const auto& all = network.parts().metadata;
    if (index >= all.size()) return;
    const auto entry = std::next(all.begin(), static_cast<std::ptrdiff_t>(index));
    *key = entry->first.c_str();
    *value = entry->second.c_str();
  });
  return *key ? CG_OK : fail(error, CG_ABSENT, "index: must be below metadata_count, got one that is not");
}

cg_status cg_model_selftest(const cg_model* model, double* largest_difference, cg_error* error) noexcept {
  if (!model) return fail_null(error, kNoModel);
  if (!largest_difference) return fail_null(error, "largest_difference: must be a pointer, got NULL");
  return guarded(error, [&] {
    model->visit([&](const auto& network) {
      if (!network.parts().self_test)
        throw Failure(CG_ABSENT, "model: must have a self-test, got one without");
      *largest_difference = cellgate::self_test_difference(network);
    });
  });
}

}  // extern "C"
