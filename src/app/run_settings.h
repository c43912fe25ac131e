// The tables of settings that `invar run` adds to those of every model command, and the table of the sampler.
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
// The settings of the sampler alone, for other commands that choose tokens. The defaults shown are those in `sampler`.
SettingGroup sampler_settings(SamplerSettings& sampler);

}  // namespace invar::app
