// Checks of arguments without Python: what is accepted, and the exact words for what is not.
#include "run/check.hpp"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "check.hpp"
#include "model_cases.hpp"
#include "run/check_network.hpp"

namespace {

using cellgate::ArrayView;
using cellgate::CallViews;
using cellgate::Kind;
using Sizes = std::vector<std::ptrdiff_t>;

// A view that owns its shape and strides; contiguous float32 unless told otherwise.
struct Array : ArrayView {
  Array(const char* argument, Sizes sizes, Kind type = Kind::kFloat, int bytes = 4)
      : sizes_(std::move(sizes)), strides_(sizes_.size()) {
    std::ptrdiff_t stride = bytes;
    for (std::size_t axis = sizes_.size(); axis-- > 0;) {
      strides_[axis] = stride;
      stride *= sizes_[axis] > 0 && sizes_[axis] < (1 << 20) ? sizes_[axis] : 1;
    }
    alignas(64) static char somewhere[1 << 16];
    name = argument;
    data = somewhere;
    shape = sizes_.data();
    strides = strides_.data();
    rank = static_cast<int>(sizes_.size());
    kind = type;
    itemsize = bytes;
    writable = true;
  }
  Array(const Array&) = delete;

  Array& with_strides(const Sizes& bytes) {
    strides_ = bytes;
    strides = strides_.data();
    return *this;
  }
  template <class T>
  Array& with(const std::vector<T>& values) {
    data = values.data();
    return *this;
  }

 private:
  Sizes sizes_, strides_;
};

enum class Error { kNone, kType, kValue, kMemory };

void check(const std::function<void()>& call, Error wanted, const std::string& message = "") {
  Error got = Error::kNone;
  std::string text;
  try {
    call();
  } catch (const cellgate::WrongType& error) {
    got = Error::kType;
    text = error.what();
  } catch (const std::invalid_argument& error) {
    got = Error::kValue;
    text = error.what();
  } catch (const std::bad_alloc& error) {
    got = Error::kMemory;
    text = error.what();
  }
  CHECK(got == wanted && text == message, "wanted \"%s\" (%d), got \"%s\" (%d)", message.c_str(),
        static_cast<int>(wanted), text.c_str(), static_cast<int>(got));
}

cellgate::Config config(bool bidirectional = true) {
  cellgate::Config c;
  c.input_size = 5;
  c.hidden_size = 7;
  c.num_layers = 2;
  c.bidirectional = bidirectional;
  return c;
}

void test_one_array() {
  const auto floats = [](const ArrayView& view, int bytes) {
    return [&view, bytes] { cellgate::require_floats(view, bytes); };
  };
  check(floats(Array("x", {3}, Kind::kFloat, 2), 4), Error::kNone);
  check(floats(Array("x", {3}, Kind::kFloat, 4), 8), Error::kNone);
  check(floats(Array("x", {3}, Kind::kFloat, 8), 4), Error::kType,
        "x: dtype must be float32 or a narrower float, got float64");
  check(floats(Array("y", {3}, Kind::kUnsigned, 2), 8), Error::kType,
        "y: dtype must be float64 or a narrower float, got uint16");
  check(floats(Array("y", {3}, Kind::kOther, 0), 8), Error::kType,
        "y: dtype must be float64 or a narrower float, got another type");
  Array named("x", {3}, Kind::kSigned, 4);
  const std::string type = "a kind of its own";
  named.owner = &type;
  named.type_text = [](const void* owner) { return *static_cast<const std::string*>(owner); };
  check(floats(named, 4), Error::kType,
        "x: dtype must be float32 or a narrower float, got a kind of its own");

  const auto shaped = [](const Array& array) {
    return [&array] { cellgate::require_floats(array, 4, {2, 3}); };
  };
  check(shaped(Array("x", {2, 3})), Error::kNone);
  check(shaped(Array("x", {3, 2})), Error::kValue, "x: must have shape (2, 3), got shape (3, 2)");
  check(shaped(Array("x", {2})), Error::kValue, "x: must have shape (2, 3), got shape (2,)");
  check(shaped(Array("x", {})), Error::kValue, "x: must have shape (2, 3), got shape ()");
  check(shaped(Array("x", {2, 3, 1})), Error::kValue, "x: must have shape (2, 3), got shape (2, 3, 1)");
}

void test_what_can_be_read_in_place() {
  const auto readable = [](const ArrayView& view) { return cellgate::is_readable(view, 4); };
  CHECK(readable(Array("x", {2, 3})), "contiguous");
  CHECK(readable(Array("x", {2, 3}).with_strides({-40, 4})), "rows backwards");
  CHECK(readable(Array("x", {2, 3}).with_strides({0, 4})), "one row twice");
  CHECK(readable(Array("x", {2, 1}).with_strides({8, 999})), "the stride of one element does not matter");
  CHECK(readable(Array("x", {0, 3}).with_strides({7, 12})), "no elements");
  CHECK(!readable(Array("x", {2, 3}).with_strides({12, 8})), "every second element");
  CHECK(!readable(Array("x", {2, 3}).with_strides({13, 4})), "rows that are not aligned");
  CHECK(!readable(Array("x", {2, 3}, Kind::kFloat, 2)), "another width");
  Array foreign("x", {2, 3});
  foreign.native = false;
  CHECK(!readable(foreign), "foreign byte order");
  Array odd("x", {2, 3});
  odd.data = static_cast<const char*>(odd.data) + 2;
  CHECK(!readable(odd), "an odd address");

  CHECK(cellgate::is_contiguous(Array("x", {2, 1, 3}).with_strides({12, 5, 4})), "an axis of one");
  CHECK(!cellgate::is_contiguous(Array("x", {2, 1, 3}).with_strides({16, 5, 4})), "a gap");
  CHECK(cellgate::is_contiguous(Array("x", {2, 0, 3}).with_strides({1, 1, 1})), "no elements");
}

void test_overlaps() {
  const auto overlaps = [](const Sizes& shape, const Sizes& strides) {
    return cellgate::overlaps_itself(Array("out", shape).with_strides(strides));
  };
  CHECK(!overlaps({2, 3}, {12, 4}), "contiguous");
  CHECK(!overlaps({3, 2}, {4, 12}), "transposed");
  CHECK(!overlaps({2, 3}, {-12, 4}), "backwards");
  CHECK(overlaps({2, 3}, {8, 4}), "rows that overlap by one element");
  CHECK(overlaps({2, 3}, {-8, 4}), "the same backwards");
  CHECK(overlaps({30, 2, 8}, {0, 0, 4}), "one row");
  CHECK(overlaps({2, 2, 2}, {16, 16, 4}), "two equal strides");
  CHECK(!overlaps({2, 0, 2}, {0, 0, 0}), "no elements");
  CHECK(!overlaps({1, 1, 2}, {0, 0, 4}), "axes of one");

  Array a("a", {2, 3}), b("b", {2, 3});
  const auto place = [](Array& array, std::ptrdiff_t offset) {
    array.data = static_cast<const char*>(Array("", {}).data) + 1000 + offset;
  };
  for (const std::ptrdiff_t offset : {-24, 24, -23, 23, 0}) {
    place(a, 0);
    place(b, offset);
    const bool apart = offset == -24 || offset == 24;
    CHECK(cellgate::may_share_memory(a, b) == !apart, "at %d", static_cast<int>(offset));
  }
  a.with_strides({-12, 4});  // from 12 bytes before to 12 after its first element
  place(b, -24 - 12);
  CHECK(!cellgate::may_share_memory(a, b), "just before");
  place(b, -24 - 11);
  CHECK(cellgate::may_share_memory(a, b), "one byte");
  Array none("none", {0, 3});
  place(none, 0);
  CHECK(!cellgate::may_share_memory(a, none) && !cellgate::may_share_memory(none, a), "no elements");
}

void test_outputs() {
  const auto output = [](const ArrayView& view) {
    return [&view] { cellgate::require_contiguous_output(view, 4, {2, 3}); };
  };
  check(output(Array("out", {2, 3})), Error::kNone);
  check(output(Array("out", {2, 3}, Kind::kFloat, 8)), Error::kType,
        "out: must be an array of float32, got float64");
  check(output(Array("out", {2, 4})), Error::kValue, "out: must have shape (2, 3), got shape (2, 4)");
  Array constant("out", {2, 3});
  constant.writable = false;
  check(output(constant), Error::kValue, "out: must be writable, got a read-only array");
  check(output(Array("out", {2, 3}).with_strides({12, 8})), Error::kValue,
        "out: must be aligned with a contiguous last axis, got strides that are not");
  check(output(Array("out", {2, 3}).with_strides({8, 4})), Error::kValue,
        "out: must not overlap itself, got strides that make it");
  check(output(Array("out", {2, 3}).with_strides({16, 4})), Error::kValue,
        "out: must be contiguous in the order of C, got strides that are not");
}

// Every integer type reads the same values.
template <class T>
void test_integers(Kind kind) {
  const std::vector<T> values = {6, 0, 3, 1, 2, 5};
  Array lengths("lengths", {3}, kind, sizeof(T));
  lengths.with(values).with_strides({2 * sizeof(T)});  // 6, 3, 2
  const Array x("x", {6, 3, 5});
  CallViews views;
  views.x = &x;
  views.lengths = &lengths;
  const cellgate::CheckedCall call = cellgate::check_call(config(), 4, views);
  CHECK((call.lengths == std::vector<std::int64_t>{6, 3, 2}), "%d bytes", static_cast<int>(sizeof(T)));
  CHECK(call.layout.valid == 11, "%d", static_cast<int>(call.layout.valid));

  std::vector<T> swapped = values;
  for (T& value : swapped) {
    auto* bytes = reinterpret_cast<unsigned char*>(&value);
    std::reverse(bytes, bytes + sizeof value);
  }
  lengths.with(swapped).native = false;
  CHECK(cellgate::check_call(config(), 4, views).lengths == call.lengths, "foreign byte order");

  const std::vector<T> bad = {1, static_cast<T>(-1), 2};
  lengths.with(bad).with_strides({sizeof(T)}).native = true;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kValue,
        "lengths: must be from 0 to 6, got " + std::to_string(static_cast<T>(-1)));
}

void test_calls() {
  const auto call = [](const Sizes& shape, bool batch_first = false) {
    return [shape, batch_first] {
      const Array x("x", shape);
      CallViews views;
      views.x = &x;
      views.batch_first = batch_first;
      cellgate::check_call(config(), 4, views);
    };
  };
  check(call({6, 3, 5}), Error::kNone);
  check(call({0, 3, 5}), Error::kNone);
  check(call({6, 0, 5}), Error::kNone);
  check(call({6, 5}), Error::kNone);
  check(call({7, 3, 4}), Error::kValue, "x: last axis must be 5, got shape (7, 3, 4)");
  check(call({5}), Error::kValue, "x: must be (T, I) or (T, B, I), got shape (5,)");
  check(call({5}, true), Error::kValue, "x: must be (T, I) or (B, T, I), got shape (5,)");
  check(call({1, 1, 1, 5}), Error::kValue, "x: must be (T, I) or (T, B, I), got shape (1, 1, 1, 5)");
  // Shapes of arrays that repeat one value may be anything.
  constexpr std::ptrdiff_t huge = std::ptrdiff_t{1} << 40;
  check(call({huge, huge, 4}), Error::kValue,
        "x: last axis must be 5, got shape (1099511627776, 1099511627776, 4)");
  check(call({huge, huge, 5}), Error::kMemory,
        "x: the results for shape (1099511627776, 1099511627776, 5) would need 6.77e+25 bytes, which no "
        "machine has");
  check(call({0, std::ptrdiff_t{1} << 62, 5}), Error::kMemory,
        "x: the results for shape (0, 4611686018427387904, 5) would need 5.17e+20 bytes, which no machine "
        "has");

  const Array x("x", {3, 6, 5}), h("state: h", {4, 3, 7}), c("state: c", {4, 3, 6}),
      reset("reset", {6, 3}, Kind::kBool, 1);
  CallViews views;
  views.x = &x;
  views.batch_first = true;
  views.h0 = &h;
  views.c0 = &h;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kNone);
  views.c0 = &c;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kValue,
        "state: c: must have shape (4, 3, 7), got shape (4, 3, 6)");
  views.c0 = &h;
  views.reset = &reset;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kValue,
        "reset: must have shape (3, 6), got shape (6, 3)");
  const Array floats("reset", {3, 6});
  views.reset = &floats;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kType,
        "reset: dtype must be bool, got float32");

  const Array flags("reset", {3, 6}, Kind::kBool, 1);
  views.reset = &flags;
  const cellgate::CheckedCall checked = cellgate::check_call(config(), 4, views);
  const auto args = cellgate::forward_args<float>(checked, views);
  CHECK(args.steps == 6 && args.batch == 3 && args.x.step == 5 && args.x.row == 30, "batch_first");
  CHECK(args.reset_step == 1 && args.reset_row == 6 && !args.lengths && args.h0 == h.data, "batch_first");

  const Array alone("x", {6, 5}), one("lengths", {}, Kind::kSigned, 8);
  const std::vector<std::int64_t> four = {4};
  CallViews unbatched;
  unbatched.x = &alone;
  Array length("lengths", {}, Kind::kSigned, 8);
  length.with(four);
  unbatched.lengths = &length;
  CHECK(cellgate::check_call(config(), 4, unbatched).lengths == four, "a number for one sequence");
}

void test_batch_sizes() {
  const Array x("x", {6, 5}), cube("x", {6, 1, 5}), lengths("lengths", {3}, Kind::kSigned, 8);
  const auto call = [&](const std::vector<std::int64_t>& sizes) {
    return [&x, sizes] {
      Array given("batch_sizes", {static_cast<std::ptrdiff_t>(sizes.size())}, Kind::kSigned, 8);
      given.with(sizes);
      CallViews views;
      views.x = &x;
      views.batch_sizes = &given;
      const cellgate::CheckedCall checked = cellgate::check_call(config(), 4, views);
      CHECK((checked.lengths == std::vector<std::int64_t>{3, 2, 1}), "lengths");
      CHECK((checked.offsets == std::vector<std::int64_t>{0, 3, 5, 6}), "offsets");
      CHECK(checked.layout.valid == 6 && checked.layout.batch == 3 && checked.layout.steps == 3, "sizes");
    };
  };
  const std::string wanted = "batch_sizes: must be positive, not rise, and sum to the 6 rows of x, got ";
  check(call({3, 2, 1}), Error::kNone);
  check(call({2, 3, 1}), Error::kValue, wanted + "3 at step 1");
  check(call({3, 3, 0}), Error::kValue, wanted + "0 at step 2");
  check(call({std::int64_t{1} << 62, std::int64_t{1} << 62}), Error::kValue,
        wanted + "4611686018427387904 at step 0");
  check(call({1, 1, 1, 1, 1, 1, 1}), Error::kValue, wanted + "7 steps");
  check(call({3, 2}), Error::kValue, "batch_sizes: must sum to the 6 rows of x, got 5");
  check(call({}), Error::kValue, "batch_sizes: must sum to the 6 rows of x, got 0");

  const std::vector<std::int64_t> good = {3, 2, 1};
  Array sizes("batch_sizes", {3}, Kind::kSigned, 8);
  sizes.with(good);
  CallViews views;
  views.x = &cube;
  views.batch_sizes = &sizes;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kValue,
        "x: must be (N, I) with batch_sizes, got shape (6, 1, 5)");
  views.x = &x;
  views.lengths = &lengths;
  check([&] { cellgate::check_call(config(), 4, views); }, Error::kValue,
        "lengths: must be None with batch_sizes, got shape (3,)");
}

void test_training() {
  const auto training = [](double dropout, std::int64_t checkpoint) {
    return [=] { cellgate::check_training(dropout, 0, checkpoint, 10); };
  };
  check(training(1, 0), Error::kNone);
  check(training(1.5, 0), Error::kValue, "dropout: must be in [0, 1], got 1.500000");
  check(training(std::numeric_limits<double>::quiet_NaN(), 0), Error::kValue,
        "dropout: must be in [0, 1], got nan");
  check(training(0, -1), Error::kValue, "checkpoint: must be at least 0, got -1");
  CHECK(cellgate::check_training(0, 0, std::int64_t{1} << 62, 10).checkpoint == 10, "all steps");

  const auto model = test::make_model<float>(config(), 1, *cellgate::supported_kernel_tables()[0]);
  const auto size = [&](std::int64_t batch, std::int64_t steps, std::int64_t valid) {
    return [&model, batch, steps, valid] { cellgate::tape_size(model, batch, steps, valid, {}); };
  };
  check(size(0, 0, 0), Error::kNone);
  CHECK(cellgate::tape_size(model, 0, 0, 0, {}) == 1, "never empty");
  check(size(3, -1, 3), Error::kValue, "steps: must be at least 0, got -1");
  check(size(-1, 3, 3), Error::kValue, "batch: must be at least 0, got -1");
  check(size(3, 3, -1), Error::kValue, "positions: must be at least 0, got -1");
  bool refused = false;
  try {
    size(std::int64_t{1} << 40, std::int64_t{1} << 40, std::int64_t{1} << 62)();
  } catch (const cellgate::TooLarge& error) {
    refused = std::string(error.what()).find("tape: 1099511627776 steps of 1099511627776 sequences") == 0;
  }
  CHECK(refused, "a tape that no machine has");
}

void test_sums() {
  alignas(64) static float memory[100];
  Array a("accumulate: a", {10}), b("accumulate: b", {10}), y("y", {6, 3, 14}), tape("tape", {10});
  a.data = memory;
  cellgate::DerivativeViews read;
  read.y = &y;
  read.tape = &tape;
  const auto sums = [&](std::ptrdiff_t offset) {
    return [&, offset] {
      b.data = memory + offset;
      cellgate::check_sums({a, b}, 4, read);
    };
  };
  check(sums(10), Error::kNone);
  check(sums(9), Error::kValue, "accumulate: arrays must not share memory, got a and b");
  tape.data = memory + 25;
  check(sums(16), Error::kValue, "accumulate: b: must not share memory with tape, got an array that does");
  check(sums(15), Error::kNone);
  tape.native = false;  // read from a copy
  check(sums(16), Error::kNone);
}

void test_streams() {
  const cellgate::Config c = config(false);
  const auto step = [&](std::int64_t batch, const Sizes& shape) {
    return [&c, batch, shape] { cellgate::check_step(c, 4, batch, Array("x", shape)); };
  };
  check(step(3, {3, 5}), Error::kNone);
  check(step(1, {5}), Error::kNone);
  check(step(3, {5}), Error::kValue, "x: must have shape (3, 5), got shape (5,)");
  check(step(1, {2, 5}), Error::kValue, "x: must have shape (1, 5) or (5,), got shape (2, 5)");
  check(step(1, {}), Error::kValue, "x: must have shape (1, 5) or (5,), got shape ()");
  const auto run = [&](std::int64_t batch, bool batch_first, const Sizes& shape) {
    return
        [&c, batch, batch_first, shape] { cellgate::check_run(c, 4, batch, batch_first, Array("x", shape)); };
  };
  check(run(3, true, {3, 9, 5}), Error::kNone);
  check(run(3, false, {3, 9, 5}), Error::kValue, "x: must have shape (T, 3, 5), got shape (3, 9, 5)");
  check(run(1, true, {5}), Error::kValue, "x: must have shape (1, T, 5) or (T, 5), got shape (5,)");
  check([&] { cellgate::check_stream(c, 4, 0); }, Error::kValue, "batch_size: must be at least 1, got 0");
  check([] { cellgate::check_stream(config(), 4, 1); }, Error::kValue,
        "model: must not be bidirectional to stream");

  const auto rows = [](std::int64_t batch, const std::vector<std::int64_t>& values) {
    Array given("rows", {static_cast<std::ptrdiff_t>(values.size())}, Kind::kSigned, 8);
    return cellgate::check_rows(given.with(values), batch);
  };
  CHECK((rows(3, {2, 0}) == std::vector<std::int64_t>{2, 0}), "indices");
  check([&] { rows(3, {0, 3}); }, Error::kValue, "rows: must be from 0 to 2, got 3");
  check([&] { rows(1, {3}); }, Error::kValue, "rows: must be 0, got 3");
  const std::vector<unsigned char> bits = {1, 0, 1};
  Array flags("rows", {3}, Kind::kBool, 1);
  CHECK((cellgate::check_rows(flags.with(bits), 3) == std::vector<std::int64_t>{0, 2}), "flags");
  check([&] { cellgate::check_rows(flags, 4); }, Error::kValue, "rows: must have shape (4,), got shape (3,)");
  check([&] { cellgate::check_rows(Array("rows", {3}), 3); }, Error::kType,
        "rows: dtype must be bool or an integer, got float32");
}

void test_networks() {
  const cellgate::Config c = config(false);  // I 5, H 7, L 2
  using View = const ArrayView* cellgate::PartsViews::*;
  const auto parts = [&](View member, const Sizes& shape, Kind kind = Kind::kFloat, int bytes = 4) {
    return [&c, member, shape, kind, bytes] {
      const Array given("part", shape, kind, bytes);
      cellgate::PartsViews views;
      views.*member = &given;
      cellgate::check_parts(c, 4, views);
    };
  };
  using Parts = cellgate::PartsViews;
  const std::int64_t width = c.output_size();
  check(parts(&Parts::head_weight, {3, width}), Error::kNone);
  check(parts(&Parts::head_weight, {0, width}), Error::kValue,
        "part: must have shape (O, " + std::to_string(width) + ") with O of at least 1, got shape (0, " +
            std::to_string(width) + ")");
  check(parts(&Parts::head_weight, {3, width}, Kind::kFloat, 8), Error::kType,
        "part: dtype must be float32 or a narrower float, got float64");
  check(parts(&Parts::input_mean, {4}), Error::kValue, "part: must have shape (5,), got shape (4,)");
  check(parts(&Parts::input_scale, {5}, Kind::kSigned), Error::kType,
        "part: dtype must be float32 or a narrower float, got int32");
  check(parts(&Parts::initial_c, {1, 7}), Error::kValue, "part: must have shape (2, 7), got shape (1, 7)");

  auto lstm = std::make_shared<const cellgate::Model<float>>(
      test::make_model<float>(c, 1, cellgate::active_kernel_table()));
  cellgate::NetworkParts<float> mean;
  mean.pooling = cellgate::Pooling::kMean;
  const cellgate::Network<float> plain(lstm, {}), pools(lstm, mean);
  const Array x("x", {9, 3, 5}), wrong("x", {9, 3, 4}), reset("reset", {9, 3}, Kind::kBool, 1);
  const Array sizes("batch_sizes", {1}, Kind::kSigned, 8);
  const auto call = [&](const cellgate::Network<float>& network, const Array& input,
                        const Array* resets = nullptr, const Array* batch_sizes = nullptr) {
    return [&network, &input, resets, batch_sizes] {
      CallViews views;
      views.x = &input;
      views.reset = resets;
      views.batch_sizes = batch_sizes;
      cellgate::check_call(network, views);
    };
  };
  check(call(plain, x, &reset), Error::kNone);
  check(call(plain, wrong), Error::kValue, "x: last axis must be 5, got shape (9, 3, 4)");
  check(call(pools, x, &reset), Error::kValue,
        "reset: must be None with pooling, which gives one answer for a sequence, got shape (9, 3)");
  check(call(plain, x, nullptr, &sizes), Error::kValue,
        "batch_sizes: must be None for a network, got shape (1,)");
  check([&] { cellgate::check_stream(plain, 0); }, Error::kValue, "batch_size: must be at least 1, got 0");

  CallViews views;
  views.x = &x;
  const cellgate::CallLayout layout = cellgate::check_call(plain, views).layout;
  const cellgate::Shape steps = output_shape(plain, layout), pooled = output_shape(pools, layout);
  CHECK(steps.rank() == 3 && steps.begin()[0] == 9 && steps.begin()[2] == width, "shape of all steps");
  CHECK(pooled.rank() == 2 && pooled.begin()[0] == 3 && pooled.begin()[1] == width, "shape of the pooled");
}

}  // namespace

int main() {
  test_one_array();
  test_what_can_be_read_in_place();
  test_overlaps();
  test_outputs();
  test_integers<std::int8_t>(Kind::kSigned);
  test_integers<std::uint8_t>(Kind::kUnsigned);
  test_integers<std::int16_t>(Kind::kSigned);
  test_integers<std::uint16_t>(Kind::kUnsigned);
  test_integers<std::int32_t>(Kind::kSigned);
  test_integers<std::uint32_t>(Kind::kUnsigned);
  test_integers<std::int64_t>(Kind::kSigned);
  test_integers<std::uint64_t>(Kind::kUnsigned);
  test_calls();
  test_batch_sizes();
  test_training();
  test_sums();
  test_streams();
  test_networks();
  std::printf("checks of arguments passed\n");
  return 0;
}
