// invar bench MODEL: measures the speed of prompts and of generation, in tokens per second and as a share of what this
// machine can read and multiply in the same time. Load time is shown apart and is no part of a speed. This file has the
// flags and the order of work only: src/bench measures, bench_report.h prints, bench_compare.h compares.
#include <algorithm>
#include <cstdio>

#include "app/bench_compare.h"
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "bench/counted_run.h"
#include "bench/engine_subject.h"
#include "bench/machine_ceilings.h"
#include "models/architecture.h"

namespace invar::app {
namespace {

// The number of steps in a run with several sequences.
constexpr int64_t kSequenceSteps = 8;
constexpr int64_t kMostTokens = int64_t{1} << 24;

struct BenchFlags {
    ModelSettings machine;
    std::string model, compare;
    std::vector<int64_t> prompts = {512}, generations = {64}, depths = {0};
    std::vector<int> sequences;
    int repetitions = 5;
    bool json = false, paced = false, once = false;
};

std::vector<Work> works_of(const BenchFlags& flags) {
    std::vector<Work> works;
    std::vector<int64_t> depths = flags.depths;
    std::sort(depths.begin(), depths.end());  // a deeper context continues the shallower one
    for (const int64_t depth : depths) {
        for (const int64_t tokens : flags.prompts) {
            if (tokens > 0) works.push_back({.kind = WorkKind::prompt, .tokens = tokens, .depth = depth});
        }
        for (const int64_t tokens : flags.generations) {
            if (tokens > 0) works.push_back({.kind = WorkKind::generation, .tokens = tokens, .depth = depth});
        }
        for (const int count : flags.sequences) {
            works.push_back(
                {.kind = WorkKind::sequences, .tokens = kSequenceSteps, .depth = depth, .sequences = count});
        }
    }
    return works;
}

// Refuses encoders, and works that are longer than the model's context, in words of the flags that asked for them.
Result<void> check_context(const EngineSettings& settings, const std::vector<Work>& works) {
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(settings.model));
    TRY_ASSIGN(const Architecture* const architecture, find_architecture(file));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
    TRY(check_makes_logits(config, file.name()));
    for (const Work& work : works) {
        if (work.depth + work.tokens <= config.context_length) continue;
        return fail("{}: a {} needs a context of {} tokens, but the model was trained for {}; ask for less",
                    file.name(), describe(work), work.depth + work.tokens, config.context_length);
    }
    return {};
}

// Where the flags do not say, the context and the number of sequences are large enough for every work.
Result<EngineSettings> settings_for(const BenchFlags& flags, const std::string& path, const std::vector<Work>& works) {
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.machine, path));
    int64_t context = 0;
    for (const Work& work : works) {
        context = std::max(context, work.depth + work.tokens);
        settings.sequences = std::max(settings.sequences, work.sequences);
    }
    settings.logits_rows = settings.sequences;
    // A pass has at most as many rows as the context has positions, and each sequence needs a row.
    if (settings.context == 0) {
        settings.context = std::max<int64_t>(context, settings.sequences);
        TRY(check_context(settings, works));
    }
    return settings;
}

struct OpenedEngine {
    std::unique_ptr<Engine> engine;
    LoadTimes load;
};

Result<OpenedEngine> open(const EngineSettings& settings) {
    OpenedEngine opened;
    double start = seconds_now();
    {
        // This planning is only timed; opening the engine repeats it.
        TRY_ASSIGN(const Checkpoint file, Checkpoint::open(settings.model));
        TRY(plan_model(file, settings));
    }
    opened.load.plan_seconds = seconds_now() - start;
    ProgressBar bar("loading");
    start = seconds_now();
    TRY_ASSIGN(opened.engine, Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    opened.load.weights_seconds = std::max(0.0, seconds_now() - start - opened.load.plan_seconds);
    bar.clear();
    TRY(check_makes_logits(*opened.engine));
    say_placement(opened.engine->plan());
    return opened;
}

// With --paced, another program writes a line to start each run, and a line is printed after it.
Result<void> wait_for_line() {
    for (int c = std::getchar(); c != '\n'; c = std::getchar()) {
        if (c == EOF) return fail("--paced waits for a line on standard input before every run, but it has ended");
    }
    return {};
}

void tell_run(const Work& work, const Run& run) {
    print_json({{"work", work_kind_name(work.kind)},
                {"tokens", work.tokens},
                {"sequences", work.sequences},
                {"depth", work.depth},
                {"seconds", run.seconds}});
    flush_results();
}

// For instruction counters: runs each work once and times nothing.
Result<int> run_once(const EngineSettings& settings, const std::vector<Work>& works) {
    TRY_ASSIGN(const OpenedEngine opened, open(settings));
    EngineSubject subject(*opened.engine, opened.engine->ops());
    for (const Work& work : works) {
        TRY(counted_run(work, subject));
        print_result(describe(work) + "\n");
    }
    print_result(kernels_as_text(opened.engine->cpu_ops().kernels_used()));
    return kDone;
}

// Measures the first pass of each work kernel by kernel.
Result<DeviceReport> take_apart(Engine& engine, EngineSubject& subject, const std::vector<Work>& works) {
    DeviceReport report{.does_everything = device_does_all(engine.plan())};
    TRY_ASSIGN(report.facts, engine.device()->facts());
    ProgressBar bar("taking passes apart");
    for (const Work& work : works) {
        bar.show(static_cast<int64_t>(report.steps.size()), static_cast<int64_t>(works.size()));
        TRY_ASSIGN(DeviceStep step, measure_step(work, subject, engine, {.clock = seconds_now}));
        report.steps.push_back(std::move(step));
    }
    bar.clear();
    return report;
}

Result<int> measure_all(const BenchFlags& flags, const EngineSettings& settings, const std::vector<Work>& works) {
    std::unique_ptr<AcceleratorProbes> probes;  // made before the model, which may fill the device
    if (settings.device != nullptr && settings.gpu_layers != 0) {
        TRY_ASSIGN(probes, settings.device->make_probes());
    }
    TRY_ASSIGN(const OpenedEngine opened, open(settings));
    Engine& engine = *opened.engine;
    TRY_ASSIGN(MachineCeilings ceilings, MachineCeilings::create(engine, settings.kernel));
    BenchReport report{.load = opened.load,
                       .int8_instruction = probes ? probes->int8_instruction() : ceilings.int8_instruction()};
    EngineSubject subject(engine, engine.ops());
    MeasurementTools tools{.ceilings = [&]() -> Result<Ceilings> {
                               if (probes) return device_ceilings(*probes);
                               return ceilings.measure();
                           },
                           .clock = seconds_now,
                           .runs = flags.repetitions};
    if (flags.paced) {
        tools.before_run = wait_for_line;
        tools.after_run = tell_run;
    }
    ProgressBar bar("measuring");
    for (const Work& work : works) {
        bar.show(static_cast<int64_t>(report.measurements.size()), static_cast<int64_t>(works.size()));
        TRY_ASSIGN(Measurement one, measure(work, subject, tools));
        report.measurements.push_back(std::move(one));
    }
    bar.clear();
    if (probes) {
        TRY_ASSIGN(report.device, take_apart(engine, subject, works));
    }
    if (flags.json) {
        print_json(bench_as_json(engine, report));
    } else {
        print_result(bench_as_table(engine, report));
    }
    return kDone;
}

Result<int> compare(const BenchFlags& flags, const EngineSettings& settings, const CompareRequest& request,
                    const std::vector<std::string>& arguments) {
    CompareReport report;
    if (request.with.what == ComparedWith::What::build) {
        TRY_ASSIGN(report, compare_builds(arguments, request));
    } else {
        TRY_ASSIGN(const OpenedEngine opened, open(settings));
        TRY_ASSIGN(report, compare_in_process(*opened.engine, settings, request));
    }
    if (flags.json) {
        print_json(comparison_as_json(report));
    } else {
        print_result(comparison_as_table(report));
    }
    return kDone;
}

Result<int> bench(const BenchFlags& flags, const std::vector<std::string>& arguments) {
    const std::vector<Work> works = works_of(flags);
    if (works.empty()) return fail("there is nothing to measure; give --prompt, --generate or --sequences a number");
    TRY_ASSIGN(const std::string path, model_path(flags.model));
    TRY_ASSIGN(const EngineSettings settings, settings_for(flags, path, works));
    if (flags.once) return run_once(settings, works);
    if (flags.compare.empty()) return measure_all(flags, settings, works);
    TRY_ASSIGN(const ComparedWith with, parse_compared_with(flags.compare));
    return compare(flags, settings, {.with = with, .works = works, .pairs = flags.repetitions}, arguments);
}

// The given arguments without those that a comparison sets itself, for the program of another build.
std::vector<std::string> arguments_for_child(const Arguments& given) {
    std::vector<std::string> arguments;
    for (const Argument& one : given) {
        if (one.flag == "--compare" || one.flag == "--json" || one.flag == "--runs") continue;
        if (!one.positional()) arguments.push_back(one.flag);
        if (one.takes_text) arguments.push_back(one.text);
    }
    return arguments;
}

}  // namespace

Command bench_command() {
    auto flags = std::make_shared<BenchFlags>();
    return {
        .name = "bench",
        .summary = "Measure the speed of prompts and generation, also as a share of what the machine can do",
        .settings =
            {{"",
              {
                  {"model", model_name(flags->model), "GGUF file or model directory; default: the demonstration model"},
                  {"--prompt", numbers(flags->prompts, 0, kMostTokens), "Prompt lengths to measure; 0: none"},
                  {"--generate", numbers(flags->generations, 0, kMostTokens), "Numbers of tokens to generate; 0: none"},
                  {"--sequences", numbers(flags->sequences, 1, 4096),
                   "Numbers of sequences to decode together, one token of each per step"},
                  {"--depth", numbers(flags->depths, 0, kMostTokens),
                   "Tokens already in the context; everything above is measured at each depth"},
                  {"--compare", text(flags->compare),
                   "Alternate with kernel=NAME, isa=NAME or threads=N over the same weights, or with "
                   "build=PATH, another invar"},
                  {"--runs", number(flags->repetitions, 1, 1000), "Counted runs of each, after one that warms up"},
                  {"--json", flag(flags->json), "Print JSON"},
                  {"--paced", flag(flags->paced),
                   "Wait for a line on standard input before every run and print one after it, for a "
                   "program that alternates with its own (tools/yardstick_llama_cpp.py)"},
                  {"--once", flag(flags->once),
                   "Compute everything once after a warm-up and time nothing, for a program that "
                   "counts instructions (tools/instruction_counts.py)"},
              }},
             model_settings(flags->machine)},
        .footer =
            "Examples:\n  invar bench model.gguf --threads 2\n  invar bench model.gguf --prompt 128,512 "
            "--generate 32 --json\n  invar bench model.gguf --prompt 0 --sequences 4,8,16,32\n"
            "  invar bench model.gguf --depth 0,16384\n"
            "  invar bench model.gguf --device cuda --prompt 2048 --depth 0,32768\n"
            "  invar bench model.gguf --compare isa=avx2\n"
            "  invar bench model.gguf --compare build=../other/invar",
        .run = [flags](const Arguments& given) { return bench(*flags, arguments_for_child(given)); }};
}

}  // namespace invar::app
