// Builds the tree from the parser's events, because the parser's own builder looks up every key of an object among all
// keys before it: see json_document.h.
#include "files/json_document.h"

#include <array>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "files/printable.h"

namespace invar {
namespace {

class TreeEvents final : public JsonEvents {
  public:
    explicit TreeEvents(const std::string& file) : file_(file) {}

    Json take() { return std::move(root_); }
    const Error& error() const { return *error_; }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(int64_t value) override { return add(value); }
    bool number_unsigned(uint64_t value) override { return add(value); }
    bool number_float(double value, const std::string&) override { return add(value); }
    bool string(std::string& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return refuse("{}: holds binary data where JSON is needed", file_); }

    bool start_object(size_t) override { return open(Json::object()); }
    bool end_object() override { return close(); }
    bool start_array(size_t) override { return open(Json::array()); }
    bool end_array() override { return close(); }

    bool key(std::string& text) override {
        Open& object = open_.back();
        object.key = std::move(text);
        if (object.keys.insert(object.key).second) return true;
        return refuse("{}: the key '{}' stands twice in one object; only one of the two can be meant", file_, place());
    }

    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& exception) override {
        constexpr int kNumberOverflow = 406;
        if (exception.id == kNumberOverflow) {
            return refuse("{}: the number before byte {} is too large for binary64", file_, position);
        }
        return refuse("{}: is not valid JSON at its byte {}; the file is damaged or incomplete", file_, position);
    }

  private:
    struct Open {
        Json value;
        std::string key;
        std::unordered_set<std::string> keys;
    };

    template <class... Args>
    bool refuse(fmt::format_string<Args...> format, Args&&... args) {
        error_ = Error{.message = fmt::format(format, std::forward<Args>(args)...)};
        return false;
    }

    bool add(Json value) {
        if (open_.empty()) {
            root_ = std::move(value);
            return true;
        }
        Open& container = open_.back();
        if (container.value.is_array()) {
            container.value.get_ref<Json::array_t&>().push_back(std::move(value));
        } else {
            container.value.get_ref<Json::object_t&>().emplace_back(std::move(container.key), std::move(value));
        }
        return true;
    }

    bool open(Json container) {
        if (open_.size() == kJsonDocumentMostDepth) {
            return refuse("{}: is nested deeper than {} levels", file_, kJsonDocumentMostDepth);
        }
        open_.push_back({.value = std::move(container)});
        return true;
    }

    bool close() {
        Json finished = std::move(open_.back().value);
        open_.pop_back();
        return add(std::move(finished));
    }

    // The keys from the outside in: "quantization_config.ignore".
    std::string place() const {
        std::string path;
        for (const Open& level : open_) {
            if (!level.value.is_object()) continue;
            if (!path.empty()) path += '.';
            path += printable(level.key, 64);
        }
        return path;
    }

    const std::string& file_;
    Json root_;
    std::vector<Open> open_;
    std::optional<Error> error_;
};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The length of Python's constant at `place` if one stands there as a whole value; otherwise 0.
size_t python_constant_at(std::string_view text, size_t place) {
    constexpr std::array<std::string_view, 3> kConstants = {"NaN", "Infinity", "-Infinity"};
    for (const std::string_view constant : kConstants) {
        if (text.substr(place, constant.size()) != constant) continue;
        size_t before = place;
        while (before > 0 && is_space(text[before - 1])) --before;
        size_t after = place + constant.size();
        while (after < text.size() && is_space(text[after])) ++after;
        const bool opened = before > 0 && std::string_view(":[,").find(text[before - 1]) != std::string_view::npos;
        const bool closed = after < text.size() && std::string_view(",]}").find(text[after]) != std::string_view::npos;
        if (opened && closed) return constant.size();
    }
    return 0;
}

std::string with_constants_as_texts(std::string_view text) {
    std::string result;
    result.reserve(text.size() + 64);
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string && c == '\\' && i + 1 < text.size()) {
            result += c;
            result += text[++i];
            continue;
        }
        if (c == '"') in_string = !in_string;
        const size_t length = !in_string && (c == 'N' || c == 'I' || c == '-') ? python_constant_at(text, i) : 0;
        if (length == 0) {
            result += c;
            continue;
        }
        result += '"';
        result += text.substr(i, length);
        result += '"';
        i += length - 1;
    }
    return result;
}

}  // namespace

Result<Json> parse_json_document(std::string_view text, const std::string& file) {
    const bool may_have_constants =
        text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos;
    const std::string rewritten = may_have_constants ? with_constants_as_texts(text) : std::string();
    TreeEvents events(file);
    if (scan_json(may_have_constants ? std::string_view(rewritten) : text, events)) return events.take();
    return tl::unexpected<Error>(events.error());
}

std::string_view kind_of(const Json& value) {
    switch (value.type()) {
        case Json::value_t::null:
            return "null";
        case Json::value_t::boolean:
            return "a boolean";
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned:
        case Json::value_t::number_float:
            return "a number";
        case Json::value_t::string:
            return "a text";
        case Json::value_t::array:
            return "a list";
        case Json::value_t::object:
            return "an object";
        default:
            return "nothing";
    }
}

}  // namespace invar
