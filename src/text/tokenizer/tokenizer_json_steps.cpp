// Reads the normalisers, pre-tokenisers and decoders of tokenizer.json, with one branch per type
// (from_tokenizer_json.h).
#include <functional>

#include "text/tokenizer/base64.h"
#include "text/tokenizer/from_tokenizer_json.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace invar {
namespace {

constexpr int kMostNested = 8;  // levels of sequences within sequences

// `{"String": ...}` is taken literally, `{"Regex": ...}` is an expression. Old files have a bare text.
Result<Pattern> read_pattern(const JsonFields& fields) {
    const JsonTree* pattern = fields.find("pattern");
    if (pattern == nullptr) return fail("{}: 'pattern' is missing", fields.where());
    if (pattern->string() != nullptr) return Pattern::literal(*pattern->string());
    const JsonFields inner(*pattern, fields.where() + "'s pattern");
    if (inner.find("String") != nullptr) {
        TRY_ASSIGN(const std::string text, inner.text("String"));
        return Pattern::literal(text);
    }
    TRY_ASSIGN(const std::string expression, inner.text("Regex"));
    Result<Pattern> compiled = Pattern::compile(expression);
    if (!compiled) return fail("{}: {}", fields.where(), compiled.error().message);
    return compiled;
}

Result<SplitBehavior> read_behavior(const JsonFields& fields, std::string otherwise) {
    TRY_ASSIGN(const std::string name, fields.text_or("behavior", std::move(otherwise)));
    if (name == "Removed") return SplitBehavior::removed;
    if (name == "Isolated") return SplitBehavior::isolated;
    if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
    if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
    if (name == "Contiguous") return SplitBehavior::contiguous;
    return fail("{}: the behavior '{}' is not known", fields.where(), name);
}

// Calls `read` for every element of the list `key`.
Result<void> read_each(const JsonFields& fields, std::string_view key,
                       const std::function<Result<void>(const JsonTree&)>& read) {
    TRY_ASSIGN(const JsonTree::Array* list, fields.list(key));
    for (const JsonTree& element : *list) TRY(read(element));
    return {};
}

Result<void> read_one_normalizer(const JsonTree& tree, const std::string& origin, Normalizer& normalizer, int depth) {
    using namespace normalize;
    const JsonFields fields(tree, origin + ": the normalizer");
    TRY_ASSIGN(const std::string type, fields.text("type"));
    if (type == "Sequence") {
        if (depth >= kMostNested) return fail("{} has sequences nested deeper than {}", fields.where(), kMostNested);
        return read_each(fields, "normalizers", [&](const JsonTree& element) {
            return read_one_normalizer(element, origin, normalizer, depth + 1);
        });
    }
    if (type == "NFC") return normalizer.add(UnicodeForm{Form::nfc}), Result<void>();
    if (type == "NFD") return normalizer.add(UnicodeForm{Form::nfd}), Result<void>();
    if (type == "NFKC") return normalizer.add(UnicodeForm{Form::nfkc}), Result<void>();
    if (type == "NFKD") return normalizer.add(UnicodeForm{Form::nfkd}), Result<void>();
    if (type == "Lowercase") return normalizer.add(Lowercase{}), Result<void>();
    if (type == "StripAccents") return normalizer.add(StripAccents{}), Result<void>();
    if (type == "Nmt") return normalizer.add(Nmt{}), Result<void>();
    if (type == "ByteLevel") return normalizer.add(normalize::ByteLevel{}), Result<void>();
    if (type == "Strip") {
        TRY_ASSIGN(const bool left, fields.flag("strip_left", true));
        TRY_ASSIGN(const bool right, fields.flag("strip_right", true));
        normalizer.add(normalize::Strip{left, right});
    } else if (type == "Prepend") {
        TRY_ASSIGN(std::string text, fields.text("prepend"));
        normalizer.add(Prepend{std::move(text)});
    } else if (type == "Replace") {
        TRY_ASSIGN(Pattern pattern, read_pattern(fields));
        TRY_ASSIGN(std::string content, fields.text("content"));
        normalizer.add(normalize::Replace{std::move(pattern), std::move(content)});
    } else if (type == "BertNormalizer") {
        Bert bert{};
        TRY_ASSIGN(bert.clean_text, fields.flag("clean_text", true));
        TRY_ASSIGN(bert.handle_chinese_chars, fields.flag("handle_chinese_chars", true));
        TRY_ASSIGN(bert.lowercase, fields.flag("lowercase", true));
        TRY_ASSIGN(bert.strip_accents, fields.flag("strip_accents", bert.lowercase));
        normalizer.add(bert);
    } else if (type == "Precompiled") {
        TRY_ASSIGN(const std::string base64, fields.text_or("precompiled_charsmap", ""));
        if (base64.empty()) return {};
        Result<std::string> bytes = decode_base64(base64);
        if (!bytes) return fail("{}: {}", fields.where(), bytes.error().message);
        Result<Charsmap> map = Charsmap::read(*bytes);
        if (!map) return fail("{}: {}", fields.where(), map.error().message);
        normalizer.add(Precompiled{std::move(*map)});
    } else {
        return fail(ErrorKind::unsupported, "{} has the type '{}', which is not supported", fields.where(), type);
    }
    return {};
}

Result<void> add_split(WordSplitter& splitter, std::string_view expression, SplitBehavior behavior,
                       bool invert = false) {
    TRY_ASSIGN(Pattern pattern, Pattern::compile(expression));
    splitter.add(split::ByPattern{std::move(pattern), behavior, invert});
    return {};
}

Result<void> read_byte_level(const JsonFields& fields, WordSplitter& splitter) {
    TRY_ASSIGN(const bool add_prefix_space, fields.flag("add_prefix_space", true));
    TRY_ASSIGN(const bool use_regex, fields.flag("use_regex", true));
    if (add_prefix_space) splitter.add(split::ByteLevel{.add_prefix_space = true, .writes_stand_ins = false});
    if (use_regex) TRY(add_split(splitter, gpt2_expression(), SplitBehavior::isolated));
    splitter.add(split::ByteLevel{.add_prefix_space = false, .writes_stand_ins = true});
    return {};
}

Result<void> read_metaspace(const JsonFields& fields, WordSplitter& splitter) {
    using Prepend = split::Metaspace::Prepend;
    split::Metaspace step;
    TRY_ASSIGN(step.mark, fields.text("replacement"));
    TRY_ASSIGN(const bool adds, fields.flag("add_prefix_space", true));
    TRY_ASSIGN(const std::string scheme, fields.text_or("prepend_scheme", adds ? "always" : "never"));
    if (scheme != "always" && scheme != "first" && scheme != "never") {
        return fail("{}: the prepend_scheme '{}' is not known", fields.where(), scheme);
    }
    step.prepend = scheme == "always" ? Prepend::always : scheme == "first" ? Prepend::first : Prepend::never;
    TRY_ASSIGN(const bool cuts, fields.flag("split", true));
    if (cuts) {
        TRY_ASSIGN(step.cut, Pattern::literal(step.mark));
    }
    splitter.add(std::move(step));
    return {};
}

constexpr std::string_view kPunctuation = R"([\p{P}!-/:-@\[-`{-~])";

Result<void> read_one_pre_tokenizer(const JsonTree& tree, const std::string& origin, WordSplitter& splitter,
                                    int depth) {
    const JsonFields fields(tree, origin + ": the pre_tokenizer");
    TRY_ASSIGN(const std::string type, fields.text("type"));
    if (type == "Sequence") {
        if (depth >= kMostNested) return fail("{} has sequences nested deeper than {}", fields.where(), kMostNested);
        return read_each(fields, "pretokenizers", [&](const JsonTree& element) {
            return read_one_pre_tokenizer(element, origin, splitter, depth + 1);
        });
    }
    if (type == "ByteLevel") return read_byte_level(fields, splitter);
    if (type == "Metaspace") return read_metaspace(fields, splitter);
    if (type == "Split") {
        TRY_ASSIGN(Pattern pattern, read_pattern(fields));
        TRY_ASSIGN(const SplitBehavior behavior, read_behavior(fields, ""));
        TRY_ASSIGN(const bool invert, fields.flag("invert", false));
        splitter.add(split::ByPattern{std::move(pattern), behavior, invert});
        return {};
    }
    if (type == "Digits") {
        TRY_ASSIGN(const bool alone, fields.flag("individual_digits", false));
        return add_split(splitter, R"(\p{N})", alone ? SplitBehavior::isolated : SplitBehavior::contiguous);
    }
    if (type == "Punctuation") {
        TRY_ASSIGN(const SplitBehavior behavior, read_behavior(fields, "Isolated"));
        return add_split(splitter, kPunctuation, behavior);
    }
    if (type == "Whitespace") {
        return add_split(splitter, R"([\w\u200C\u200D]+|[^\w\s\u200C\u200D]+)", SplitBehavior::removed, true);
    }
    if (type == "WhitespaceSplit") return add_split(splitter, R"(\s)", SplitBehavior::removed);
    if (type == "BertPreTokenizer") {
        TRY(add_split(splitter, R"(\s)", SplitBehavior::removed));
        return add_split(splitter, kPunctuation, SplitBehavior::isolated);
    }
    if (type == "CharDelimiterSplit") {
        TRY_ASSIGN(const std::string delimiter, fields.text("delimiter"));
        TRY_ASSIGN(Pattern pattern, Pattern::literal(delimiter));
        splitter.add(split::ByPattern{std::move(pattern), SplitBehavior::removed});
        return {};
    }
    return fail(ErrorKind::unsupported, "{} has the type '{}', which is not supported", fields.where(), type);
}

// Reads a decoder that stands behind Fuse, where all tokens have been joined to one text.
Result<void> read_text_decoder(const JsonFields& fields, const std::string& type, Decoder& decoder) {
    if (type == "Fuse") return {};
    if (type == "Strip" && decoder.strip_text.start == 0 && decoder.strip_text.stop == 0) {
        TRY_ASSIGN(decoder.strip_text.character, fields.text("content"));
        TRY_ASSIGN(const int64_t start, fields.count("start", 1 << 20));
        TRY_ASSIGN(const int64_t stop, fields.count("stop", 1 << 20));
        if (decoder.strip_text.character.empty()) return fail("{}: 'content' is empty", fields.where());
        decoder.strip_text.start = static_cast<size_t>(start);
        decoder.strip_text.stop = static_cast<size_t>(stop);
        return {};
    }
    return fail(ErrorKind::unsupported, "{} has the type '{}' behind a Fuse, which is not supported", fields.where(),
                type);
}

Result<void> read_one_decoder(const JsonTree& tree, const std::string& origin, Decoder& decoder, bool& is_fused,
                              int depth) {
    const JsonFields fields(tree, origin + ": the decoder");
    TRY_ASSIGN(const std::string type, fields.text("type"));
    if (type == "Sequence") {
        if (depth >= kMostNested) return fail("{} has sequences nested deeper than {}", fields.where(), kMostNested);
        return read_each(fields, "decoders", [&](const JsonTree& element) {
            return read_one_decoder(element, origin, decoder, is_fused, depth + 1);
        });
    }
    if (is_fused) return read_text_decoder(fields, type, decoder);
    if (type == "Fuse") {
        is_fused = true;
    } else if (type == "ByteLevel") {
        decoder.steps.emplace_back(decode::ByteLevel{});
    } else if (type == "ByteFallback") {
        decoder.steps.emplace_back(decode::ByteFallback{});
    } else if (type == "Replace") {
        TRY_ASSIGN(Pattern pattern, read_pattern(fields));
        TRY_ASSIGN(std::string content, fields.text("content"));
        decoder.steps.emplace_back(decode::Replace{std::move(pattern), std::move(content)});
    } else if (type == "Metaspace") {
        TRY_ASSIGN(std::string mark, fields.text("replacement"));
        TRY_ASSIGN(const bool adds, fields.flag("add_prefix_space", true));
        TRY_ASSIGN(const std::string scheme, fields.text_or("prepend_scheme", adds ? "always" : "never"));
        decoder.first_is_special = decoder.first_is_special || scheme != "never";
        decoder.steps.emplace_back(decode::Metaspace{std::move(mark), scheme != "never"});
    } else if (type == "Strip") {
        TRY_ASSIGN(std::string content, fields.text("content"));
        TRY_ASSIGN(const int64_t start, fields.count("start", 1 << 20));
        TRY_ASSIGN(const int64_t stop, fields.count("stop", 1 << 20));
        if (content.empty()) return fail("{}: 'content' is empty", fields.where());
        decoder.steps.emplace_back(
            decode::Strip{std::move(content), static_cast<size_t>(start), static_cast<size_t>(stop)});
    } else if (type == "WordPiece") {
        TRY_ASSIGN(std::string prefix, fields.text("prefix"));
        TRY_ASSIGN(const bool cleanup, fields.flag("cleanup", true));
        decoder.first_is_special = true;
        decoder.steps.emplace_back(decode::WordPiece{std::move(prefix), cleanup});
    } else if (type == "BPEDecoder") {
        TRY_ASSIGN(std::string suffix, fields.text("suffix"));
        decoder.drops_last_space = true;
        decoder.steps.emplace_back(decode::Suffix{std::move(suffix)});
    } else {
        return fail(ErrorKind::unsupported, "{} has the type '{}', which is not supported", fields.where(), type);
    }
    return {};
}

}  // namespace

Result<void> read_normalizer(const JsonTree& tree, const std::string& origin, Normalizer& normalizer) {
    return read_one_normalizer(tree, origin, normalizer, 0);
}

Result<void> read_pre_tokenizer(const JsonTree& tree, const std::string& origin, WordSplitter& splitter) {
    return read_one_pre_tokenizer(tree, origin, splitter, 0);
}

Result<Decoder> read_decoder(const JsonTree& tree, const std::string& origin) {
    Decoder decoder;
    bool is_fused = false;
    TRY(read_one_decoder(tree, origin, decoder, is_fused, 0));
    return decoder;
}

}  // namespace invar
