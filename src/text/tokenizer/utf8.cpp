// The byte ranges of well-formed UTF-8 (Unicode standard, table 3-7) and the functions that use them (utf8.h).
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

uint8_t byte_at(std::string_view text, size_t index) { return static_cast<uint8_t>(text[index]); }

struct LeadByte {
    uint8_t length;      // of the sequence; 0: not a lead byte
    uint8_t second_low;  // range of the second byte, which excludes overlong forms, surrogates and U+110000 on
    uint8_t second_high;
};

LeadByte lead_byte(uint8_t byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte < 0xC2) return {0, 0, 0};
    if (byte < 0xE0) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};
    if (byte == 0xED) return {3, 0x80, 0x9F};
    if (byte < 0xF0) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte < 0xF4) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

}  // namespace

Utf8Step read_utf8(std::string_view text) {
    using State = Utf8Step::State;
    const uint8_t first = byte_at(text, 0);
    const LeadByte lead = lead_byte(first);
    if (lead.length == 1) return {State::whole, 1, first};
    if (lead.length == 0) return {State::invalid, 1, 0};
    char32_t character = first & (0x7F >> lead.length);
    for (uint8_t i = 1; i < lead.length; ++i) {
        if (i == text.size()) return {State::unfinished, i, 0};
        const uint8_t byte = byte_at(text, i);
        const uint8_t low = i == 1 ? lead.second_low : 0x80;
        const uint8_t high = i == 1 ? lead.second_high : 0xBF;
        if (byte < low || byte > high) return {State::invalid, i, 0};
        character = character << 6 | (byte & 0x3F);
    }
    return {State::whole, lead.length, character};
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
    for (size_t offset = 0; offset < text.size();) {
        if (byte_at(text, offset) < 0x80) {
            ++offset;
            continue;
        }
        const Utf8Step step = read_utf8(text.substr(offset));
        if (step.state != Utf8Step::State::whole) return offset;
        offset += step.bytes;
    }
    return std::nullopt;
}

void append_utf8(std::string& text, char32_t character) {
    const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
    const auto put_tail = [&](int shift) { put(0x80 | (character >> shift & 0x3F)); };
    if (character < 0x80) {
        put(character);
    } else if (character < 0x800) {
        put(0xC0 | character >> 6);
        put_tail(0);
    } else if (character < 0x10000) {
        put(0xE0 | character >> 12);
        put_tail(6);
        put_tail(0);
    } else {
        put(0xF0 | character >> 18);
        put_tail(12);
        put_tail(6);
        put_tail(0);
    }
}

bool is_white_space(char32_t character) {
    return (character >= 0x09 && character <= 0x0D) || character == 0x20 || character == 0x85 || character == 0xA0 ||
           character == 0x1680 || (character >= 0x2000 && character <= 0x200A) || character == 0x2028 ||
           character == 0x2029 || character == 0x202F || character == 0x205F || character == 0x3000;
}

std::string Utf8Stream::feed(std::string_view bytes) {
    std::string text = std::move(waiting_);
    text += bytes;
    waiting_.clear();
    std::string shown;
    shown.reserve(text.size());
    for (size_t offset = 0; offset < text.size();) {
        const std::string_view rest = std::string_view(text).substr(offset);
        const Utf8Step step = read_utf8(rest);
        if (step.state == Utf8Step::State::unfinished) {
            waiting_ = rest;
            break;
        }
        shown += step.state == Utf8Step::State::whole ? rest.substr(0, step.bytes) : kReplacement;
        offset += step.bytes;
    }
    return shown;
}

std::string Utf8Stream::finish() {
    const bool open = !waiting_.empty();
    waiting_.clear();
    return std::string(open ? kReplacement : std::string_view());
}

}  // namespace invar
