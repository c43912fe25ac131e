// One line for each metadata key (from_gguf.h).
#include "text/tokenizer/from_gguf.h"

#include <limits>

namespace invar {
namespace {

// Token ids are stored as u32; 2^32 - 1 (from -1) means that there is none.
Result<int32_t> optional_token(const Metadata& metadata, std::string_view key) {
    if (!metadata.has(key)) return -1;
    TRY_ASSIGN(const int64_t token, metadata.signed_integer(key));
    if (token == -1 || token == std::numeric_limits<uint32_t>::max()) return -1;
    if (token < 0 || token > std::numeric_limits<int32_t>::max()) {
        return fail("{}: {} is {}, which is no token", metadata.file(), key, token);
    }
    return static_cast<int32_t>(token);
}

Result<std::optional<bool>> optional_switch(const Metadata& metadata, std::string_view key) {
    if (!metadata.has(key)) return std::nullopt;
    TRY_ASSIGN(const bool value, metadata.boolean(key));
    return value;
}

Result<std::string> optional_string(const Metadata& metadata, std::string_view key) {
    if (!metadata.has(key)) return std::string();
    TRY_ASSIGN(const std::string_view value, metadata.string(key));
    return std::string(value);
}

Result<std::vector<std::string>> optional_strings(const Metadata& metadata, std::string_view key) {
    if (!metadata.has(key)) return std::vector<std::string>();
    TRY_ASSIGN(const std::vector<std::string_view> views, metadata.strings(key));
    return std::vector<std::string>(views.begin(), views.end());
}

Result<std::vector<int32_t>> optional_kinds(const Metadata& metadata, std::string_view key) {
    std::vector<int32_t> kinds;
    if (!metadata.has(key)) return kinds;
    TRY_ASSIGN(const std::vector<int64_t> numbers, metadata.integers(key));
    kinds.reserve(numbers.size());
    for (const int64_t number : numbers) {
        if (number < 0 || number > 255) return fail("{}: {} has the type {}", metadata.file(), key, number);
        kinds.push_back(static_cast<int32_t>(number));
    }
    return kinds;
}

Result<std::vector<int32_t>> optional_tokens(const Metadata& metadata, std::string_view key) {
    std::vector<int32_t> tokens;
    if (!metadata.has(key)) return tokens;
    TRY_ASSIGN(const std::vector<int64_t> numbers, metadata.integers(key));
    for (const int64_t number : numbers) {
        if (number < 0 || number > std::numeric_limits<int32_t>::max())
            return fail("{}: {} names {}, which is no token", metadata.file(), key, number);
        tokens.push_back(static_cast<int32_t>(number));
    }
    return tokens;
}

// The table is a list of bytes, signed or not.
Result<std::string> optional_bytes(const Metadata& metadata, std::string_view key) {
    std::string bytes;
    if (!metadata.has(key)) return bytes;
    TRY_ASSIGN(const std::vector<int64_t> numbers, metadata.integers(key));
    bytes.reserve(numbers.size());
    for (const int64_t number : numbers) {
        if (number < -128 || number > 255) return fail("{}: {} has {}, which is no byte", metadata.file(), key, number);
        bytes.push_back(static_cast<char>(static_cast<uint8_t>(number)));
    }
    return bytes;
}

// What only vocabularies of encoders have. The key is spelled wrong in the format itself.
Result<void> read_encoder_keys(const Metadata& metadata, VocabularySource& source) {
    TRY_ASSIGN(source.classification, optional_token(metadata, "tokenizer.ggml.cls_token_id"));
    TRY_ASSIGN(source.separator, optional_token(metadata, "tokenizer.ggml.seperator_token_id"));
    TRY_ASSIGN(source.add_separator, optional_switch(metadata, "tokenizer.ggml.add_sep_token"));
    TRY_ASSIGN(source.remove_extra_spaces, optional_switch(metadata, "tokenizer.ggml.remove_extra_whitespaces"));
    TRY_ASSIGN(source.lowercase, optional_switch(metadata, "tokenizer.ggml.normalizer.lowercase"));
    TRY_ASSIGN(source.strip_accents, optional_switch(metadata, "tokenizer.ggml.normalizer.strip_accents"));
    TRY_ASSIGN(source.charsmap, optional_bytes(metadata, "tokenizer.ggml.precompiled_charsmap"));
    return {};
}

// The published tokenizer strips white space after every special token but these.
void strip_after_as_phi3(VocabularySource& source) {
    for (size_t token = 0; token < source.kinds.size() && token < source.tokens.size(); ++token) {
        const auto kind = static_cast<TokenKind>(source.kinds[token]);
        const std::string_view text = source.tokens[token];
        if (kind != TokenKind::control && kind != TokenKind::user_defined) continue;
        if (text != "<s>" && text != "<|endoftext|>") source.strip_after.push_back(static_cast<int32_t>(token));
    }
}

}  // namespace

Result<VocabularySource> vocabulary_from_gguf(const Metadata& metadata) {
    VocabularySource source;
    source.origin = metadata.file();
    if (!metadata.has("tokenizer.ggml.model")) {
        return fail("{}: the file has no tokenizer (tokenizer.ggml.model is missing): use a model file that brings one",
                    metadata.file());
    }
    TRY_ASSIGN(source.model, metadata.string("tokenizer.ggml.model"));
    TRY_ASSIGN(source.pre, optional_string(metadata, "tokenizer.ggml.pre"));
    TRY_ASSIGN(source.architecture, optional_string(metadata, "general.architecture"));
    TRY_ASSIGN(source.tokens, optional_strings(metadata, "tokenizer.ggml.tokens"));
    TRY_ASSIGN(source.kinds, optional_kinds(metadata, "tokenizer.ggml.token_type"));
    if (metadata.has("tokenizer.ggml.scores")) {
        TRY_ASSIGN(source.scores, metadata.numbers("tokenizer.ggml.scores"));
    }
    source.has_merges = metadata.has("tokenizer.ggml.merges");
    TRY_ASSIGN(source.merges, optional_strings(metadata, "tokenizer.ggml.merges"));
    TRY_ASSIGN(source.bos, optional_token(metadata, "tokenizer.ggml.bos_token_id"));
    TRY_ASSIGN(source.eos, optional_token(metadata, "tokenizer.ggml.eos_token_id"));
    TRY_ASSIGN(source.eot, optional_token(metadata, "tokenizer.ggml.eot_token_id"));
    TRY_ASSIGN(source.eom, optional_token(metadata, "tokenizer.ggml.eom_token_id"));
    TRY_ASSIGN(source.unknown, optional_token(metadata, "tokenizer.ggml.unknown_token_id"));
    TRY_ASSIGN(source.padding, optional_token(metadata, "tokenizer.ggml.padding_token_id"));
    TRY_ASSIGN(source.add_bos, optional_switch(metadata, "tokenizer.ggml.add_bos_token"));
    TRY_ASSIGN(source.add_eos, optional_switch(metadata, "tokenizer.ggml.add_eos_token"));
    TRY_ASSIGN(source.add_space_prefix, optional_switch(metadata, "tokenizer.ggml.add_space_prefix"));
    TRY_ASSIGN(source.suppressed, optional_tokens(metadata, "tokenizer.ggml.suppress_tokens"));
    TRY(read_encoder_keys(metadata, source));
    if (source.architecture == "phi3") strip_after_as_phi3(source);
    return source;
}

Result<Tokenizer> tokenizer_from_gguf(const Metadata& metadata) {
    TRY_ASSIGN(VocabularySource source, vocabulary_from_gguf(metadata));
    return Tokenizer::create(std::move(source));
}

}  // namespace invar
