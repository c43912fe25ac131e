#include "app/run_settings.h"

#include <charconv>

namespace invar::app {
namespace {

constexpr const char* kSamplingGroup = "Sampling (the same seed gives the same text on every machine)";

// "TOKEN=BIAS"
Result<LogitBias> parse_bias(const std::string& text) {
    LogitBias result{};
    const char* end = text.data() + text.size();
    const auto token = std::from_chars(text.data(), end, result.token);
    if (token.ec == std::errc() && token.ptr != end && *token.ptr == '=') {
        const auto bias = std::from_chars(token.ptr + 1, end, result.bias);
        if (bias.ec == std::errc() && bias.ptr == end) return result;
    }
    return fail("--bias '{}' is not TOKEN=NUMBER, e.g. 1234=-2.5", text);
}

}  // namespace

void add_sampler_flags(CLI::App& command, SamplerSettings& sampler) {
    const auto sampling = kSamplingGroup;
    command.add_option("--temperature,-t", sampler.temperature, "0: always the most likely token")
        ->group(sampling)
        ->capture_default_str();
    command.add_option("--top-k", sampler.top_k, "Keep the k most likely; 0: all")
        ->group(sampling)
        ->capture_default_str();
    command.add_option("--top-p", sampler.top_p, "Keep the fewest whose probabilities reach this; 1: all")
        ->group(sampling)
        ->capture_default_str();
    command.add_option("--min-p", sampler.min_p, "Keep those at least this share as likely as the first")
        ->group(sampling)
        ->capture_default_str();
    command.add_option("--seed", sampler.seed, "Seed of the random numbers")->group(sampling)->capture_default_str();
    command
        .add_option("--repetition-penalty", sampler.repetition_penalty, "Divides the logits of tokens seen; 1: none")
        ->group(sampling);
    command.add_option("--presence-penalty", sampler.presence_penalty, "Subtracted once from tokens seen")
        ->group(sampling);
    command.add_option("--frequency-penalty", sampler.frequency_penalty, "Subtracted as often as they were seen")
        ->group(sampling);
    command.add_option("--penalty-window", sampler.penalty_window, "Last tokens that count as seen; -1: all")
        ->group(sampling)
        ->capture_default_str();
    command.add_option("--ban", sampler.banned.ids, "Token ids never to choose")->delimiter(',')->group(sampling);
}

void add_run_flags(CLI::App& command, RunFlags& flags) {
    command
        .add_option("model_and_prompt", flags.positionals,
                    "[MODEL] [PROMPT]; without a model the demonstration model, without a prompt a talk")
        ->expected(0, 2);
    command.add_option("--prompt-file", flags.prompt_file, "Read the prompt from a file");
    command.add_option("--system", flags.system, "System prompt");
    command.add_flag("--raw", flags.raw, "No chat template: continue the prompt as it is");
    command.add_option("--chat-template", flags.chat_template,
                       "Use this Jinja file instead of the model's own template");
    command.add_flag("--no-thinking", flags.no_thinking,
                     "Ask the template for an answer without reasoning (enable_thinking = false)");
    command.add_flag("--hide-reasoning", flags.hide_reasoning, "Do not show the reasoning (it goes to stderr)");
    command.add_option("--conversations", flags.conversations,
                       "Answer every line {\"id\": ..., \"turns\": [...]} of this file, one JSON line each");
    command.add_flag("--json", flags.json, "Print JSON");

    add_sampler_flags(command, flags.sampler);
    const auto sampling = kSamplingGroup;
    command.add_option("--bias", flags.bias, "TOKEN=NUMBER added to that token's logit; may be repeated")
        ->group(sampling);
    command.add_option("--max-tokens,-n", flags.max_tokens, "Tokens to generate at most; 0: until the context is full")
        ->group(sampling);
    command.add_option("--stop", flags.stop, "End before this text; may be repeated")->group(sampling);
    command.add_flag("--ignore-end", flags.ignore_end, "Go on past end tokens")->group(sampling);
    command.footer(
        "Examples:\n"
        "  invar run                                         talk to the demonstration model\n"
        "  invar run model.gguf                              talk to a model\n"
        "  invar run model.gguf \"Why is the sky blue?\" -t 0   one answer, always the same\n"
        "  echo \"Summarise: ...\" | invar run model.gguf --json\n"
        "  invar run model.gguf \"Once upon a time\" --raw -n 100 --seed 7");
    add_model_flags(command, flags.model_flags);
}

Result<GenerationSettings> generation_settings(const RunFlags& flags) {
    GenerationSettings settings;
    settings.sampler = flags.sampler;
    for (const std::string& text : flags.bias) {
        TRY_ASSIGN(const LogitBias bias, parse_bias(text));
        settings.sampler.bias.push_back(bias);
    }
    TRY(settings.sampler.validate());
    if (flags.max_tokens < 0) return fail("--max-tokens is {}, but must be 0 (no limit) or more", flags.max_tokens);
    settings.max_tokens = flags.max_tokens;
    settings.stop = flags.stop;
    settings.ignore_end = flags.ignore_end;
    return settings;
}

}  // namespace invar::app
