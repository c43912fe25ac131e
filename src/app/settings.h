// The settings shared by every command that loads a model, as one table (settings.cpp). Each row fills one member of
// EngineSettings, so that a new setting is a new member and a new row.
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
    EngineSettings engine;  // filled by the rows; engine_settings() adds what depends on the machine
    DeviceChoice device;
};

SettingGroup model_settings(ModelSettings& settings);
// Completes the settings and opens the device they ask for. Prints on stderr which device `--device auto` chose.
Result<EngineSettings> engine_settings(const ModelSettings& given, const std::string& model);

// "auto", "as-stored" or "repacked", as --form takes them.
std::string_view form_request_name(FormRequest form);

// Fails for an encoder, which gives hidden states and no logits; the error names the command that takes it.
Result<void> check_makes_logits(const Engine& engine);
Result<void> check_makes_logits(const ModelConfig& config, const std::string& name);
// Prints on stderr which part of the model is on a device, if one is used.
void say_placement(const WeightPlan& plan);
// Prints on stderr which parts of a model that also sees or hears are left out.
void say_left_out(const WeightPlan& plan);

// The model a command works on: `given`, or else the demonstration model beside the program. Errors say where it
// looked.
Result<std::string> model_path(const std::string& given);
// The text of a fault (--inject). If it is @FILE, the first line of that file: the person who looks for the fault need
// not have read it.
Result<std::string> fault_text(const std::string& given);

// The name of a model, which is not empty.
Value model_name(std::string& value);

// [MODEL] [PROMPT]: a single argument is a model if such a file exists or if it ends in .gguf, and otherwise a prompt.
struct ModelAndPrompt {
    std::optional<std::string> model, prompt;
};
// Errors: the model's name is empty.
Result<ModelAndPrompt> model_and_prompt(ModelAndPrompt given);

}  // namespace invar::app
