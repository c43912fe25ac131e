// Typed fields of one object of tokenizer.json. Errors say where the object stands.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer/json_tree.h"

namespace invar {

class JsonFields {
  public:
    // `where` names the object in errors, e.g. "tokenizer.json: the normalizer".
    JsonFields(const JsonTree& tree, std::string where) : tree_(&tree), where_(std::move(where)) {}

    const std::string& where() const { return where_; }
    const JsonTree* find(std::string_view key) const { return tree_->find(key); }

    Result<std::string> text(std::string_view key) const {
        const JsonTree* value = find(key);
        const std::string* found = value == nullptr ? nullptr : value->string();
        if (found == nullptr) return fail("{}: '{}' is not a text", where_, key);
        return *found;
    }
    Result<std::string> text_or(std::string_view key, std::string otherwise) const {
        if (find(key) == nullptr) return otherwise;
        return text(key);
    }
    Result<bool> flag(std::string_view key, std::optional<bool> otherwise) const {
        const JsonTree* value = find(key);
        if (value == nullptr && otherwise) return *otherwise;
        const bool* found = value == nullptr ? nullptr : value->boolean();
        if (found == nullptr) return fail("{}: '{}' is not true or false", where_, key);
        return *found;
    }
    // A whole number from 0 to `most`.
    Result<int64_t> count(std::string_view key, int64_t most) const {
        const JsonTree* value = find(key);
        const int64_t* found = value == nullptr ? nullptr : value->integer();
        if (found == nullptr || *found < 0 || *found > most) {
            return fail("{}: '{}' is not a number from 0 to {}", where_, key, most);
        }
        return *found;
    }
    Result<const JsonTree::Array*> list(std::string_view key) const {
        const JsonTree* value = find(key);
        if (value == nullptr || value->array() == nullptr) return fail("{}: '{}' is not a list", where_, key);
        return value->array();
    }

  private:
    const JsonTree* tree_;
    std::string where_;
};

}  // namespace invar
