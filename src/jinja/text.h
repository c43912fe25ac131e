// Builds text, charging the heap as it grows, and writes values as text: str(), repr() and JSON.
#pragma once

#include "jinja/runtime.h"

namespace invar::jinja {

class Text {
  public:
    explicit Text(Runtime& runtime) : runtime_(runtime) {}
    ~Text() { runtime_.heap().charge_buffer(-charged_); }
    Text(const Text&) = delete;
    Text& operator=(const Text&) = delete;

    Result<void> append(std::string_view more);
    Result<void> append(size_t count, char c);
    std::string take() { return std::move(text_); }
    const std::string& view() const { return text_; }

  private:
    Runtime& runtime_;
    std::string text_;
    int64_t charged_ = 0;
};

// str(value): what {{ value }} prints.
Result<void> append_text(Text& out, Runtime& runtime, const Value& value);
Result<std::string> to_text(Runtime& runtime, const Value& value);

// repr(value): how it looks inside a printed list.
Result<void> append_repr(Text& out, Runtime& runtime, const Value& value);
std::string quoted_text(std::string_view text);  // repr() of a string

// json.dumps as the filter tojson calls it.
struct JsonStyle {
    bool ascii_only = false;
    bool is_indented = false;
    std::string indent;  // one level, if is_indented
    std::string item_separator = ", ";
    std::string key_separator = ": ";
    bool sort_keys = false;
};
Result<void> append_json(Text& out, Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace invar::jinja
