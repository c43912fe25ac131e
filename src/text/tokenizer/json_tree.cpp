// Builds the tree from the events of the parser (json_tree.h).
#include "text/tokenizer/json_tree.h"

#include <algorithm>
#include <limits>

#include "base/json.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr size_t kMostDepth = 64;

class Builder : public JsonEvents {
  public:
    bool null() override { return put(JsonTree()); }
    bool boolean(bool value) override { return put(JsonTree(value)); }
    bool number_integer(number_integer_t value) override { return put(JsonTree(int64_t{value})); }
    bool number_unsigned(number_unsigned_t value) override {
        if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
            return put(JsonTree(static_cast<double>(value)));
        return put(JsonTree(static_cast<int64_t>(value)));
    }
    bool number_float(number_float_t value, const string_t&) override { return put(JsonTree(value)); }
    bool string(string_t& value) override { return put(JsonTree(std::move(value))); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(JsonTree(JsonTree::Object())); }
    bool start_array(std::size_t) override { return open(JsonTree(JsonTree::Array())); }
    bool key(string_t& value) override {
        keys_.back() = std::move(value);
        return true;
    }
    bool end_object() override {
        std::vector<std::string_view> keys;
        for (const JsonTree::Member& member : *open_.back().object()) keys.push_back(member.key);
        std::sort(keys.begin(), keys.end());
        const auto same = std::adjacent_find(keys.begin(), keys.end());
        if (same == keys.end()) return close();
        error = fmt::format("an object has the key '{}' twice", printable(*same, 60));
        return false;
    }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t byte, const std::string&, const Json::exception&) override {
        error = fmt::format("not valid JSON from byte {} on", byte);
        return false;
    }

    JsonTree root;
    std::string error;

  private:
    bool open(JsonTree tree) {
        if (open_.size() >= kMostDepth) {
            error = fmt::format("JSON is nested deeper than {} levels", kMostDepth);
            return false;
        }
        open_.push_back(std::move(tree));
        keys_.emplace_back();
        return true;
    }
    bool close() {
        JsonTree done = std::move(open_.back());
        open_.pop_back();
        keys_.pop_back();
        return put(std::move(done));
    }
    bool put(JsonTree value) {
        if (open_.empty()) {
            root = std::move(value);
        } else if (JsonTree::Array* array = open_.back().array()) {
            array->push_back(std::move(value));
        } else {
            open_.back().object()->push_back({std::move(keys_.back()), std::move(value)});
        }
        return true;
    }

    std::vector<JsonTree> open_;     // the containers around the current place, the innermost last
    std::vector<std::string> keys_;  // for each of them the key whose value is being read
};

}  // namespace

Result<JsonTree> JsonTree::parse(std::string_view text) {
    Builder builder;
    if (!scan_json(text, builder)) return fail("{}", builder.error.empty() ? "not valid JSON" : builder.error);
    return std::move(builder.root);
}

std::optional<double> JsonTree::number() const {
    if (const int64_t* whole = integer()) return static_cast<double>(*whole);
    if (const double* real = std::get_if<double>(&value_)) return *real;
    return std::nullopt;
}

const JsonTree* JsonTree::find(std::string_view key) const {
    const Object* members = object();
    if (members == nullptr) return nullptr;
    const auto member = std::find_if(members->begin(), members->end(), [&](const Member& m) { return m.key == key; });
    return member == members->end() || member->value.is_null() ? nullptr : &member->value;
}

}  // namespace invar
