// Every check of the arguments of a call, without Python: bindings and capi fill in ArrayViews, call these
// before anything is copied or written, and pass on the messages.
//
// A wrong type throws WrongType, a wrong shape or value std::invalid_argument, a size that no machine has
// TooLarge, and the vectors below std::bad_alloc. Messages are "argument: what was wanted, got what came".
// Unless an error is thrown these functions neither allocate nor build text, but for the vectors that they
// return.
#pragma once

#include <new>
#include <vector>

#include "run/arguments.hpp"
#include "run/forward.hpp"

namespace cellgate {

// MemoryError in Python, with a message that says what is too large.
class TooLarge : public std::bad_alloc {
 public:
  TooLarge(const std::string& what_needs, double bytes);
  const char* what() const noexcept override { return text_.what(); }

 private:
  std::runtime_error text_;  // unlike a string, copied without an exception
};

constexpr double kMostBytes = 0x1p62;  // no address space is larger, and int64 counts them

[[noreturn]] void bad_value(const std::string& name, const std::string& wanted, const std::string& got);
[[noreturn]] void bad_type(const std::string& name, const std::string& wanted, const std::string& got);

// "float32" of 4, "float64" of 8 bytes.
const char* scalar_name(int scalar_bytes);
std::string shape_text(const ArrayView& view);  // "(7, 3, 39)"
std::string type_text(const ArrayView& view);   // "int32"

// ---- one array ---------------------------------------------------------------------------------
// `scalar_bytes` is the size of the model's scalars, 4 or 8.

void require_shape(const ArrayView& view, const Shape& shape);
// A float, no wider than the model's.
void require_floats(const ArrayView& view, int scalar_bytes);
void require_floats(const ArrayView& view, int scalar_bytes, const Shape& shape);
// To write into: exactly the model's scalars and this shape, aligned, last axis contiguous, no address twice.
void require_output(const ArrayView& view, int scalar_bytes, const Shape& shape);
void require_contiguous_output(const ArrayView& view, int scalar_bytes, const Shape& shape);
void require_flags(const ArrayView& view, const Shape& shape);
void require_integers(const ArrayView& view);
// Copies of the first `count` elements of integers with one axis or, for a count of 1, none. An unsigned
// value too large for int64 turns negative; integer_text gives it as it was.
std::vector<std::int64_t> integers(const ArrayView& view, std::int64_t count);
// The same, each in [0, last].
std::vector<std::int64_t> integers_in_range(const ArrayView& view, std::int64_t count, std::int64_t last);
std::string integer_text(const ArrayView& view, std::int64_t value);

bool has_shape(const ArrayView& view, const Shape& shape);
bool is_contiguous(const ArrayView& view);  // in the order of C
// Whether the core can read the array where it lies: the model's scalars in native order, aligned, the last
// axis contiguous. An array that passed require_floats but is not readable must be converted.
bool is_readable(const ArrayView& view, int scalar_bytes);
// Whether two different indices may lead to one address.
bool overlaps_itself(const ArrayView& view);
// Whether the ranges from first to last byte have an address in common.
bool may_share_memory(const ArrayView& a, const ArrayView& b);

// ---- a call over whole sequences ---------------------------------------------------------------

struct CheckedCall {
  CallLayout layout;
  std::vector<std::int64_t> lengths;  // [B] if lengths or batch_sizes were given, else empty
  std::vector<std::int64_t> offsets;  // [T + 1] if batch_sizes were given: rows of all steps before
};

// All of `given`, values of lengths and batch_sizes too: they are copied before they are looked at, so that
// no other thread can change what was accepted.
CheckedCall check_call(const Config& config, int scalar_bytes, const CallViews& given);

// Points args at arrays that check_call accepted and, where need be, a caller has converted since: x is
// readable, h0 and c0 are also contiguous. `call` and the arrays must outlive args.
template <class S>
ForwardArgs<S> forward_args(const CheckedCall& call, const CallViews& ready);

// ---- training ----------------------------------------------------------------------------------

// `steps`: of the call; a longer interval between checkpoints becomes that.
Training check_training(double dropout, std::uint64_t seed, std::int64_t checkpoint, std::int64_t steps);

// Scalars in the array of a tape for `valid` rows in all steps together, at least one.
template <class S>
std::int64_t tape_size(const Model<S>& model, std::int64_t batch, std::int64_t steps, std::int64_t valid,
                       const Training& training);

// What backward reads beside the call itself; null pointers: not given, zero.
struct DerivativeViews {
  const ArrayView *tape = nullptr, *y = nullptr;  // both always
  const ArrayView *d_y = nullptr, *d_cells = nullptr, *d_h = nullptr, *d_c = nullptr;
};

void check_derivatives(const Config& config, int scalar_bytes, const CallLayout& layout,
                       std::int64_t tape_size, const DerivativeViews& given);

// What the names of sums begin with in messages, before the name of the parameter.
constexpr const char kSumPrefix[] = "accumulate: ";

// Sums of gradients, each of which require_contiguous_output has accepted under a name with kSumPrefix: none
// shares memory with another, nor with what is read from where it lies; they are written while that is read.
void check_sums(const std::vector<ArrayView>& sums, int scalar_bytes, const DerivativeViews& read);

// ---- streams -----------------------------------------------------------------------------------

void check_stream(const Config& config, int scalar_bytes, std::int64_t batch);

// (B, I) or, for one sequence, (I,): returns whether it is the latter.
bool check_step(const Config& config, int scalar_bytes, std::int64_t batch, const ArrayView& x);

// (T, B, I), or (B, T, I) if `batch_first`, or (T, I) for one sequence.
CallLayout check_run(const Config& config, int scalar_bytes, std::int64_t batch, bool batch_first,
                     const ArrayView& x);
void require_apart(const ArrayView& out, const ArrayView& x);

// The indices of the rows meant: one, or (n,) of them, or (B,) of bool.
std::vector<std::int64_t> check_rows(const ArrayView& rows, std::int64_t batch);

}  // namespace cellgate
