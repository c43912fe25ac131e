#include "app/describe_text.h"

#include "files/printable.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

std::string tokenizer_lines(const Json& tokenizer) {
    const auto pre_tokenizer = tokenizer["pre_tokenizer"].get<std::string>();
    std::string out =
        fmt::format("tokenizer: {}{}, {} tokens, {}adds BOS, {}adds EOS\n  taken from {}\n",
                    tokenizer["model"].get<std::string>(), pre_tokenizer.empty() ? "" : " / " + pre_tokenizer,
                    tokenizer["tokens"].get<int64_t>(), tokenizer["adds_bos"].get<bool>() ? "" : "never ",
                    tokenizer["adds_eos"].get<bool>() ? "" : "never ", tokenizer["taken_from"].get<std::string>());
    for (const Json& end : tokenizer["end_tokens"]) {
        out += fmt::format("  ends an answer: {} {} ({})\n", end["token"].get<int32_t>(),
                           printable(end["text"].get<std::string>()), end["reason"].get<std::string>());
    }
    if (tokenizer["end_tokens"].empty()) out += "  no token ends an answer\n";
    for (const Json& note : tokenizer["notes"]) out += fmt::format("  note: {}\n", note.get<std::string>());
    return out;
}

std::string template_lines(const Json& chat_template) {
    std::string variables;
    for (const Json& name : chat_template["variables"])
        variables += (variables.empty() ? "" : ", ") + name.get<std::string>();
    return fmt::format("chat template: {} bytes; reads {}\n  taken from {}\n  {}\n",
                       chat_template["bytes"].get<int64_t>(), variables.empty() ? "nothing" : variables,
                       chat_template["taken_from"].get<std::string>(),
                       printable(chat_template["answers"].get<std::string>(), 300));
}

}  // namespace

Json describe_tokenizer(const Tokenizer& tokenizer) {
    Json ends = Json::array();
    for (const EndToken& end : tokenizer.end_tokens()) {
        ends.push_back({{"token", end.token}, {"text", tokenizer.text(end.token)}, {"reason", end.reason}});
    }
    return {{"model", tokenizer.model()},       {"taken_from", tokenizer.taken_from()},
            {"tokens", tokenizer.size()},       {"pre_tokenizer", tokenizer.pre_tokenizer()},
            {"adds_bos", tokenizer.adds_bos()}, {"adds_eos", tokenizer.adds_eos()},
            {"end_tokens", std::move(ends)},    {"notes", tokenizer.notes()}};
}

Json describe_template(const ChatFormat& format) {
    const ChatTemplate& chat_template = format.chat_template();
    return {{"taken_from", chat_template.name()},
            {"bytes", chat_template.source().size()},
            {"variables", chat_template.free_variables()},
            {"answers", describe(format.answers())}};
}

Json describe_text(const Checkpoint& file) {
    Json result = Json::object();
    const auto tokenizer = read_tokenizer(file);
    if (!tokenizer) {
        result["tokenizer_error"] = tokenizer.error().message;
        return result;
    }
    result["tokenizer"] = describe_tokenizer(*tokenizer);
    const auto format = ChatFormat::create(file, *tokenizer, "");
    if (format) {
        result["chat_template"] = describe_template(*format);
    } else {
        result["chat_template_error"] = format.error().message;
    }
    return result;
}

std::string text_lines(const Json& text) {
    std::string out;
    const auto error = [&](const char* key, const char* title) {
        if (text.contains(key)) out += fmt::format("{}: {}\n", title, text[key].get<std::string>());
    };
    error("tokenizer_error", "tokenizer");
    if (text.contains("tokenizer")) out += tokenizer_lines(text["tokenizer"]);
    error("chat_template_error", "chat template");
    if (text.contains("chat_template")) out += template_lines(text["chat_template"]);
    return out;
}

}  // namespace invar::app
