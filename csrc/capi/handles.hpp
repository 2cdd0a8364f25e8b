// What the opaque pointers point to. Used by capi only.
#pragma once

#include <atomic>
#include <variant>

#include "capi/error.hpp"
#include "memory/scratch.hpp"
#include "model/packed_network.hpp"
#include "run/frames.hpp"
#if !defined(CELLGATE_NO_THREADS)
#include "threads/pool.hpp"
#endif

struct cg_model {
  // With the caller's allocator, or null functions. First, for all below may have memory from it.
  const cellgate::MemorySource given;
  std::atomic<std::size_t> references{1};
  const char* isa = nullptr;
  std::variant<std::monostate, cellgate::Network<float>, cellgate::Network<double>> network;

  // Working memory of cg_run from one call to the next: of the call that finds it free.
  mutable std::atomic<bool> scratch_taken{false};
  mutable cellgate::Scratch scratch;

  explicit cg_model(const cellgate::MemorySource& source) : given(source), scratch(memory()) {}
  const cellgate::MemorySource* memory() const { return given.allocate ? &given : nullptr; }

  template <class S>
  const cellgate::Network<S>* network_of() const {
    return std::get_if<cellgate::Network<S>>(&network);
  }
  // Calls f(network) and returns what it does.
  template <class F>
  auto visit(const F& f) const {
    if (const auto* narrow = network_of<float>()) return f(*narrow);
    return f(*network_of<double>());
  }
};

struct cg_stream {
  cg_model* model;
  std::size_t bytes;  // of its memory
  bool owns_memory;   // whether that goes with it
  std::size_t inputs, outputs;
  void *planar_in, *planar_out;  // [kChunk, I] and [kChunk, O] of the model's type
  std::variant<std::monostate, cellgate::Frames<float>, cellgate::Frames<double>> frames;
};

struct cg_pool {
#if !defined(CELLGATE_NO_THREADS)
  cellgate::Pool pool;
  explicit cg_pool(int threads) : pool(threads) {}
#endif
};

namespace cellgate::capi {

// Of a type's functions: "cg_run" of float, "cg_run_f64" of double.
template <class S>
constexpr const char* kTypeName = sizeof(S) == 4 ? "float32" : "float64";

// Memory of the caller's allocator or, without one, of the C library's.
void* allocate(const MemorySource* source, std::size_t bytes, std::size_t alignment) noexcept;
void release(const MemorySource* source, void* memory, std::size_t bytes) noexcept;

}  // namespace cellgate::capi
