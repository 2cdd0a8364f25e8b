// cellgate.hpp: what it adds to the C functions. Those have tests of their own.
#include <cellgate/cellgate.hpp>

#include <array>
#include <type_traits>

#include "common.hpp"

namespace {

using cellgate::Model;
using cellgate::Pool;
using cellgate::Stream;

template <class T>
constexpr bool kMovesOnly = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(kMovesOnly<Model> && kMovesOnly<Stream> && kMovesOnly<Pool>);
static_assert(noexcept(std::declval<Stream&>().process(cellgate::Span<const float>(),
                                                       cellgate::Span<float>())));
static_assert(noexcept(Model::try_load("x")));

template <class F>
cg_status thrown(const char* message, const F& f) {
  try {
    f();
  } catch (const cellgate::Error& error) {
    CHECK(std::strstr(error.what(), message), "'%s'", error.what());
    return error.code();
  }
  return CG_OK;
}

void check_errors() {
  CHECK(thrown("/no/such", [] { Model::load("/no/such"); }) == CG_UNREADABLE, "load");
  CHECK(thrown("data: ", [] { Model::load_memory("x", 1); }) == CG_UNSUPPORTED, "load_memory");
  CHECK(thrown("input_size", [] { Model::create(cellgate::description()); }) == CG_INVALID_ARGUMENT,
        "create");
  CHECK(thrown("threads", [] { Pool pool(0); }) == CG_INVALID_ARGUMENT, "pool");
  cg_error error;
  CHECK(!Model::try_load("/no/such", cellgate::options(), &error) && error.code == CG_UNREADABLE, "try_load");
  CHECK(!Model::try_load("/no/such") && !Model::try_load_memory("x", 1) &&
            !Model::try_create(cellgate::description()),
        "try");
}

template <class S>
void check_model() {
  const test::Described<S> described({2, 9, 1, 0, false, 2});
  Model model = Model::create(described.description);
  const Model other = model.share();
  CHECK(other.get() == model.get(), "share");
  CHECK(model.info().output_size == 2 && model.metadata().size() == 2, "info");
  CHECK(!std::strcmp(model.metadata("name"), "a name") && !model.metadata("other"), "metadata");
  CHECK(thrown("self-test", [&] { other.selftest(); }) == CG_ABSENT, "selftest");

  std::vector<S> x = test::Random(3).numbers<S>(20), whole(20), split(20);
  auto arguments = test::run_arguments<S>(10, 1, x.data(), whole.data());
  Pool pool(2);
  arguments.pool = pool.get();
  model.run(arguments);
  CHECK(model.try_run(arguments) == CG_OK, "try_run");
  arguments.steps = -1;
  CHECK(thrown("steps", [&] { model.run(arguments); }) == CG_INVALID_ARGUMENT, "run");

  Stream made(model);
  model = Model::create(described.description);  // the stream keeps what it has
  Stream stream = std::move(made);
  std::array<S, 2> first{x[0], x[1]}, answer{};
  CHECK(stream.process(first, answer) == CG_OK && answer[0] == whole[0], "arrays");
  CHECK(stream.process({x.data() + 2, 18}, {split.data() + 2, 18}) == CG_OK, "pointers");
  CHECK(std::memcmp(split.data() + 2, whole.data() + 2, 18 * sizeof(S)) == 0, "bits");
  cg_error error;
  CHECK(stream.process({x.data(), 3}, {split.data(), 2}, &error) == CG_INVALID_ARGUMENT &&
            std::strstr(error.message, "in, out: must have"),
        "sizes");
  std::vector<S> state(stream.state_count());
  CHECK(stream.get_state(state) == CG_OK && stream.set_state(state) == CG_OK, "state");
  CHECK(stream.reset() == CG_OK && stream.process(x, split) == CG_OK && split == whole, "reset");
  CHECK(made.process(x, split) == CG_INVALID_ARGUMENT, "a moved-from stream");  // NOLINT
  CHECK(Stream::try_create(model), "try_create");
}

}  // namespace

int main() {
  check_errors();
  check_model<float>();
  check_model<double>();
  CHECK(std::strlen(cellgate::active_isa()) > 0, "isa");
  std::puts("C++: passed");
}
