// invar bench MODEL: speed of prompts and of generation, as tokens a second and as a share of what the memory of this
// machine delivers to the same threads in the same minutes. Load time is apart and never part of a speed.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "app/output.h"
#include "app/settings.h"
#include "arithmetic/version.h"
#include "cpu/read_probe.h"
#include "generate/session.h"

namespace invar::app {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchFlags {
    ModelFlags model_flags;
    std::string model;
    std::vector<int64_t> prompts = {512}, generations = {64};
    int64_t depth = 0;
    int repetitions = 5;
    bool json = false;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Spread {
    double median = 0, low = 0, high = 0;
};

Spread spread_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {.median = median, .low = values.front(), .high = values.back()};
}

// Fixed tokens of the vocabulary, different ones in a row: a constant token would flatter the caches.
std::vector<int32_t> varied_tokens(int64_t count, int64_t vocabulary) {
    std::vector<int32_t> tokens;
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (int64_t i = 0; i < count; ++i) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        tokens.push_back(static_cast<int32_t>(state % static_cast<uint64_t>(vocabulary)));
    }
    return tokens;
}

// Bytes of weights that one generated token reads: every matrix once, of experts the chosen ones, of the embedding one
// row.
int64_t weight_bytes_of_token(const Engine& engine) {
    const ExpertGeometry& experts = engine.config().experts;
    int64_t total = 0;
    for (const PlanEntry& entry : engine.plan().entries) {
        const bool only_looked_up = entry.id.role == Role::token_embedding &&
                                    engine.weights().find({-1, Role::output_head})->alias_of == std::nullopt;
        if (only_looked_up) {
            total += entry.bytes / entry.shape[0];
        } else if (entry.kind == WeightShape::stack) {
            total += entry.bytes / experts.count * experts.per_token;
        } else {
            total += entry.bytes;
        }
    }
    return total;
}

// Bytes of keys and values that a query at `position` reads.
int64_t cache_bytes_of_token(const Engine& engine, int64_t position) {
    int64_t total = 0;
    for (const LayerGeometry& layer : engine.config().layers) {
        const int64_t seen = layer.window > 0 ? std::min<int64_t>(position, layer.window) : position;
        total +=
            seen * layer.kv_heads * (layer.key_width + layer.value_width) * cache_type_bytes(engine.plan().cache_type);
    }
    return total;
}

struct Measurement {
    std::string work;
    int64_t tokens = 0;
    Spread tokens_per_second;
    Spread gigabytes_per_second;  // of weights and cache; generation only
    double probe_gigabytes = 0;   // median of the read probes taken between the runs
};

Json as_json(const Measurement& one) {
    Json json = {{"work", one.work},
                 {"tokens", one.tokens},
                 {"tokens_per_second", one.tokens_per_second.median},
                 {"low", one.tokens_per_second.low},
                 {"high", one.tokens_per_second.high}};
    if (one.probe_gigabytes > 0) {
        json["gigabytes_per_second"] = one.gigabytes_per_second.median;
        json["read_probe_gigabytes_per_second"] = one.probe_gigabytes;
        json["share_of_read_probe"] = one.gigabytes_per_second.median / one.probe_gigabytes;
    }
    return json;
}

Result<Measurement> measure_prompt(Engine& engine, const BenchFlags& flags, int64_t tokens) {
    Measurement result{.work = "prompt", .tokens = tokens, .tokens_per_second = {}, .gigabytes_per_second = {}};
    std::vector<double> speeds;
    const std::vector<int32_t> prompt = varied_tokens(flags.depth + tokens, engine.config().vocabulary);
    for (int run = 0; run <= flags.repetitions; ++run) {
        Session session(engine);
        if (flags.depth > 0)
            TRY(session.advance_to(std::span(prompt).first(static_cast<size_t>(flags.depth)), nullptr));
        const auto start = Clock::now();
        TRY(session.advance_to(prompt, nullptr));
        if (run > 0) speeds.push_back(static_cast<double>(tokens) / seconds_since(start));  // the first run warms up
    }
    result.tokens_per_second = spread_of(speeds);
    return result;
}

Result<Measurement> measure_generation(Engine& engine, const BenchFlags& flags, int64_t tokens) {
    Measurement result{.work = "generation", .tokens = tokens, .tokens_per_second = {}, .gigabytes_per_second = {}};
    TRY_ASSIGN(ReadProbe probe, ReadProbe::create(engine.threads()));
    std::vector<double> speeds, rates, probes;
    const std::vector<int32_t> text = varied_tokens(flags.depth + tokens + 1, engine.config().vocabulary);
    const int64_t weights = weight_bytes_of_token(engine);
    for (int run = 0; run <= flags.repetitions; ++run) {
        Session session(engine);
        TRY(session.advance_to(std::span(text).first(static_cast<size_t>(flags.depth + 1)), nullptr));
        int64_t bytes = 0;
        const auto start = Clock::now();
        for (int64_t i = 0; i < tokens; ++i) {
            TRY(session.append(text[static_cast<size_t>(flags.depth + 1 + i)]));
            bytes += weights + cache_bytes_of_token(engine, static_cast<int64_t>(session.tokens().size()));
        }
        const double seconds = seconds_since(start);
        const double probed = probe.gigabytes_per_second();
        if (run == 0) continue;
        speeds.push_back(static_cast<double>(tokens) / seconds);
        rates.push_back(static_cast<double>(bytes) / seconds / 1e9);
        probes.push_back(probed);
    }
    result.tokens_per_second = spread_of(speeds);
    result.gigabytes_per_second = spread_of(rates);
    result.probe_gigabytes = spread_of(probes).median;
    return result;
}

void print_table(const Engine& engine, const std::vector<Measurement>& measurements, double load_seconds) {
    print_result(fmt::format(
        "{} ({}), {} threads, {}, arithmetic {}; loaded in {:.2f} s; {:.1f} MiB of weights a generated token\n\n",
        engine.config().name, engine.config().architecture, engine.machine().threads, isa_name(engine.machine().isa),
        kArithmeticVersion, load_seconds, static_cast<double>(weight_bytes_of_token(engine)) / (1 << 20)));
    print_result(fmt::format("{:<18} {:>12} {:>20} {:>10} {:>12} {:>8}\n", "work", "tok/s median", "low .. high",
                             "GB/s", "probe GB/s", "share"));
    for (const Measurement& one : measurements) {
        const Spread& speed = one.tokens_per_second;
        std::string line = fmt::format("{:<18} {:>12.2f} {:>20}", fmt::format("{} of {}", one.work, one.tokens),
                                       speed.median, fmt::format("{:.2f} .. {:.2f}", speed.low, speed.high));
        if (one.probe_gigabytes > 0) {
            line += fmt::format(" {:>10.2f} {:>12.2f} {:>7.1f} %", one.gigabytes_per_second.median, one.probe_gigabytes,
                                100 * one.gigabytes_per_second.median / one.probe_gigabytes);
        }
        print_result(line + "\n");
    }
    print_result("\nkernels:");
    std::string_view last;
    for (const KernelUse& use : engine.ops().kernels_used()) {
        if (use.kernel != last)
            print_result(fmt::format(" {}({})", use.kernel, use.format.empty() ? use.verb : use.format));
        last = use.kernel;
    }
    print_result("\n");
}

Result<int> bench(const BenchFlags& flags) {
    if (flags.repetitions < 1 || flags.repetitions > 1000)
        return fail("--runs is {}, but must be between 1 and 1000", flags.repetitions);
    int64_t longest = 1;
    for (const auto* list : {&flags.prompts, &flags.generations}) {
        for (const int64_t tokens : *list) {
            if (tokens < 1) return fail("{} tokens cannot be measured; give at least 1", tokens);
            longest = std::max(longest, tokens + 1);
        }
    }
    if (flags.depth < 0) return fail("--depth is {}, but must be 0 or more", flags.depth);
    TRY_ASSIGN(const std::string path, model_path(flags.model));
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.model_flags, path));
    if (settings.context == 0) settings.context = flags.depth + longest;
    const auto load_start = Clock::now();
    ProgressBar bar("loading");
    TRY_ASSIGN(const std::unique_ptr<Engine> engine,
               Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    bar.clear();
    const double load_seconds = seconds_since(load_start);
    std::vector<Measurement> measurements;
    for (const int64_t tokens : flags.prompts) {
        TRY_ASSIGN(const Measurement one, measure_prompt(*engine, flags, tokens));
        measurements.push_back(one);
    }
    for (const int64_t tokens : flags.generations) {
        TRY_ASSIGN(const Measurement one, measure_generation(*engine, flags, tokens));
        measurements.push_back(one);
    }
    if (!flags.json) {
        print_table(*engine, measurements, load_seconds);
        return kDone;
    }
    Json works = Json::array(), kernels = Json::array();
    for (const Measurement& one : measurements) works.push_back(as_json(one));
    for (const KernelUse& use : engine->ops().kernels_used()) {
        kernels.push_back({{"verb", use.verb},
                           {"format", use.format},
                           {"shape", shape_class_name(use.shape)},
                           {"kernel", use.kernel}});
    }
    print_json({{"model", engine->config().name},
                {"architecture", engine->config().architecture},
                {"threads", engine->machine().threads},
                {"isa", isa_name(engine->machine().isa)},
                {"arithmetic", kArithmeticVersion},
                {"load_seconds", load_seconds},
                {"weight_bytes_per_token", weight_bytes_of_token(*engine)},
                {"depth", flags.depth},
                {"measurements", std::move(works)},
                {"kernels", std::move(kernels)}});
    return kDone;
}

}  // namespace

void add_bench_command(CLI::App& cli, Action& action) {
    auto flags = std::make_shared<BenchFlags>();
    CLI::App* command = cli.add_subcommand("bench", "Measure prompt and generation speed against the machine's memory");
    command->add_option("model", flags->model, "GGUF file; default: the demonstration model");
    command->add_option("--prompt", flags->prompts, "Prompt lengths to measure")->delimiter(',')->capture_default_str();
    command->add_option("--generate", flags->generations, "Numbers of tokens to generate")
        ->delimiter(',')
        ->capture_default_str();
    command->add_option("--depth", flags->depth, "Tokens already in the context")->capture_default_str();
    command->add_option("--runs", flags->repetitions, "Counted runs of each, after one that warms up")
        ->capture_default_str();
    command->add_flag("--json", flags->json, "Print JSON");
    command->footer(
        "Examples:\n  invar bench model.gguf --threads 2\n  invar bench model.gguf --prompt 128,512 --generate 32 "
        "--json");
    add_model_flags(*command, flags->model_flags);
    command->callback([flags, &action] { action = [flags] { return bench(*flags); }; });
}

}  // namespace invar::app
