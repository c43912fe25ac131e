// invar inspect MODEL: shows what a file says about itself: metadata, tensors, tokenizer, template. It loads no
// weights.
#include "app/describe_text.h"
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "checkpoint/binding.h"
#include "files/inspect.h"
#include "files/printable.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

struct InspectFlags {
    std::string model;
    bool json = false, tensors = false, chat_template = false;
};

// The model's numbers and the use of its tensors as the engine reads them, or the sentence that says why it refuses.
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
    print_result(fmt::format("{}: SafeTensors, {} file{}, {} bytes, {} tensors\n\n", report["file"].get<std::string>(),
                             report["parts"].size(), report["parts"].size() == 1 ? "" : "s",
                             report["file_bytes"].get<int64_t>(), report["tensors"].size()));
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
    print_result("\n" + describe_model_support(model) + text_lines(text));
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
    print_result("\n" + describe_model_support(model) + text_lines(text));
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
    Json text = describe_text(file);
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
                              {"model", model_name(flags->model),
                               "GGUF file or model directory; default: the demonstration model"},
                              {"--json", flag(flags->json), "Print JSON"},
                              {"--tensors", flag(flags->tensors), "List every tensor"},
                              {"--template", flag(flags->chat_template), "Print the chat template and nothing else"},
                          }}},
            .run = [flags](const Arguments&) { return inspect_model(*flags); }};
}

}  // namespace invar::app
