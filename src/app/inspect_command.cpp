// invar inspect MODEL: shows what a file says about itself: metadata, tensors, tokenizer, template. It loads no
// weights.
#include <unordered_map>

#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "checkpoint/binding.h"
#include "files/inspect.h"
#include "files/printable.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

struct InspectFlags {
    std::string model;
    bool json = false, tensors = false, chat_template = false;
};

// What the tokenizer and the template are recognised as, or the sentence that says why they are not.
Json text_support(const Checkpoint& file) {
    Json result = Json::object();
    const auto tokenizer = read_tokenizer(file);
    if (!tokenizer) {
        result["tokenizer_error"] = tokenizer.error().message;
        return result;
    }
    Json ends = Json::array();
    for (const EndToken& end : tokenizer->end_tokens()) {
        ends.push_back({{"token", end.token}, {"text", tokenizer->text(end.token)}, {"reason", end.reason}});
    }
    result["tokenizer"] = {{"model", tokenizer->model()},       {"pre_tokenizer", tokenizer->pre_tokenizer()},
                           {"tokens", tokenizer->size()},       {"adds_bos", tokenizer->adds_bos()},
                           {"adds_eos", tokenizer->adds_eos()}, {"end_tokens", std::move(ends)},
                           {"notes", tokenizer->notes()}};
    const auto format = ChatFormat::create(file, *tokenizer, "");
    if (format) {
        result["chat_template"] = {{"bytes", format->chat_template().source().size()},
                                   {"variables", format->chat_template().free_variables()}};
    } else {
        result["chat_template_error"] = format.error().message;
    }
    return result;
}

std::string describe_text_support(const Json& text) {
    std::string out;
    if (text.contains("tokenizer_error")) return "tokenizer: " + text["tokenizer_error"].get<std::string>() + "\n";
    const Json& tokenizer = text["tokenizer"];
    out += fmt::format("tokenizer: {}{}, {} tokens, {}adds BOS, {}adds EOS\n", tokenizer["model"].get<std::string>(),
                       tokenizer["pre_tokenizer"].get<std::string>().empty()
                           ? ""
                           : " / " + tokenizer["pre_tokenizer"].get<std::string>(),
                       tokenizer["tokens"].get<int64_t>(), tokenizer["adds_bos"].get<bool>() ? "" : "never ",
                       tokenizer["adds_eos"].get<bool>() ? "" : "never ");
    for (const Json& end : tokenizer["end_tokens"]) {
        out += fmt::format("  ends an answer: {} {} ({})\n", end["token"].get<int32_t>(),
                           end["text"].get<std::string>(), end["reason"].get<std::string>());
    }
    for (const Json& note : tokenizer["notes"]) out += fmt::format("  note: {}\n", note.get<std::string>());
    if (text.contains("chat_template_error"))
        return out + "chat template: " + text["chat_template_error"].get<std::string>() + "\n";
    std::string variables;
    for (const Json& name : text["chat_template"]["variables"])
        variables += (variables.empty() ? "" : ", ") + name.get<std::string>();
    return out +
           fmt::format("chat template: {} bytes; reads {}\n", text["chat_template"]["bytes"].get<int64_t>(), variables);
}

// The model's dimensions and the binding of its tensors as the engine reads them, or the sentence that says why it
// cannot.
Json model_support(const Checkpoint& file) {
    Json result = Json::object();
    const auto describe = [&]() -> Result<void> {
        TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
        TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
        result["architecture"] = architecture->name;
        Json numbers = Json::object();
        for (const ConfigField& field : fields_of(config)) numbers[field.name] = field.value;
        result["numbers"] = std::move(numbers);
        result["notes"] = config.notes;
        TRY_ASSIGN(const Binding binding, bind_weights(config, architecture->declare(config, file), file));
        Json ignored = Json::array();
        for (const IgnoredTensors& one : binding.ignored) {
            ignored.push_back(
                {{"rule", one.rule}, {"because", one.because}, {"tensors", one.tensors}, {"bytes", one.bytes}});
        }
        result["ignored"] = std::move(ignored);
        return {};
    };
    if (const auto described = describe(); !described) result["error"] = described.error().message;
    return result;
}

std::string describe_model_support(const Json& model) {
    std::string text;
    if (model.contains("error")) return fmt::format("the engine refuses it: {}\n", model["error"].get<std::string>());
    for (const Json& one : model["ignored"]) {
        text +=
            fmt::format("ignored: {} tensors {} ({} bytes), {}\n", one["tensors"].get<int64_t>(),
                        one["rule"].get<std::string>(), one["bytes"].get<int64_t>(), one["because"].get<std::string>());
    }
    for (const Json& note : model["notes"]) text += fmt::format("note: {}\n", note.get<std::string>());
    return text;
}

void print_directory(const Json& report, const Json& model, const Json& text, bool every_tensor) {
    print_result(fmt::format("{}: SafeTensors, {} files, {} bytes, {} tensors\n\n", report["file"].get<std::string>(),
                             report["parts"].size(), report["file_bytes"].get<int64_t>(), report["tensors"].size()));
    for (const auto& [key, value] : report["config"].items())
        print_result(
            fmt::format("  {:<32} {}\n", printable(key), value.dump(-1, ' ', false, Json::error_handler_t::replace)));
    print_result("\n");
    for (const Json& total : report["dtypes"]) {
        print_result(fmt::format("  {:<8} {:>5} tensors {:>14} bytes\n", total["dtype"].get<std::string>(),
                                 total["tensors"].get<int64_t>(), total["bytes"].get<int64_t>()));
    }
    for (const Json& tensor : report["tensors"]) {
        if (!every_tensor) break;
        print_result(fmt::format("  {:<56} {:<8} {:<24} {:>12} bytes at {} of part {}\n",
                                 tensor["name"].get<std::string>(), tensor["dtype"].get<std::string>(),
                                 tensor["shape"].dump(), tensor["bytes"].get<int64_t>(),
                                 tensor["offset"].get<int64_t>(), tensor["part"].get<int>()));
    }
    print_result("\n" + describe_model_support(model) + describe_text_support(text));
}

void print_report(const Json& report, const Json& model, const Json& text, bool every_tensor) {
    if (!report.contains("version")) return print_directory(report, model, text, every_tensor);
    print_result(fmt::format("{}: GGUF v{}, {} bytes, {} tensors, {} weights\n\n", report["file"].get<std::string>(),
                             report["version"].get<int64_t>(), report["file_bytes"].get<int64_t>(),
                             report["tensors"].size(), report["weights"].get<int64_t>()));
    for (const Json& entry : report["metadata"]) {
        const std::string value = entry["value"].dump(-1, ' ', false, Json::error_handler_t::replace);
        const std::string count =
            entry.contains("count") ? fmt::format(" ({} in all)", entry["count"].get<int64_t>()) : std::string();
        print_result(fmt::format("  {:<44} {:<16} {}{}\n", entry["key"].get<std::string>(),
                                 entry["type"].get<std::string>(), value, count));
    }
    print_result("\n");
    for (const Json& format : report["formats"]) {
        print_result(fmt::format("  {:<8} {:>5} tensors {:>14} weights {:>14} bytes\n",
                                 format["format"].get<std::string>(), format["tensors"].get<int64_t>(),
                                 format["weights"].get<int64_t>(), format["bytes"].get<int64_t>()));
    }
    if (every_tensor) {
        print_result("\n");
        for (const Json& tensor : report["tensors"]) {
            print_result(fmt::format("  {:<32} {:<8} {:<24} {:>12} bytes at {}\n", tensor["name"].get<std::string>(),
                                     tensor["format"].get<std::string>(), tensor["shape"].dump(),
                                     tensor["bytes"].get<int64_t>(), tensor["offset"].get<int64_t>()));
        }
    }
    print_result("\n" + describe_model_support(model) + describe_text_support(text));
}

Result<int> inspect_model(const InspectFlags& flags) {
    TRY_ASSIGN(const std::string path, model_path(flags.model));
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(path));
    if (flags.chat_template) {
        TRY_ASSIGN(const std::optional<ChatTemplateText> source, read_chat_template(file));
        if (!source) return fail("{}: there is no chat template", file.name());
        print_result(source->text);
        print_result("\n");
        return kDone;
    }
    Json report = inspect(file);
    Json text = text_support(file);
    Json model = model_support(file);
    if (flags.json) {
        report["model"] = std::move(model);
        report["text"] = std::move(text);
        print_json(report);
    } else {
        print_report(report, model, text, flags.tensors);
    }
    return kDone;
}

}  // namespace

Command inspect_command() {
    auto flags = std::make_shared<InspectFlags>();
    return {.name = "inspect",
            .summary = "Show what a model file contains: metadata, tensors, tokenizer, template",
            .settings = {{"",
                          {
                              {"model", text(flags->model), "GGUF file; default: the demonstration model"},
                              {"--json", flag(flags->json), "Print JSON"},
                              {"--tensors", flag(flags->tensors), "List every tensor"},
                              {"--template", flag(flags->chat_template), "Print the chat template and nothing else"},
                          }}},
            .run = [flags](const Arguments&) { return inspect_model(*flags); }};
}

}  // namespace invar::app
