// JSON of tens of megabytes with objects of a quarter of a million keys, as tokenizer.json is: a tree that is read in
// linear time and keeps the order of keys. A key that an object has twice is an error. Small files are read with
// parse_json (base/json.h), on whose parser this stands.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace invar {

class JsonTree {
  public:
    using Array = std::vector<JsonTree>;
    struct Member;
    using Object = std::vector<Member>;

    JsonTree() = default;
    template <class Value>
    explicit JsonTree(Value value) : value_(std::move(value)) {}

    // Errors: the byte where the text stops being JSON, depth above 64, a doubled key.
    static Result<JsonTree> parse(std::string_view text);

    bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
    // Null pointers where it is something else.
    const bool* boolean() const { return std::get_if<bool>(&value_); }
    const int64_t* integer() const { return std::get_if<int64_t>(&value_); }
    const std::string* string() const { return std::get_if<std::string>(&value_); }
    const Array* array() const { return std::get_if<Array>(&value_); }
    const Object* object() const { return std::get_if<Object>(&value_); }
    Array* array() { return std::get_if<Array>(&value_); }
    Object* object() { return std::get_if<Object>(&value_); }
    std::optional<double> number() const;  // an integer or not

    // Of objects with few keys. nullptr when this is no object, or the key is missing or null.
    const JsonTree* find(std::string_view key) const;

  private:
    std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

struct JsonTree::Member {
    std::string key;
    JsonTree value;
};

}  // namespace invar
