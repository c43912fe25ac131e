// The settings that every command shares which loads a model, as one table (settings.cpp). A row reads straight into
// the member of EngineSettings that it is about, so that a new one is a member and a row.
#pragma once

#include <string>

#include "app/command.h"
#include "engine/engine.h"
#include "engine/engine_settings.h"

namespace invar::app {

struct DeviceChoice {
    enum class Kind : uint8_t { cpu, cuda, automatic } kind = Kind::cpu;
    int index = 0;
};

struct ModelSettings {
    EngineSettings engine;  // what the rows say; engine_settings() adds what the machine says
    DeviceChoice device;
};

SettingGroup model_settings(ModelSettings& settings);
// Opens the device that is asked for; what `--device auto` came to is said on stderr.
Result<EngineSettings> engine_settings(const ModelSettings& given, const std::string& model);

// "auto", "as-stored", "repacked", as --form takes them.
std::string_view form_request_name(FormRequest form);

// Says on stderr what of the model is on a device, if one is used.
void say_placement(const WeightPlan& plan);

// The model a command works on: `given`, or the demonstration model beside the program. Errors say where was looked.
Result<std::string> model_path(const std::string& given);
// The text of a fault (--inject), or the first line of FILE where it is written @FILE: a fault that the person who
// looks for it has not read.
Result<std::string> fault_text(const std::string& given);

// [MODEL] [PROMPT]: one argument alone means a model if there is such a file, or if it ends in .gguf, and a prompt
// otherwise.
struct ModelAndPrompt {
    std::optional<std::string> model, prompt;
};
ModelAndPrompt model_and_prompt(ModelAndPrompt given);

}  // namespace invar::app
