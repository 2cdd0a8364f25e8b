// Builds the tree from nlohmann-json's events. Called by the readers.
#include "files/json.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "files/error.hpp"

namespace cellgate::files {
namespace {

// Receives the events of nlohmann's parser, which ends when one returns false.
class Builder {
 public:
  explicit Builder(const std::string& what) : what_(what) {}

  bool null() { return add(Value{}); }
  bool boolean(bool value) { return add(Value{value}); }
  bool number_integer(std::int64_t value) { return add_number(static_cast<double>(value)); }
  bool number_unsigned(std::uint64_t value) { return add_number(static_cast<double>(value)); }
  bool number_float(double value, const std::string&) { return add_number(value); }
  bool string(std::string& value) { return add(Value{std::move(value)}); }
  template <class Binary>
  bool binary(Binary&) {
    return false;  // not in JSON
  }
  bool start_object(std::size_t) { return open(Value{Object{}}); }
  bool start_array(std::size_t) { return open(Value{Numbers{}}); }
  bool key(std::string& name) {
    names_.back() = std::move(name);
    return true;
  }
  bool end_array() { return close(); }
  bool end_object() {
    auto& members = std::get<Object>(open_.back().is);
    std::sort(members.begin(), members.end(),
              [](const Member& a, const Member& b) { return a.name < b.name; });
    const auto twice = std::adjacent_find(members.begin(), members.end(),
                                          [](const Member& a, const Member& b) { return a.name == b.name; });
    if (twice != members.end()) malformed(what_ + ": " + in_quotes(twice->name) + " occurs twice");
    return close();
  }
  template <class Exception>
  bool parse_error(std::size_t position, const std::string&, const Exception& error) {
    // 406: a number that no double holds; all else is syntax or UTF-8.
    malformed(what_ + ": " + (error.id == 406 ? "a number is too large" : "it breaks off or is invalid") +
                  " at byte " + std::to_string(position),
              static_cast<std::int64_t>(position));
  }

  Value take() { return std::move(root_); }

 private:
  void count() {
    if (++values_ > kMostValues) {
      throw FileError(Fault::kTooLarge, what_ + ": has more than " + std::to_string(kMostValues) + " values");
    }
  }

  bool open(Value container) {
    if (open_.size() == kMostDepth) {
      throw FileError(Fault::kTooLarge,
                      what_ + ": nests deeper than " + std::to_string(kMostDepth) + " levels");
    }
    open_.push_back(std::move(container));
    names_.emplace_back();
    return true;
  }

  bool close() {
    Value done = std::move(open_.back());
    open_.pop_back();
    names_.pop_back();
    return add(std::move(done));
  }

  bool add_number(double number) {
    if (!open_.empty()) {
      if (auto* numbers = std::get_if<Numbers>(&open_.back().is)) {
        numbers->push_back(number);
        return true;
      }
    }
    return add(Value{number});
  }

  bool add(Value value) {
    count();
    if (open_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Value& top = open_.back();
    if (auto* numbers = std::get_if<Numbers>(&top.is)) {  // the first element that is not a number
      Array array;
      for (const double number : *numbers) {
        count();
        array.emplace_back().is = number;
      }
      top.is = std::move(array);
    }
    if (auto* array = std::get_if<Array>(&top.is)) {
      array->push_back(std::move(value));
    } else {
      std::get<Object>(top.is).push_back({std::move(names_.back()), std::move(value)});
    }
    return true;
  }

  const std::string& what_;
  Value root_;
  std::vector<Value> open_;         // containers whose end has not come
  std::vector<std::string> names_;  // of the member that each is at
  std::size_t values_ = 0;
};

template <class Items, class Text>
std::string joined(char open, const Items& items, char close, const Text& text) {
  std::string all(1, open);
  for (const auto& item : items) {
    if (all.size() > 1) all += ',';
    all += text(item);
  }
  return all + close;
}

}  // namespace

const Value* Value::find(std::string_view name) const {
  const auto* members = std::get_if<Object>(&is);
  if (!members) return nullptr;
  const auto at =
      std::lower_bound(members->begin(), members->end(), name,
                       [](const Member& member, std::string_view wanted) { return member.name < wanted; });
  return at != members->end() && at->name == name ? &at->value : nullptr;
}

Value parse_json(std::string_view text, const std::string& what) {
  Builder builder(what);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) malformed(what);
  return builder.take();
}

std::string json_text(double number) {
  if (std::floor(number) == number && std::fabs(number) < 9007199254740992.0) {  // 2^53
    return std::to_string(static_cast<std::int64_t>(number));
  }
  return nlohmann::json(number).dump();
}

std::string json_text(std::string_view text) {
  try {
    return nlohmann::json(std::string(text)).dump(-1, ' ', true);
  } catch (const nlohmann::json::exception&) {
    throw std::invalid_argument("text: must be UTF-8, got other bytes");
  }
}

std::string json_text(const Value& value) {
  const auto number_text = [](double number) { return json_text(number); };
  const auto value_text = [](const Value& item) { return json_text(item); };
  const auto member_text = [](const Member& member) {
    return json_text(std::string_view(member.name)) + ":" + json_text(member.value);
  };
  if (const auto* truth = std::get_if<bool>(&value.is)) return *truth ? "true" : "false";
  if (const auto* number = std::get_if<double>(&value.is)) return json_text(*number);
  if (const auto* text = std::get_if<std::string>(&value.is)) return json_text(std::string_view(*text));
  if (const auto* numbers = std::get_if<Numbers>(&value.is)) return joined('[', *numbers, ']', number_text);
  if (const auto* array = std::get_if<Array>(&value.is)) return joined('[', *array, ']', value_text);
  if (const auto* object = std::get_if<Object>(&value.is)) return joined('{', *object, '}', member_text);
  return "null";
}

std::string kind_of(const Value& value) {
  constexpr const char* kKinds[] = {
      "null", "true or false", "a number", "a string", "an array of numbers", "an array", "an object"};
  return kKinds[value.is.index()];
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 60;
  std::string shown = "'";
  for (const char c : text.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      shown += c;
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", byte);
      shown += escape;
    }
  }
  return shown + (text.size() > kMost ? "...'" : "'");
}

}  // namespace cellgate::files
