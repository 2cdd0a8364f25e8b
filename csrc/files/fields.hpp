// Typed, checked access to a tree of JSON, with the place of each value for messages. Called by the readers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "files/error.hpp"
#include "files/json.hpp"

namespace cellgate::files {

// A value, and where it stands: "layers[0].weights". It refers to the tree.
class Field {
 public:
  Field(const Value& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const Value& value() const { return *value_; }
  const std::string& path() const { return path_; }

  Field operator[](const char* name) const;           // throws if it is not there
  std::optional<Field> find(const char* name) const;  // none if it is not there, or null
  std::vector<Field> items() const;                   // of an array, of whatever values
  const Object& members() const;                      // of an object
  const Numbers& numbers() const;                     // of an array of numbers

  double number() const;
  std::int64_t integer(std::int64_t least, std::int64_t most = std::int64_t{1} << 53) const;
  bool boolean() const;
  const std::string& text() const;

  // Throws: "path: must <wanted>, got <got>"; without `got`, the kind of the value.
  [[noreturn]] void fail(const std::string& wanted, const std::string& got = "") const;

 private:
  std::string path_of(const std::string& name) const;

  const Value* value_;
  std::string path_;
};

enum class Layout { kRows, kColumns };  // of the text: [rows][columns], or transposed

// Numbers in float32, row-major. Memory is allocated once the text was seen to hold as many. Without
// `allow_nonfinite`, numbers beyond float32 are refused; with it, they become infinities.
std::vector<float> read_vector(const Field& field, std::int64_t count, bool allow_nonfinite);
std::vector<float> read_matrix(const Field& field, std::int64_t rows, std::int64_t columns, Layout layout,
                               bool allow_nonfinite);
float to_float(double number, bool allow_nonfinite, const std::string& path);

// A number, or a string that holds one: "48000".
double number_or_text(const Field& field);
// Strings as they are, all else as compact JSON; null is left out.
void add_metadata(const Value& object, std::map<std::string, std::string>& metadata);

}  // namespace cellgate::files
