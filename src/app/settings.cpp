#include "app/settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "app/input_text.h"
#include "app/output.h"
#include "cuda/cuda_backend.h"

namespace invar::app {
namespace {

namespace fs = std::filesystem;

std::vector<Named<std::optional<Isa>>> isa_choices() {
    std::vector<Named<std::optional<Isa>>> choices = {{"auto", std::nullopt}};
    for (const Isa isa : kAllIsas) choices.push_back({isa_name(isa), isa});
    return choices;
}

const std::vector<Named<FormRequest>> kForms = {
    {"auto", FormRequest::automatic}, {"as-stored", FormRequest::as_stored}, {"repacked", FormRequest::repacked}};

// Reads "cpu", "cuda", "cuda:1", "auto" or "auto:1".
bool read_device(std::string_view text, DeviceChoice& device) {
    const size_t colon = text.find(':');
    const std::string_view kind = text.substr(0, colon);
    if (kind == "cpu") device.kind = DeviceChoice::Kind::cpu;
    if (kind == "cuda") device.kind = DeviceChoice::Kind::cuda;
    if (kind == "auto") device.kind = DeviceChoice::Kind::automatic;
    if (colon == std::string_view::npos) return kind == "cpu" || kind == "cuda" || kind == "auto";
    const std::optional<int> index = parse_number<int>(text.substr(colon + 1));
    device.index = index.value_or(-1);
    return device.index >= 0 && (kind == "cuda" || kind == "auto");
}

Value device(DeviceChoice& value) {
    return parsed("cpu|cuda[:N]|auto[:N]", "cpu", "cpu, cuda, auto, or cuda:1 for the second device",
                  [&value](std::string_view text) { return read_device(text, value); });
}

// The memory that can be used without swapping, as the system reports it; nothing if it does not.
std::optional<int64_t> available_memory() {
    std::ifstream file("/proc/meminfo");
    std::string key, unit;
    int64_t kib = 0;
    while (file >> key >> kib >> unit) {
        if (key == "MemAvailable:") return kib * 1024;
    }
    return std::nullopt;
}

Result<void> open_device(const DeviceChoice& device, EngineSettings& settings) {
    settings.open_device = open_cuda;
    if (device.kind == DeviceChoice::Kind::cpu) {
        if (settings.gpu_layers || settings.experts == ExpertPlace::host || settings.device_memory_bytes)
            return fail("--gpu-layers, --cpu-experts and --gpu-memory are about a device; add --device cuda or auto");
        return {};
    }
    Result<std::shared_ptr<Accelerator>> opened = open_cuda(device.index);
    if (!opened && device.kind == DeviceChoice::Kind::cuda) return pass_on(std::move(opened));
    if (opened) {
        settings.device = std::move(*opened);
    } else {
        print_note(fmt::format("using the CPU: {}", opened.error().message));
    }
    return {};
}

fs::path program_folder() {
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    return error ? fs::path(".") : program.parent_path();
}

constexpr const char* kNamelessModel = "the model's name is empty; name a GGUF file or a model directory";

bool looks_like_model(const std::string& argument) {
    std::error_code error;
    return argument.ends_with(".gguf") || (argument.find('\n') == std::string::npos && fs::exists(argument, error));
}

}  // namespace

SettingGroup model_settings(ModelSettings& settings) {
    EngineSettings& engine = settings.engine;
    return {
        "Model and machine",
        {
            {"--threads", number(engine.threads, 0, 4096), "Threads; 0: one for each CPU"},
            {"--pin", flag(engine.pin), "Keep each thread on one CPU; for machines that do nothing else"},
            {"--isa", choice(engine.isa, isa_choices()), "Highest instruction set (the bits are the same)"},
            {"--kernel", text(engine.kernel), "Force one row of the matrix kernel table (see invar models)"},
            {"--context", number(engine.context, 0),
             "Positions to hold; 0: what the model was trained for, at most 4096"},
            {"--cache-positions", number(engine.cache_positions, 0),
             "Positions of all sequences together; 0: each sequence can fill its context"},
            {"--snapshots", number_or(engine.snapshots, "auto", 0),
             "States of recurrent layers kept to go back to; auto: 16, or what 512 MiB hold"},
            {"--chunk", number(engine.chunk, 1), "Prompt tokens computed in one pass"},
            {"--cache",
             choice(engine.cache_type, {{"f16", CacheType::f16}, {"bf16", CacheType::bf16}, {"f32", CacheType::f32}}),
             "How keys and values are stored"},
            {"--form", choice(engine.form, kForms), "Form of the weights; as-stored maps the file and starts at once"},
            {"--weight-cache", text(engine.weight_cache.folder),
             "Folder that keeps repacked weights: written at the first start, verified and mapped at the next ones"},
            {"--memory", bytes(engine.memory_bytes), "Memory budget, e.g. 8G; default: what the system has available"},
            {"--device", device(settings.device),
             "Where to compute; cuda:1 is the second device, auto is cuda if there is one (the bits are the same)"},
            {"--gpu-layers", number_or(engine.gpu_layers, "auto", 0),
             "Layers on the device, the last ones first, the output counting as one; auto: as many as fit"},
            {"--cpu-experts", flag(engine.experts, ExpertPlace::host), "Keep the experts of every layer on the CPU"},
            {"--gpu-memory", bytes(engine.device_memory_bytes), "Budget on the device; default: what is free there"},
        }};
}

Result<EngineSettings> engine_settings(const ModelSettings& given, const std::string& model) {
    EngineSettings settings = given.engine;
    settings.model = model;
    settings.weight_cache.notice = print_note;
    settings.memory_source = settings.memory_bytes ? "--memory" : "available memory";
    if (!settings.memory_bytes) settings.memory_bytes = available_memory();
    TRY(open_device(given.device, settings));
    return settings;
}

std::string_view form_request_name(FormRequest form) {
    for (const Named<FormRequest>& one : kForms) {
        if (one.value == form) return one.name;
    }
    return "";
}

Result<void> check_makes_logits(const ModelConfig& config, const std::string& name) {
    if (config.result == ModelResult::logits) return {};
    return fail(ErrorKind::unsupported,
                "{}: architecture {} is an encoder, which gives hidden states and no logits; use invar embed to make "
                "vectors of texts",
                name, config.architecture);
}

Result<void> check_makes_logits(const Engine& engine) {
    return check_makes_logits(engine.config(), engine.checkpoint().name());
}

void say_placement(const WeightPlan& plan) {
    if (plan.device.empty()) return;
    print_note(plan.placement);
    for (const std::string& note : plan.device_notes) print_note(note);
}

void say_left_out(const WeightPlan& plan) {
    std::vector<std::string> parts;
    int64_t tensors = 0, bytes = 0;
    for (const IgnoredTensors& one : plan.ignored) {
        if (one.kind != IgnoreKind::other_senses) continue;
        parts.push_back(one.rule);
        tensors += one.tensors;
        bytes += one.bytes;
    }
    if (parts.empty()) return;
    print_note(fmt::format("left out: {} ({} tensor{}, {} bytes), which is not part of the text model",
                           fmt::join(parts, ", "), tensors, tensors == 1 ? "" : "s", bytes));
}

Result<std::string> model_path(const std::string& given) {
    if (!given.empty()) return given;
    const fs::path folder = program_folder();
    std::string looked;
    for (const fs::path& candidate :
         {folder / "models" / "demo-moe-q8_0.gguf", folder / ".." / "share" / "invar" / "demo-moe-q8_0.gguf"}) {
        std::error_code error;
        if (fs::exists(candidate, error)) return candidate.string();
        looked += fmt::format("{}{}", looked.empty() ? "" : " and ", candidate.lexically_normal().string());
    }
    return fail(ErrorKind::not_found,
                "no model was given and the demonstration model is not there (looked for {}); name a GGUF file",
                looked);
}

bool was_given(const Arguments& given, std::string_view flag) {
    return std::any_of(given.begin(), given.end(), [&](const Argument& one) { return one.flag == flag; });
}

Result<void> check_apart(const Arguments& given, std::string_view first, std::string_view second,
                         std::string_view because) {
    if (!was_given(given, first) || !was_given(given, second)) return {};
    const auto shown = [](std::string_view name) {
        return name.starts_with('-') ? std::string(name) : fmt::format("the {}", name);
    };
    return fail("{} and {} exclude each other, because {}; leave one of them out", shown(first), shown(second),
                because);
}

Value model_name(std::string& value) {
    return {.kind = "TEXT", .read = [&value](std::string_view, std::string_view text) -> Result<void> {
                if (text.empty()) return fail(kNamelessModel);
                value = std::string(text);
                return {};
            }};
}

Result<std::string> fault_text(const std::string& given) {
    if (given.empty()) return fail("--inject is empty; name a fault (invar verify --help lists them)");
    if (!given.starts_with('@')) return given;
    TRY_ASSIGN(const std::string text, read_text_file(given.substr(1)));
    return text.substr(0, text.find('\n'));
}

Result<ModelAndPrompt> model_and_prompt(ModelAndPrompt given) {
    if (given.model && !given.prompt && !looks_like_model(*given.model)) std::swap(given.model, given.prompt);
    if (given.model && given.model->empty()) return fail(kNamelessModel);
    return given;
}

}  // namespace invar::app
