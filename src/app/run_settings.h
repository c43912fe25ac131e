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
    double temperature = 0.7, top_p = 0.95, min_p = 0.05;
    double repetition_penalty = 1.0, presence_penalty = 0.0, frequency_penalty = 0.0;
    int64_t penalty_window = 64;
    int top_k = 40;
    uint64_t seed = 0;
    int64_t max_tokens = 0;
    std::vector<std::string> stop, bias;
    std::vector<int32_t> ban;
};

void add_run_flags(CLI::App& command, RunFlags& flags);
Result<GenerationSettings> generation_settings(const RunFlags& flags);

}  // namespace invar::app
