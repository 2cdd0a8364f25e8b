// JSON text to a tree of values, with limits. Called by the readers; the text itself is parsed by
// nlohmann-json, whose parser does not recurse.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace cellgate::files {

struct Member;

// Arrays that hold nothing but numbers are stored as such: 8 bytes for each, not a Value.
using Numbers = std::vector<double>;
struct Value;
using Array = std::vector<Value>;
using Object = std::vector<Member>;  // sorted by name; no name occurs twice

struct Value {
  std::variant<std::monostate, bool, double, std::string, Numbers, Array, Object> is;

  bool null() const { return std::holds_alternative<std::monostate>(is); }
  const Value* find(std::string_view name) const;  // null if this is no object or lacks the name
};

struct Member {
  std::string name;
  Value value;
};

// Limits that no file of a format read here comes near. Nothing recurses deeper than the first; the second
// bounds the memory of a tree whose text is short, such as [[],[],...
constexpr std::size_t kMostDepth = 64;
constexpr std::size_t kMostValues = std::size_t{1} << 20;  // numbers in arrays of numbers not counted

// Throws FileError, opened by `what` ("is not JSON", ...).
Value parse_json(std::string_view text, const std::string& what);

std::string json_text(const Value& value);     // compact
std::string json_text(double number);          // finite; the shortest that reads back the same
std::string json_text(std::string_view text);  // throws std::invalid_argument if it is not UTF-8
std::string kind_of(const Value& value);       // "a number", "a string", ... for messages

}  // namespace cellgate::files
