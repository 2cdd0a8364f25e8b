// Checks of JSON values and their conversion to float32. Called by the readers.
#include "files/fields.hpp"

#include <cmath>
#include <limits>

namespace cellgate::files {

void Field::fail(const std::string& wanted, const std::string& got) const {
  malformed((path_.empty() ? "" : path_ + ": ") + "must " + wanted + ", got " +
            (got.empty() ? kind_of(*value_) : got));
}

std::string Field::path_of(const std::string& name) const {
  return path_.empty() ? name : path_ + "." + name;
}

Field Field::operator[](const char* name) const {
  members();
  const Value* found = value_->find(name);
  if (!found) malformed((path_.empty() ? "" : path_ + ": ") + "lacks " + in_quotes(name));
  return {*found, path_of(name)};
}

std::optional<Field> Field::find(const char* name) const {
  const Value* found = value_->find(name);
  if (!found || found->null()) return std::nullopt;
  return Field(*found, path_of(name));
}

std::vector<Field> Field::items() const {
  const auto* array = std::get_if<Array>(&value_->is);
  const auto* numbers = std::get_if<Numbers>(&value_->is);
  if (numbers && !numbers->empty()) fail("be an array of no numbers");
  if (!array && !numbers) fail("be an array");
  std::vector<Field> fields;
  if (array) {
    for (const Value& item : *array)
      fields.emplace_back(item, path_ + "[" + std::to_string(fields.size()) + "]");
  }
  return fields;
}

const Object& Field::members() const {
  const auto* object = std::get_if<Object>(&value_->is);
  if (!object) fail("be an object");
  return *object;
}

const Numbers& Field::numbers() const {
  const auto* numbers = std::get_if<Numbers>(&value_->is);
  if (!numbers) fail("be an array of numbers");
  return *numbers;
}

double Field::number() const {
  const auto* number = std::get_if<double>(&value_->is);
  if (!number) fail("be a number");
  return *number;
}

std::int64_t Field::integer(std::int64_t least, std::int64_t most) const {
  const auto* number = std::get_if<double>(&value_->is);
  if (!number) fail("be an integer");
  if (*number != std::floor(*number)) fail("be an integer", json_text(*number));
  if (*number < static_cast<double>(least)) {
    fail("be at least " + std::to_string(least), json_text(*number));
  }
  if (*number > static_cast<double>(most)) fail("be at most " + std::to_string(most), json_text(*number));
  return static_cast<std::int64_t>(*number);
}

bool Field::boolean() const {
  const auto* truth = std::get_if<bool>(&value_->is);
  if (!truth) fail("be true or false");
  return *truth;
}

const std::string& Field::text() const {
  const auto* text = std::get_if<std::string>(&value_->is);
  if (!text) fail("be a string");
  return *text;
}

float to_float(double number, bool allow_nonfinite, const std::string& path) {
  // Halfway between the largest float and the next that there would be: from here on it rounds to infinity.
  constexpr double kOverflow = 0x1.ffffffp127;
  if (std::fabs(number) < kOverflow) return static_cast<float>(number);
  if (!allow_nonfinite) malformed(path + ": must be finite in float32, got " + json_text(number));
  return std::copysign(std::numeric_limits<float>::infinity(), static_cast<float>(number > 0 ? 1 : -1));
}

std::vector<float> read_vector(const Field& field, std::int64_t count, bool allow_nonfinite) {
  const Numbers& numbers = field.numbers();
  if (numbers.size() != static_cast<std::size_t>(count)) {
    field.fail("have " + std::to_string(count) + " elements", std::to_string(numbers.size()));
  }
  std::vector<float> values(numbers.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = to_float(numbers[i], allow_nonfinite, field.path());
  return values;
}

std::vector<float> read_matrix(const Field& field, std::int64_t rows, std::int64_t columns, Layout layout,
                               bool allow_nonfinite) {
  const auto lines = static_cast<std::size_t>(layout == Layout::kRows ? rows : columns);
  const auto width = static_cast<std::size_t>(layout == Layout::kRows ? columns : rows);
  const auto* array = std::get_if<Array>(&field.value().is);
  if (!array) field.fail("be an array of " + std::to_string(lines) + " arrays of numbers");
  if (array->size() != lines) {
    field.fail("have " + std::to_string(lines) + " rows", std::to_string(array->size()));
  }
  for (std::size_t line = 0; line < lines; ++line) {
    const Field row((*array)[line], field.path() + "[" + std::to_string(line) + "]");
    if (row.numbers().size() != width) {
      row.fail("have " + std::to_string(width) + " elements", std::to_string(row.numbers().size()));
    }
  }
  std::vector<float> values(lines * width);
  for (std::size_t line = 0; line < lines; ++line) {
    const auto& numbers = std::get<Numbers>((*array)[line].is);
    for (std::size_t i = 0; i < width; ++i) {
      values[layout == Layout::kRows ? line * width + i : i * lines + line] =
          to_float(numbers[i], allow_nonfinite, field.path());
    }
  }
  return values;
}

double number_or_text(const Field& field) {
  if (const auto* text = std::get_if<std::string>(&field.value().is)) {
    const Value value = parse_json(*text, field.path() + ": is not a number");
    return Field(value, field.path()).number();
  }
  return field.number();
}

void add_metadata(const Value& object, std::map<std::string, std::string>& metadata) {
  const auto* members = std::get_if<Object>(&object.is);
  if (!members) return;
  for (const Member& member : *members) {
    if (member.value.null()) continue;
    const auto* text = std::get_if<std::string>(&member.value.is);
    metadata[member.name] = text ? *text : json_text(member.value);
  }
}

}  // namespace cellgate::files
