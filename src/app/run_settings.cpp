#include "app/run_settings.h"

namespace invar::app {
namespace {

// Reads "TOKEN=BIAS".
bool read_bias(std::string_view text, std::vector<LogitBias>& biases) {
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) return false;
    const std::optional<int> token = parse_number<int>(text.substr(0, equals));
    const std::optional<float> bias = parse_number<float>(text.substr(equals + 1));
    if (!token || !bias) return false;
    biases.push_back({*token, *bias});
    return true;
}

Value bias(std::vector<LogitBias>& value) {
    return parsed(
        "TOKEN=NUMBER", "", "TOKEN=NUMBER, e.g. 1234=-2.5",
        [&value](std::string_view text) { return read_bias(text, value); }, Value::Takes::text_each_time);
}

}  // namespace

SettingGroup sampler_settings(SamplerSettings& sampler) {
    return {"Sampling (the same seed gives the same text on every machine)",
            {
                {"--temperature,-t", number(sampler.temperature, 0, 1000), "0: always the most likely token"},
                {"--top-k", number(sampler.top_k, 0), "Keep the k most likely; 0: all"},
                {"--top-p", number(sampler.top_p, 0, 1), "Keep the fewest whose probabilities reach this; 1: all"},
                {"--min-p", number(sampler.min_p, 0, 1), "Keep those at least this share as likely as the first"},
                {"--seed", seed(sampler.seed), "Seed of the random numbers; -1: a random one"},
                {"--repetition-penalty", number(sampler.repetition_penalty, 0.01f, 100),
                 "Divides the logits of tokens seen; 1: none"},
                {"--presence-penalty", number(sampler.presence_penalty, -100, 100), "Subtracted once from tokens seen"},
                {"--frequency-penalty", number(sampler.frequency_penalty, -100, 100),
                 "Subtracted as often as they were seen"},
                {"--penalty-window", number(sampler.penalty_window, -1), "Last tokens that count as seen; -1: all"},
                {"--ban", numbers(sampler.banned.ids, 0), "Token ids never to choose"},
            }};
}

std::vector<SettingGroup> run_settings(RunSettings& settings) {
    GenerationSettings& generation = settings.generation;
    SettingGroup own{
        "",
        {
            {"model", text(settings.given.model), "GGUF file or model directory; default: the demonstration model"},
            {"prompt", text(settings.given.prompt), "The prompt to answer; without one, a chat begins"},
            {"--prompt-file", text(settings.prompt_file), "Read the prompt from a file"},
            {"--system", text(settings.system), "System prompt"},
            {"--raw", flag(settings.raw), "No chat template: continue the prompt as it is"},
            {"--chat-template", text(settings.chat_template),
             "Use this Jinja file instead of the model's own template"},
            {"--no-thinking", flag(settings.no_thinking),
             "Ask the template for an answer without reasoning (enable_thinking = false)"},
            {"--hide-reasoning", flag(settings.hide_reasoning), "Do not show the reasoning (it goes to stderr)"},
            {"--conversations", text(settings.conversations),
             "Answer every line {\"id\": ..., \"turns\": [...]} of this file, one JSON line each"},
            {"--json", flag(settings.json), "Print JSON"},
            {"--verbose,-v", flag(settings.verbose),
             "Say which tokenizer, chat template and end tokens were taken, and from which file (to stderr)"},
            {"--max-tokens,-n", number(generation.max_tokens, 0),
             "Tokens to generate at most; 0: until the context is full"},
            {"--stop", texts(generation.stop), "End before this text; may be repeated"},
            {"--ignore-end", flag(generation.ignore_end), "Go on past end tokens"},
        }};
    SettingGroup sampling = sampler_settings(generation.sampler);
    sampling.rows.push_back({"--bias", bias(generation.sampler.bias), "Added to that token's logit; may be repeated"});
    return {std::move(own), std::move(sampling), model_settings(settings.model)};
}

}  // namespace invar::app
