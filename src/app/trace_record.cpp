// invar trace record: runs a prompt, and tokens chosen after it, through the engine or the float64 reference, and
// records the results of every stage.
#include <ctime>
#include <filesystem>
#include <memory>

#include "app/output.h"
#include "app/run_settings.h"
#include "app/trace.h"
#include "arithmetic/version.h"
#include "base/json.h"
#include "files/checkpoint_digest.h"
#include "files/output_path.h"
#include "proof/record/recording_file.h"
#include "proof/record/sampler_recorder.h"
#include "proof/record/statistics_recorder.h"
#include "proof/reference64/reference64.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

struct RecordFlags {
    ModelSettings machine;
    SamplerSettings sampler = {.temperature = 0};
    ModelAndPrompt given;
    std::string out, system, inject;
    Ranges layers, positions;
    std::vector<std::string> stages;
    std::vector<int32_t> tokens;
    int64_t generate = 0;
    bool raw = false, no_thinking = false, scores = false, statistics = false, reference = false, last_logits = false,
         json = false;
};

// What to record and how, resolved from the flags.
struct Task {
    std::string model, prompt;  // prompt: the text that the model sees; "" with --tokens
    std::vector<int32_t> tokens;
    StageSelection selection;
    EngineSettings settings;
};

// The runner, an engine or the reference, and the file it reads.
struct OpenModel {
    std::unique_ptr<Engine> engine;
    std::unique_ptr<Reference64> reference;
    std::unique_ptr<ModelRunner> engine_runner;
    std::unique_ptr<FaultHook> fault;
    ModelRunner* runner = nullptr;
    int64_t plan_bytes = 0;

    const Checkpoint& file() const { return engine ? engine->checkpoint() : reference->checkpoint(); }
};

// Either kind of recorder behind one interface.
class AnyRecorder {
  public:
    AnyRecorder(const ModelRunner& runner, int32_t sequence, const StageSelection& selection, bool statistics) {
        if (statistics) {
            statistics_ = std::make_unique<StatisticsRecorder>(runner, sequence, selection);
        } else {
            values_ = std::make_unique<Recorder>(runner, sequence, selection);
        }
    }
    VerbHook* hook() {
        if (statistics_) return statistics_.get();
        return values_.get();
    }
    int64_t bytes() const { return values_ ? values_->bytes() : 0; }
    Recording take() { return statistics_ ? statistics_->take() : values_->take(); }

  private:
    std::unique_ptr<Recorder> values_;
    std::unique_ptr<StatisticsRecorder> statistics_;
};

StageSelection selection_of(const RecordFlags& flags) {
    StageSelection selection;
    selection.stages = flags.stages;
    selection.attention_scores = flags.scores;
    for (const auto& [first, last] : flags.layers) {
        selection.layers.emplace_back(static_cast<int>(std::min<int64_t>(first, INT32_MAX)),
                                      static_cast<int>(std::min<int64_t>(last, INT32_MAX)));
    }
    selection.positions = flags.positions;
    return selection;
}

Result<std::vector<int32_t>> tokens_of_prompt(const RecordFlags& flags, const std::string& prompt, Task& task) {
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(task.model));
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    if (flags.raw) {
        task.prompt = prompt;
        return tokenizer.encode(prompt, Tokenizer::Specials::parse, Tokenizer::Ends::add);
    }
    TRY_ASSIGN(const ChatFormat format, ChatFormat::create(file, tokenizer, ""));
    Json messages = Json::array();
    if (!flags.system.empty()) messages.push_back({{"role", "system"}, {"content", flags.system}});
    messages.push_back({{"role", "user"}, {"content", prompt}});
    ChatOptions options;
    options.now_seconds = static_cast<int64_t>(std::time(nullptr));
    if (flags.no_thinking) options.variables["enable_thinking"] = options.variables["thinking"] = false;
    TRY_ASSIGN(ChatPrompt made, format.prompt(messages, options));
    task.prompt = made.text;
    return made.tokens;
}

Result<Task> task_of(const RecordFlags& flags) {
    TRY_ASSIGN(const ModelAndPrompt said, model_and_prompt(flags.given));
    const auto& [model, prompt] = said;
    Task task;
    TRY_ASSIGN(task.model, model_path(model.value_or("")));
    task.selection = selection_of(flags);
    TRY(flags.sampler.validate());
    if (prompt.has_value() == !flags.tokens.empty())
        return fail("{}; one of them says what to record",
                    prompt ? "a prompt and --tokens were given" : "neither a prompt nor --tokens was given");
    if (flags.raw && !flags.system.empty())
        return fail("--raw uses no chat template, so --system has no place; leave one out");
    task.tokens = flags.tokens;
    if (prompt) {
        TRY_ASSIGN(task.tokens, tokens_of_prompt(flags, *prompt, task));
    }
    if (task.tokens.empty()) return fail("the prompt has no tokens");
    TRY_ASSIGN(task.settings, engine_settings(flags.machine, task.model));
    if (!flags.last_logits) task.settings.logits_rows = task.settings.chunk;
    const EngineSettings defaults;
    const EngineSettings& given = flags.machine.engine;
    if (flags.reference && (given.isa != defaults.isa || !given.kernel.empty() || given.form != defaults.form ||
                            given.cache_type != defaults.cache_type ||
                            flags.machine.device.kind != DeviceChoice::Kind::cpu || !flags.inject.empty())) {
        return fail(
            "--reference computes in float64 without kernels; leave out --isa, --kernel, --form, --cache, --device and "
            "--inject");
    }
    return task;
}

Result<OpenModel> open_model(const RecordFlags& flags, const Task& task) {
    OpenModel model;
    ProgressBar bar("loading");
    if (flags.reference) {
        TRY_ASSIGN(model.reference, Reference64::open({.model = task.settings.model,
                                                       .threads = task.settings.threads,
                                                       .context = task.settings.context,
                                                       .chunk = task.settings.chunk}));
        model.runner = model.reference.get();
    } else {
        TRY_ASSIGN(model.engine,
                   Engine::open(task.settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
        say_placement(model.engine->plan());
        model.engine_runner = std::make_unique<EngineRunner>(*model.engine);
        model.runner = model.engine_runner.get();
        model.plan_bytes = model.engine->plan().total_bytes(Place::host);
        TRY_ASSIGN(model.fault, injected_fault(flags.inject, *model.engine));
    }
    const auto wanted = static_cast<int64_t>(task.tokens.size()) + flags.generate;
    if (wanted > model.runner->context()) {
        return fail("{} tokens of prompt and {} to generate do not fit the context of {}; give --context {}",
                    task.tokens.size(), flags.generate, model.runner->context(), wanted);
    }
    return model;
}

// Refuses a recording that would not fit in memory, judged by what one position takes.
Result<void> check_memory(const RecordFlags& flags, const Task& task, const OpenModel& model) {
    if (flags.statistics || !task.settings.memory_bytes) return {};
    StageSelection selection = task.selection;
    selection.positions.clear();
    const int32_t sequence = model.runner->cache().add_sequence();
    AnyRecorder probe(*model.runner, sequence, selection, false);
    VerbHook* hooks[] = {probe.hook()};
    const FeedRequest request{.sequence = sequence, .tokens = std::span(task.tokens).first(1), .chunk = 1};
    // An error here is ignored: it happens again in the run itself, which reports it.
    (void)feed(*model.runner, request, hooks, nullptr);
    model.runner->cache().remove_sequence(sequence);
    const auto total = static_cast<int64_t>(task.tokens.size()) + flags.generate;
    int64_t positions = 0, scores = 0;
    for (int64_t p = 0; p < total; ++p) positions += task.selection.wants_position(p);
    if (flags.scores) {
        for (const LayerSpec& layer : model.runner->config().layers) {
            if (const AttentionGeometry* attention = layer.attention()) scores += attention->heads * total * 8;
        }
    }
    const int64_t needed = (probe.bytes() + scores) * positions, room = *task.settings.memory_bytes - model.plan_bytes;
    if (needed <= room) return {};
    return fail(
        "recording {} positions of {:.1f} MB each takes {:.1f} GB, but {:.1f} GB are left ({}); choose with "
        "--stage, --layer or --position, or keep --statistics",
        positions, static_cast<double>(probe.bytes() + scores) / 1e6, static_cast<double>(needed) / 1e9,
        static_cast<double>(std::max<int64_t>(room, 0)) / 1e9, task.settings.memory_source);
}

// Chooses and computes tokens one after the other, starting from `logits` of the last token.
Result<void> generate_more(const RecordFlags& flags, ModelRunner& runner, int32_t sequence,
                           std::span<VerbHook* const> hooks, SamplerObserver& observer, std::vector<float> logits,
                           std::vector<int32_t>& tokens) {
    Sampler sampler(flags.sampler);
    sampler.observe(&observer);
    for (int64_t step = 0; step < flags.generate; ++step) {
        const auto position = static_cast<int64_t>(tokens.size());
        TRY_ASSIGN(const SampledToken chosen, sampler.sample(logits, tokens, position));
        tokens.push_back(chosen.token);
        const FeedRequest request{.sequence = sequence,
                                  .start = position,
                                  .tokens = std::span(tokens).last(1),
                                  .chunk = 1,
                                  .all_logits = true};
        TRY(feed(runner, request, hooks,
                 [&](const Batch&, std::span<const float> row) { logits.assign(row.begin(), row.end()); }));
    }
    return {};
}

Result<Recording> record(const RecordFlags& flags, const Task& task, const OpenModel& model) {
    ModelRunner& runner = *model.runner;
    const int32_t sequence = runner.cache().add_sequence();
    AnyRecorder recorder(runner, sequence, task.selection, flags.statistics);
    SamplerRecorder sampler_recorder(task.selection);
    std::vector<VerbHook*> hooks;
    if (model.fault) hooks.push_back(model.fault.get());
    hooks.push_back(recorder.hook());
    const FeedRequest request{
        .sequence = sequence, .tokens = task.tokens, .chunk = task.settings.chunk, .all_logits = !flags.last_logits};
    std::vector<float> logits;
    ProgressBar bar("recording");
    int64_t done = 0;
    Result<void> ran = feed(runner, request, hooks, [&](const Batch& batch, std::span<const float> rows) {
        done += batch.size();
        bar.show(done, static_cast<int64_t>(task.tokens.size()));
        const auto last = rows.last(std::min(rows.size(), static_cast<size_t>(runner.config().result_width())));
        logits.assign(last.begin(), last.end());
    });
    bar.clear();
    std::vector<int32_t> tokens = task.tokens;
    if (ran) ran = generate_more(flags, runner, sequence, hooks, sampler_recorder, std::move(logits), tokens);
    Recording recording = recorder.take();
    sampler_recorder.append_to(recording);
    if (flags.statistics) {
        for (StageRecord& stage : recording.stages) keep_statistics_only(stage);
    }
    recording.tokens = std::move(tokens);
    if (recording.stages.empty()) {
        TRY(std::move(ran));
        return fail("nothing was recorded: no stage of this model fits --stage, --layer and --position");
    }
    // A pass that ended in a NaN is still written: such a recording is made to find the cause.
    if (!ran) recording.metadata["failure"] = ran.error().message;
    return recording;
}

void describe(const RecordFlags& flags, const Task& task, const OpenModel& model, Recording& recording) {
    auto& metadata = recording.metadata;
    metadata["program"] = "invar 0.1.0";
    metadata["model"] = std::filesystem::path(task.model).filename().string();
    metadata["model_name"] = model.runner->config().name;
    metadata["architecture"] = model.runner->config().architecture;
    metadata["model_hash"] = digest_of(model.file()).value_or("");
    metadata["runner"] = model.runner->name();
    metadata["prompt_tokens"] = fmt::format("{}", task.tokens.size());
    metadata["chunk"] = fmt::format("{}", std::min(task.settings.chunk, model.runner->chunk()));
    if (!task.prompt.empty()) metadata["prompt"] = task.prompt;
    if (flags.generate > 0) {
        metadata["sampler"] = Json({{"temperature", flags.sampler.temperature}, {"seed", flags.sampler.seed}}).dump();
    }
    if (model.fault) metadata["injected"] = "a fault (--inject)";
    if (!model.engine) return;
    metadata["arithmetic"] = fmt::format("{}", kArithmeticVersion);
    metadata["backend"] = model.engine->device() == nullptr ? "cpu" : "cuda";
    if (model.engine->device() != nullptr) metadata["placement"] = model.engine->plan().placement;
    metadata["isa"] = isa_name(model.engine->machine().isa);
    metadata["threads"] = fmt::format("{}", model.engine->machine().threads);
    metadata["cache"] = cache_type_name(model.engine->cache().type());
    metadata["form"] = form_request_name(task.settings.form);
    if (!task.settings.kernel.empty()) metadata["kernel"] = task.settings.kernel;
}

Result<int> trace_record(const RecordFlags& flags) {
    TRY_ASSIGN(const Task task, task_of(flags));
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(task.model));
    TRY(check_output(file, flags.out));
    TRY_ASSIGN(const OpenModel model, open_model(flags, task));
    TRY(check_memory(flags, task, model));
    TRY_ASSIGN(Recording recording, record(flags, task, model));
    TRY(report_fault(model.fault.get(), flags.inject));
    describe(flags, task, model, recording);
    TRY(save_recording(recording, flags.out));
    int64_t values = 0;
    for (const StageRecord& stage : recording.stages)
        values += stage.width() * static_cast<int64_t>(stage.positions.size());
    const auto bytes = static_cast<int64_t>(std::filesystem::file_size(flags.out));
    if (flags.json) {
        print_json({{"file", flags.out},
                    {"bytes", bytes},
                    {"stages", recording.stages.size()},
                    {"values", values},
                    {"tokens", recording.tokens},
                    {"metadata", recording.metadata}});
    } else {
        print_note(fmt::format("{}: {} stages of {} tokens, {} values{}, {:.1f} MB", flags.out, recording.stages.size(),
                               recording.tokens.size(), values, flags.statistics ? " as statistics" : "",
                               static_cast<double>(bytes) / 1e6));
    }
    const auto failure = recording.metadata.find("failure");
    if (failure == recording.metadata.end()) return kDone;
    print_error(fmt::format("{}; what came before is recorded", failure->second));
    return kDifferent;
}

}  // namespace

Command trace_record_command() {
    auto flags = std::make_shared<RecordFlags>();
    return {
        .name = "record",
        .summary = "Record the results of every stage of a pass",
        .settings =
            {{"",
              {
                  {"model", text(flags->given.model), "GGUF file or model directory; default: the demonstration model"},
                  {"prompt", text(flags->given.prompt), "Goes through the chat template"},
                  {"--out,-o", text(flags->out), "The recording, a SafeTensors file", kRequired},
                  {"--tokens", numbers(flags->tokens, 0), "Token ids instead of a prompt"},
                  {"--raw", flag(flags->raw), "No chat template: the prompt as it is"},
                  {"--system", text(flags->system), "System prompt"},
                  {"--no-thinking", flag(flags->no_thinking), "Ask the template for an answer without reasoning"},
                  {"--generate,-n", number(flags->generate, 0),
                   "Also record this many tokens after the prompt, past end tokens too"},
                  {"--reference", flag(flags->reference), "Record the float64 reference instead of the engine"},
                  {"--json", flag(flags->json), "Print what was recorded as JSON"},
                  {"--inject", text(flags->inject),
                   "Put this fault into the engine (see invar verify --help; @FILE: read it)"},
              }},
             {"What to record (default: everything but attention scores)",
              {
                  {"--stage", texts(flags->stages),
                   "Stages whose name fits this glob, e.g. 'attention*'; may be repeated"},
                  {"--layer", ranges(flags->layers), "Layers, e.g. 3 or 0-5,10; this leaves out stages in no layer"},
                  {"--position", ranges(flags->positions), "Positions, e.g. 10-20"},
                  {"--scores", flag(flags->scores), "Also attention scores, [heads, positions] at each position"},
                  {"--last-logits", flag(flags->last_logits), "Logits of the prompt's last token only"},
                  {"--statistics", flag(flags->statistics),
                   "Statistics and a hash of each result instead of its values"},
              }},
             sampler_settings(flags->sampler),
             model_settings(flags->machine)},
        .footer =
            "Ends with 0, with 1 if the run failed (it is recorded up to there), with 2 if it could not run.\n"
            "Examples:\n"
            "  invar trace record model.gguf \"Hello\" --out a.safetensors\n"
            "  invar trace record model.gguf --tokens 785,6722,315 --layer 3 --stage 'expert_*' --out "
            "moe.safetensors\n"
            "  invar trace record model.gguf \"Hello\" --generate 8 --reference --out exact.safetensors\n"
            "  invar trace record big.gguf \"Hello\" --statistics --isa avx2 --out avx2.safetensors",
        .run = [flags](const Arguments&) { return trace_record(*flags); }};
}

}  // namespace invar::app
