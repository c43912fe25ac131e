// The settings every command that loads a model shares, as one table: flag, default, help. Turned into EngineSettings
// here and nowhere else.
#pragma once

#include <string>

#include "app/cli.h"
#include "engine/engine.h"
#include "engine/engine_settings.h"

namespace invar::app {

struct ModelFlags {
    std::string isa = "auto", kernel, cache_type = "f16", form = "auto", memory, weight_cache;
    int threads = 0;
    int64_t context = 0, chunk = 512;
    bool pin = false;
    std::string device = "cpu", gpu_layers = "auto", gpu_memory;
    bool cpu_experts = false;
};

void add_model_flags(CLI::App& command, ModelFlags& flags);
// Opens the device that is asked for; what `--device auto` came to is said on stderr.
Result<EngineSettings> engine_settings(const ModelFlags& flags, const std::string& model);

// Says on stderr what of the model is on a device, if one is used.
void say_placement(const WeightPlan& plan);

// The model a command works on: `given`, or the demonstration model beside the program. Errors say where was looked.
Result<std::string> model_path(const std::string& given);
// The text of a fault (--inject), or the first line of FILE where it is written @FILE: a fault that whoever looks for
// it has not read.
Result<std::string> fault_text(const std::string& given);
// Whether a positional argument means a model file (it exists, or ends in .gguf) rather than a prompt.
bool looks_like_model(const std::string& argument);

}  // namespace invar::app
