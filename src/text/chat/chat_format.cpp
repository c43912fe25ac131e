#include "text/chat/chat_format.h"

#include "base/json.h"
#include "text/tokenizer/from_checkpoint.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

// Adds the text of the special token whose id a metadata key holds, if there is one in range.
void add_special(Json& specials, std::string_view variable, std::string_view key, const Checkpoint& file,
                 const Tokenizer& tokenizer) {
    if (!file.metadata().has(key)) return;
    const auto id = file.metadata().signed_integer(key);
    if (!id || *id < 0 || *id >= tokenizer.size()) return;  // the tokenizer has already refused the ids that matter
    specials[std::string(variable)] = std::string(tokenizer.text(static_cast<int32_t>(*id)));
}

// Checks every text of the conversation, so that a text that is not UTF-8 is not taken for a fault of the template.
Result<void> check_utf8(const Json& value, int depth = 0) {
    constexpr int kMostDepth = 200;  // the template's own limit is lower
    if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        const std::optional<size_t> offset = find_invalid_utf8(text);
        if (!offset) return {};
        return fail("the prompt is not valid UTF-8 at byte {} (0x{:02X}) of one of its texts; convert it to UTF-8",
                    *offset, static_cast<uint8_t>(text[*offset]));
    }
    if (!value.is_structured() || depth == kMostDepth) return {};
    for (const Json& item : value) TRY(check_utf8(item, depth + 1));
    return {};
}

}  // namespace

Result<ChatFormat> ChatFormat::create(const Checkpoint& file, const Tokenizer& tokenizer, std::string override_source) {
    std::optional<TokenizerFiles> files;  // read once: the template and the special tokens are among them
    if (file.directory() != nullptr) {
        TRY_ASSIGN(files, TokenizerFiles::of(*file.directory()));
    }
    ChatTemplateText source{.text = std::move(override_source), .taken_from = "the chat template given"};
    if (source.text.empty()) {
        TRY_ASSIGN(std::optional<ChatTemplateText> stored,
                   files ? read_chat_template(*files) : read_chat_template(file));
        if (!stored) {
            return fail("{}: there is no chat template ({}); use --raw, or give one with --chat-template", file.name(),
                        file.directory() == nullptr ? "tokenizer.chat_template"
                                                    : "chat_template.jinja, or one in tokenizer_config.json");
        }
        source = std::move(*stored);
        if (source.text.find_first_not_of(" \t\r\n") == std::string::npos) {
            return fail("{}: the chat template is empty; use --raw, or give one with --chat-template",
                        source.taken_from);
        }
    }
    TRY_ASSIGN(ChatTemplate compiled, ChatTemplate::compile(std::move(source.text), std::move(source.taken_from)));
    Json specials = Json::object();
    if (files) {
        TRY_ASSIGN(const SpecialTexts texts, read_special_texts(*files));
        const auto add = [&](const char* variable, const std::optional<std::string>& text) {
            if (text) specials[variable] = *text;
        };
        add("bos_token", texts.bos);
        add("eos_token", texts.eos);
        add("pad_token", texts.padding);
        add("unk_token", texts.unknown);
        return ChatFormat(std::move(compiled), tokenizer, std::move(specials));
    }
    add_special(specials, "bos_token", "tokenizer.ggml.bos_token_id", file, tokenizer);
    add_special(specials, "eos_token", "tokenizer.ggml.eos_token_id", file, tokenizer);
    add_special(specials, "pad_token", "tokenizer.ggml.padding_token_id", file, tokenizer);
    add_special(specials, "unk_token", "tokenizer.ggml.unknown_token_id", file, tokenizer);
    return ChatFormat(std::move(compiled), tokenizer, std::move(specials));
}

Result<ChatPrompt> ChatFormat::prompt(const Json& messages, const ChatOptions& options) const {
    TRY(check_utf8(messages));
    Json context = specials_;
    context["messages"] = messages;
    context["tools"] = options.tools;
    context["documents"] = nullptr;
    context["add_generation_prompt"] = options.add_generation_prompt;
    for (const auto& [name, value] : options.variables.items()) context[name] = value;
    ChatPrompt prompt;
    TRY_ASSIGN(prompt.text, template_.render(context, TemplateLimits{}, options.now_seconds));
    TRY_ASSIGN(prompt.tokens, tokenizer_->encode(prompt.text, Tokenizer::Specials::parse, Tokenizer::Ends::none));
    return prompt;
}

}  // namespace invar
