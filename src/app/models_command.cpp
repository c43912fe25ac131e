// invar models: lists what this build and this machine support.
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "cpu/linear.h"
#include "text/tokenizer/tokenizer.h"

namespace invar::app {
namespace {

Json support_as_json() {
    Json architectures_json = Json::array(), formats_json = Json::array(), isas = Json::array(),
         kernels = Json::array();
    for (const Architecture* architecture : architectures()) {
        architectures_json.push_back({{"name", architecture->name}, {"summary", architecture->summary}});
    }
    for (const Format* format : formats()) {
        formats_json.push_back({{"name", format->name},
                                {"gguf_type", format->in_gguf() ? Json(format->gguf_type) : Json()},
                                {"bits_per_weight", 8.0 * format->block_bytes / format->block_weights}});
    }
    const IsaSupport support = detect_isa();
    for (const Isa isa : kAllIsas) {
        isas.push_back({{"name", isa_name(isa)},
                        {"runs_here", support.has(isa)},
                        {"why_not", support.missing[static_cast<size_t>(isa)]}});
    }
    for (const LinearKernel& kernel : linear_kernels())
        kernels.push_back({{"name", kernel.name}, {"isa", isa_name(kernel.isa)}});
    return {{"architectures", std::move(architectures_json)},
            {"formats", std::move(formats_json)},
            {"tokenizers", supported_tokenizers()},
            {"instruction_sets", std::move(isas)},
            {"linear_kernels", std::move(kernels)}};
}

int print_support(bool as_json) {
    const Json support = support_as_json();
    if (as_json) {
        print_json(support);
        return kDone;
    }
    std::string text = "Architectures\n";
    for (const Json& one : support["architectures"]) {
        text += fmt::format("  {:<13} {}\n", one["name"].get<std::string>(), one["summary"].get<std::string>());
    }
    text += "\nWeight formats (bits per weight)\n";
    for (const Json& one : support["formats"]) {
        text += fmt::format("  {:<12} {:.4g}\n", one["name"].get<std::string>(), one["bits_per_weight"].get<double>());
    }
    text += "\nTokenizers\n";
    for (const Json& one : support["tokenizers"]) text += fmt::format("  {}\n", one.get<std::string>());
    text += "\nInstruction sets\n";
    for (const Json& one : support["instruction_sets"]) {
        const auto why_not = one["why_not"].get<std::string>();
        text += fmt::format("  {:<12} {}\n", one["name"].get<std::string>(), why_not.empty() ? "runs here" : why_not);
    }
    text += "\nMatrix kernels, in order of preference (--kernel)\n";
    for (const Json& one : support["linear_kernels"]) {
        text += fmt::format("  {:<28} {}\n", one["name"].get<std::string>(), one["isa"].get<std::string>());
    }
    print_result(text);
    return kDone;
}

}  // namespace

Command models_command() {
    auto json = std::make_shared<bool>(false);
    return {.name = "models",
            .summary = "List the architectures, formats, tokenizers and kernels supported",
            .settings = {{"", {{"--json", flag(*json), "Print JSON"}}}},
            .run = [json](const Arguments&) -> Result<int> { return print_support(*json); }};
}

}  // namespace invar::app
