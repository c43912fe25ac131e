#include "app/settings.h"

#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

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
Result<int64_t> parse_bytes(const std::string& text) {
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
        return fail("--memory '{}' is not an amount; write bytes, or a number with K, M or G, e.g. 8G", text);
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
    command.add_option("--memory", flags.memory, "Memory budget, e.g. 8G; default: what the system has available")
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
    settings.context = flags.context;
    settings.chunk = flags.chunk;
    TRY_ASSIGN(settings.cache_type, pick(kCacheTypes, "--cache", flags.cache_type));
    TRY_ASSIGN(settings.form, pick(kForms, "--form", flags.form));
    if (!flags.memory.empty()) {
        TRY_ASSIGN(settings.memory_bytes, parse_bytes(flags.memory));
        settings.memory_source = "--memory";
    } else {
        settings.memory_bytes = available_memory();
        settings.memory_source = "available memory";
    }
    return settings;
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
    return fail("no model was given and the demonstration model is not there (looked for {}); name a GGUF file",
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
