// The settings of `invar run` beyond those of every model command, as one table: flag, default, help.
#pragma once

#include <string>
#include <vector>

#include "app/settings.h"
#include "generate/generation.h"

namespace invar::app {

struct RunFlags {
    ModelFlags model_flags;
    std::vector<std::string> positionals;  // [MODEL] [PROMPT]
    std::string prompt_file, system, chat_template, conversations;
    bool raw = false, json = false, hide_reasoning = false, no_thinking = false, ignore_end = false;
    SamplerSettings sampler = {.temperature = 0.7f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f};
    int64_t max_tokens = 0;
    std::vector<std::string> stop, bias;
};

void add_run_flags(CLI::App& command, RunFlags& flags);
// Those of the sampler alone, for other commands that choose tokens; the defaults shown are what `sampler` holds.
void add_sampler_flags(CLI::App& command, SamplerSettings& sampler);
Result<GenerationSettings> generation_settings(const RunFlags& flags);

}  // namespace invar::app
