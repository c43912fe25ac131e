// A JSON tree for files like tokenizer.json, with tens of megabytes and objects of a quarter of a million keys. It is
// read in linear time and keeps the order of keys. A key that occurs twice in an object is an error. It uses the parser
// of parse_json (base/json.h), which reads small files.
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

    // Errors: the text is not JSON (the error names the byte), is nested deeper than 64 levels, or has a key twice.
    static Result<JsonTree> parse(std::string_view text);

    bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
    // These return nullptr if the value has another type.
    const bool* boolean() const { return std::get_if<bool>(&value_); }
    const int64_t* integer() const { return std::get_if<int64_t>(&value_); }
    const std::string* string() const { return std::get_if<std::string>(&value_); }
    const Array* array() const { return std::get_if<Array>(&value_); }
    const Object* object() const { return std::get_if<Object>(&value_); }
    Array* array() { return std::get_if<Array>(&value_); }
    Object* object() { return std::get_if<Object>(&value_); }
    std::optional<double> number() const;  // with or without a fraction

    // Finds a key in an object with few keys. nullptr if this is no object, or if the key is missing or null.
    const JsonTree* find(std::string_view key) const;

  private:
    std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

struct JsonTree::Member {
    std::string key;
    JsonTree value;
};

}  // namespace invar
