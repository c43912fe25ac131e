#include "app/settings.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "app/output.h"
#include "cuda/cuda_backend.h"

namespace invar::app {
namespace {

namespace fs = std::filesystem;

template <class Value>
struct Choice {
    std::string_view name;
    Value value;
};

constexpr std::array<Choice<CacheType>, 3> kCacheTypes = {
    {{"f16", CacheType::f16}, {"bf16", CacheType::bf16}, {"f32", CacheType::f32}}};
constexpr std::array<Choice<FormRequest>, 3> kForms = {
    {{"auto", FormRequest::automatic}, {"as-stored", FormRequest::as_stored}, {"repacked", FormRequest::repacked}}};

template <class Value, size_t N>
Result<Value> pick(const std::array<Choice<Value>, N>& choices, std::string_view flag, std::string_view given) {
    std::string names;
    for (const auto& choice : choices) {
        if (choice.name == given) return choice.value;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", choice.name);
    }
    return fail("{} '{}' is not known; choose one of {}", flag, given, names);
}

// "8G", "512M", "1000000" as bytes.
Result<int64_t> parse_bytes(std::string_view flag, const std::string& text) {
    size_t used = 0;
    double number = 0;
    try {
        number = std::stod(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    const std::string unit = text.substr(used);
    int64_t scale = 0;
    if (unit.empty()) scale = 1;
    if (unit == "K" || unit == "k") scale = int64_t{1} << 10;
    if (unit == "M") scale = int64_t{1} << 20;
    if (unit == "G") scale = int64_t{1} << 30;
    if (used == 0 || scale == 0 || !(number > 0) || number > 1e15) {
        return fail("{} '{}' is not an amount; write bytes, or a number with K, M or G, e.g. 8G", flag, text);
    }
    return static_cast<int64_t>(number * static_cast<double>(scale));
}

// What the system says could be used without swapping; nothing where it does not say.
std::optional<int64_t> available_memory() {
    std::ifstream file("/proc/meminfo");
    std::string key, unit;
    int64_t kib = 0;
    while (file >> key >> kib >> unit) {
        if (key == "MemAvailable:") return kib * 1024;
    }
    return std::nullopt;
}

// "cuda", "cuda:1" or "auto", "auto:1": the number of the device.
Result<int> device_index(const std::string& device) {
    const size_t colon = device.find(':');
    if (colon == std::string::npos) return 0;
    int index = -1;
    const char *begin = device.data() + colon + 1, *end = device.data() + device.size();
    const auto parsed = std::from_chars(begin, end, index);
    if (parsed.ec != std::errc() || parsed.ptr != end || index < 0)
        return fail("--device '{}' has no number behind the colon; write e.g. cuda:1", device);
    return index;
}

Result<void> device_settings(const ModelFlags& flags, EngineSettings& settings) {
    settings.open_device = open_cuda;
    settings.experts = flags.cpu_experts ? ExpertPlace::host : ExpertPlace::with_their_layer;
    if (flags.gpu_layers != "auto") {
        int64_t layers = -1;
        const char* end = flags.gpu_layers.data() + flags.gpu_layers.size();
        const auto parsed = std::from_chars(flags.gpu_layers.data(), end, layers);
        if (parsed.ec != std::errc() || parsed.ptr != end || layers < 0)
            return fail("--gpu-layers '{}' is not a number of layers; write auto, 0 or more", flags.gpu_layers);
        settings.gpu_layers = layers;
    }
    if (!flags.gpu_memory.empty()) {
        TRY_ASSIGN(settings.device_memory_bytes, parse_bytes("--gpu-memory", flags.gpu_memory));
    }
    const std::string kind = flags.device.substr(0, flags.device.find(':'));
    if (kind != "cpu" && kind != "cuda" && kind != "auto")
        return fail("--device '{}' is not known; choose one of cpu, cuda, auto, or cuda:1 for the second device",
                    flags.device);
    if (flags.device == "cpu") {
        if (flags.gpu_layers != "auto" || flags.cpu_experts || !flags.gpu_memory.empty())
            return fail("--gpu-layers, --cpu-experts and --gpu-memory are about a device; add --device cuda or auto");
        return {};
    }
    TRY_ASSIGN(const int index, device_index(flags.device));
    if (kind == "cpu") return fail("--device '{}': the CPU has no number; write cpu", flags.device);
    Result<std::shared_ptr<Accelerator>> device = open_cuda(index);
    if (!device && kind == "cuda") return pass_on(std::move(device));
    if (device) {
        settings.device = std::move(*device);
    } else {
        print_note(fmt::format("using the CPU: {}", device.error().message));
    }
    return {};
}

fs::path program_folder() {
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    return error ? fs::path(".") : program.parent_path();
}

}  // namespace

void add_model_flags(CLI::App& command, ModelFlags& flags) {
    const auto group = "Model and machine";
    command.add_option("--threads", flags.threads, "Threads; 0: one for each CPU")->group(group);
    command.add_flag("--pin", flags.pin, "Keep each thread on one CPU; on a machine that has nothing else to do")
        ->group(group);
    command
        .add_option("--isa", flags.isa,
                    "Highest instruction set: auto, scalar, avx2, avx_vnni, avx512, amx (the bits are the same)")
        ->group(group);
    command.add_option("--kernel", flags.kernel, "Force one row of the matrix kernel table (see invar models)")
        ->group(group);
    command
        .add_option("--context", flags.context, "Positions to hold; 0: what the model was trained for, at most 4096")
        ->group(group);
    command.add_option("--chunk", flags.chunk, "Prompt tokens computed in one pass")
        ->group(group)
        ->capture_default_str();
    command.add_option("--cache", flags.cache_type, "How keys and values are stored: f16, bf16, f32")
        ->group(group)
        ->capture_default_str();
    command.add_option("--form", flags.form, "Weights: auto, as-stored (mapped, starts at once), repacked")
        ->group(group)
        ->capture_default_str();
    command
        .add_option(
            "--weight-cache", flags.weight_cache,
            "Folder that keeps repacked weights: written at the first start, verified and mapped at the next ones")
        ->group(group);
    command.add_option("--memory", flags.memory, "Memory budget, e.g. 8G; default: what the system has available")
        ->group(group);
    command
        .add_option("--device", flags.device,
                    "cpu, cuda, cuda:1 (the second one), or auto: cuda where there is one (the bits are the same)")
        ->group(group)
        ->capture_default_str();
    command
        .add_option("--gpu-layers", flags.gpu_layers,
                    "Layers on the device, the last ones first, the output counting as one; auto: as many as fit")
        ->group(group)
        ->capture_default_str();
    command.add_flag("--cpu-experts", flags.cpu_experts, "Keep the experts of every layer on the CPU")->group(group);
    command.add_option("--gpu-memory", flags.gpu_memory, "Budget on the device; default: what is free there")
        ->group(group);
}

Result<EngineSettings> engine_settings(const ModelFlags& flags, const std::string& model) {
    EngineSettings settings;
    settings.model = model;
    if (flags.isa != "auto") {
        settings.isa = find_isa_by_name(flags.isa);
        if (!settings.isa)
            return fail("--isa '{}' is not known; choose one of auto, scalar, avx2, avx_vnni, avx512, amx", flags.isa);
    }
    if (flags.threads < 0 || flags.threads > 4096)
        return fail("--threads is {}, but must be between 0 (all CPUs) and 4096", flags.threads);
    settings.kernel = flags.kernel;
    settings.threads = flags.threads;
    settings.pin = flags.pin;
    settings.weight_cache = {.folder = flags.weight_cache, .notice = print_note};
    settings.context = flags.context;
    settings.chunk = flags.chunk;
    TRY_ASSIGN(settings.cache_type, pick(kCacheTypes, "--cache", flags.cache_type));
    TRY_ASSIGN(settings.form, pick(kForms, "--form", flags.form));
    if (!flags.memory.empty()) {
        TRY_ASSIGN(settings.memory_bytes, parse_bytes("--memory", flags.memory));
        settings.memory_source = "--memory";
    } else {
        settings.memory_bytes = available_memory();
        settings.memory_source = "available memory";
    }
    TRY(device_settings(flags, settings));
    return settings;
}

void say_placement(const WeightPlan& plan) {
    if (plan.device.empty()) return;
    print_note(plan.placement);
    for (const std::string& note : plan.device_notes) print_note(note);
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

Result<std::string> fault_text(const std::string& given) {
    if (!given.starts_with('@')) return given;
    std::ifstream file(given.substr(1));
    std::string line;
    if (!std::getline(file, line)) return fail("--inject {}: the file cannot be read or is empty", given);
    return line;
}

bool looks_like_model(const std::string& argument) {
    std::error_code error;
    return argument.ends_with(".gguf") || (argument.find('\n') == std::string::npos && fs::exists(argument, error));
}

}  // namespace invar::app
