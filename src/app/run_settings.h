// The settings of `invar run` beyond those of every model command, and those of choosing tokens, as tables.
#pragma once

#include <string>
#include <vector>

#include "app/settings.h"
#include "generate/generation.h"

namespace invar::app {

struct RunSettings {
    ModelSettings model;
    ModelAndPrompt given;
    std::string prompt_file, system, chat_template, conversations;
    bool raw = false, json = false, hide_reasoning = false, no_thinking = false, verbose = false;
    GenerationSettings generation = {.sampler = {.temperature = 0.7f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f}};
};

std::vector<SettingGroup> run_settings(RunSettings& settings);
// Those of the sampler alone, for other commands that choose tokens; the defaults shown are what `sampler` holds.
SettingGroup sampler_settings(SamplerSettings& sampler);

}  // namespace invar::app
