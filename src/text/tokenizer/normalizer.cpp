// One function per step (normalizer.h).
#include "text/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "text/tokenizer/utf8.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {
namespace normalize {
namespace {

using Text = Normalizer::Text;

// Calls `use(character, bytes)` for each character.
template <class Use>
void for_each_character(std::string_view text, Use&& use) {
    for (size_t offset = 0; offset < text.size();) {
        const Utf8Step step = read_utf8(text.substr(offset));
        use(step.character, text.substr(offset, step.bytes));
        offset += step.bytes;
    }
}

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<uint8_t>(byte) < 0x80; });
}

utf8proc_category_t category(char32_t character) { return utf8proc_category(static_cast<utf8proc_int32_t>(character)); }

bool is_nonspacing_mark(char32_t character) { return category(character) == UTF8PROC_CATEGORY_MN; }

bool is_mark(char32_t character) {
    const utf8proc_category_t kind = category(character);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_ME;
}

// Keeps the characters for which `keeps` is true, and replaces each by the result of `of`.
template <class Keeps, class Of>
void filter(Text& text, Keeps&& keeps, Of&& of) {
    std::string kept;
    kept.reserve(text.text.size());
    bool is_first = true;
    for_each_character(text.text, [&](char32_t character, std::string_view) {
        const bool stays = keeps(character);
        if (stays) append_utf8(kept, of(character));
        if (is_first && !stays) text.keeps_start = false;
        is_first = false;
    });
    text.text = std::move(kept);
}

char32_t same(char32_t character) { return character; }

Result<void> to_form(Text& text, Form form) {
    if (is_ascii(text.text)) return {};
    int options = UTF8PROC_STABLE;
    options |= form == Form::nfc || form == Form::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (form == Form::nfkc || form == Form::nfkd) options |= UTF8PROC_COMPAT;
    utf8proc_uint8_t* made = nullptr;
    const utf8proc_ssize_t size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.text.data()),
                     static_cast<utf8proc_ssize_t>(text.text.size()), &made, static_cast<utf8proc_option_t>(options));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(made, &std::free);
    if (size < 0) return fail("the text cannot be normalised: {}", utf8proc_errmsg(size));
    text.text.assign(reinterpret_cast<const char*>(made), static_cast<size_t>(size));
    return {};
}

void to_lowercase(Text& text) {
    std::string lower;
    lower.reserve(text.text.size());
    for_each_character(text.text, [&](char32_t character, std::string_view) {
        if (character == 0x130) {
            lower += "i\xCC\x87";  // the only character whose lower case is two characters
        } else {
            append_utf8(lower, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character))));
        }
    });
    text.text = std::move(lower);
}

void strip(Text& text, const Strip& sides) {
    size_t begin = 0;
    while (sides.left && begin < text.text.size()) {
        const Utf8Step step = read_utf8(std::string_view(text.text).substr(begin));
        if (!is_white_space(step.character)) break;
        begin += step.bytes;
    }
    size_t end = text.text.size();
    while (sides.right && end > begin) {
        size_t before = end - 1;
        while (before > begin && (text.text[before] & 0xC0) == 0x80) --before;
        if (!is_white_space(read_utf8(std::string_view(text.text).substr(before)).character)) break;
        end = before;
    }
    if (begin > 0) text.keeps_start = false;
    text.text = text.text.substr(begin, end - begin);
}

bool is_taken_by_nmt(char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

char32_t spaced_by_nmt(char32_t c) {
    const bool is_space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                          (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
                          c == 0xFFFD;
    return is_space ? U' ' : c;
}

Result<void> replace(Text& text, const Replace& step, Pattern::Workspace& workspace) {
    std::vector<Span> matches;
    const Result<void> found = step.pattern.find_all(text.text, {0, text.text.size()}, workspace, matches);
    if (!found) return fail("the normalizer's Replace: {}", found.error().message);
    if (matches.empty()) return {};
    if (matches[0].begin == 0 && matches[0].end > 0 && step.content.empty()) text.keeps_start = false;
    std::string made;
    size_t done = 0;
    for (const Span match : matches) {
        made.append(text.text, done, match.begin - done).append(step.content);
        done = match.end;
    }
    made.append(text.text, done);
    text.text = std::move(made);
    return {};
}

bool is_other(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CO:
            return true;
        default:
            return false;
    }
}

bool is_chinese(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}

Result<void> clean_for_bert(Text& text, const Bert& bert) {
    if (bert.clean_text) {
        const auto is_break = [](char32_t c) { return c == '\t' || c == '\n' || c == '\r'; };
        filter(
            text, [&](char32_t c) { return c != 0 && c != 0xFFFD && (is_break(c) || !is_other(c)); },
            [](char32_t c) { return is_white_space(c) ? U' ' : c; });
    }
    if (bert.handle_chinese_chars) {
        std::string spaced;
        for_each_character(text.text, [&](char32_t character, std::string_view bytes) {
            if (is_chinese(character)) {
                spaced.append(" ").append(bytes).append(" ");
            } else {
                spaced += bytes;
            }
        });
        text.text = std::move(spaced);
    }
    if (bert.strip_accents) {
        TRY(to_form(text, Form::nfd));
        filter(
            text, [](char32_t c) { return !is_nonspacing_mark(c); }, same);
    }
    if (bert.lowercase) to_lowercase(text);
    return {};
}

// The end of the grapheme cluster that begins at `begin`.
size_t grapheme_end(std::string_view text, size_t begin) {
    Utf8Step last = read_utf8(text.substr(begin));
    size_t end = begin + last.bytes;
    utf8proc_int32_t state = 0;
    while (end < text.size()) {
        const Utf8Step next = read_utf8(text.substr(end));
        if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.character),
                                             static_cast<utf8proc_int32_t>(next.character), &state)) {
            break;
        }
        end += next.bytes;
        last = next;
    }
    return end;
}

// As the library does, looks up grapheme clusters of up to five bytes as a whole, and everything else character by
// character. Each is replaced as a whole by the replacement of its shortest start that has one.
void map_characters(Text& text, const Charsmap& map) {
    std::string mapped;
    mapped.reserve(text.text.size());
    const std::string_view given = text.text;
    for (size_t begin = 0; begin < given.size();) {
        const size_t end = grapheme_end(given, begin);
        const std::string_view grapheme = given.substr(begin, end - begin);
        const auto whole = grapheme.size() < 6 ? map.shortest(grapheme) : std::nullopt;
        if (whole) {
            mapped += whole->replacement;
        } else {
            for_each_character(grapheme, [&](char32_t, std::string_view bytes) {
                const auto one = map.shortest(bytes);
                mapped += one ? one->replacement : bytes;
            });
        }
        begin = end;
    }
    text.text = std::move(mapped);
}

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// The replacement of the beginning of `text`, and how many bytes it replaces.
Charsmap::Match next_of(const SentencePiece& step, std::string_view text) {
    if (const size_t kept = step.kept.longest_at(text, 0)) return {kept, text.substr(0, kept)};
    if (step.map) {
        if (const auto match = step.map->longest(text)) return *match;
    }
    const size_t bytes = read_utf8(text).bytes;
    return {bytes, text.substr(0, bytes)};
}

void to_sentence_piece(Text& text, const SentencePiece& step) {
    std::string_view rest = text.text;
    std::string made;
    made.reserve(rest.size() + rest.size() / 2);
    while (step.remove_extra_spaces && !rest.empty()) {
        const Charsmap::Match next = next_of(step, rest);
        if (next.replacement != " ") break;
        rest.remove_prefix(next.bytes);
    }
    if (!rest.empty() && step.add_dummy_prefix) made += kSpaceMark;
    bool was_space = step.remove_extra_spaces;
    while (!rest.empty()) {
        const Charsmap::Match next = next_of(step, rest);
        std::string_view made_of_next = next.replacement;
        while (was_space && made_of_next.starts_with(' ')) made_of_next.remove_prefix(1);
        for (const char byte : made_of_next) {
            if (byte == ' ') {
                made += kSpaceMark;
            } else {
                made += byte;
            }
        }
        if (!made_of_next.empty()) was_space = made_of_next.ends_with(' ');
        if (!step.remove_extra_spaces) was_space = false;
        rest.remove_prefix(next.bytes);
    }
    while (step.remove_extra_spaces && made.ends_with(kSpaceMark)) made.erase(made.size() - kSpaceMark.size());
    text.text = std::move(made);
}

Result<void> apply(const Step& step, Text& text, Pattern::Workspace& workspace) {
    if (const auto* form = std::get_if<UnicodeForm>(&step)) return to_form(text, form->form);
    if (const auto* bert = std::get_if<Bert>(&step)) return clean_for_bert(text, *bert);
    if (const auto* found = std::get_if<Replace>(&step)) return replace(text, *found, workspace);
    if (std::holds_alternative<Lowercase>(step)) to_lowercase(text);
    if (const auto* sides = std::get_if<Strip>(&step)) strip(text, *sides);
    if (std::holds_alternative<StripAccents>(step))
        filter(
            text, [](char32_t c) { return !is_mark(c); }, same);
    if (std::holds_alternative<Nmt>(step))
        filter(
            text, [](char32_t c) { return !is_taken_by_nmt(c); }, spaced_by_nmt);
    if (const auto* first = std::get_if<Prepend>(&step); first && !text.text.empty()) text.text.insert(0, first->text);
    if (const auto* precompiled = std::get_if<Precompiled>(&step)) map_characters(text, precompiled->map);
    if (const auto* own = std::get_if<SentencePiece>(&step)) to_sentence_piece(text, *own);
    if (std::holds_alternative<ByteLevel>(step)) text.text = byte_level_text(text.text);
    return {};
}

}  // namespace
}  // namespace normalize

Result<Normalizer::Text> Normalizer::normalize(std::string_view text, Pattern::Workspace& workspace) const {
    Text normalized{std::string(text)};
    for (const normalize::Step& step : steps_) TRY(normalize::apply(step, normalized, workspace));
    return normalized;
}

}  // namespace invar
