// The settings of an engine and their defaults. They are apart from engine.h, so that a new setting rebuilds only the
// files that fill settings in or act on them. The command line fills them in from its flags in app/settings.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/weight_plan.h"
#include "load/weight_cache.h"
#include "machine/isa.h"
#include "ops/accelerator.h"

namespace invar {

enum class ExpertPlace : uint8_t { with_their_layer, host };
enum class Passes : uint8_t { recorded /* where all verbs of a pass are on the device */, plain };

struct EngineSettings {
    std::filesystem::path model;
    std::optional<Isa> isa;            // highest instruction set to use; nothing: the best this machine has
    std::string kernel;                // forced row of the linear kernel table; "": the table's choice
    int threads = 0;                   // 0: one for each CPU this process may use
    bool pin = false;                  // each thread but the first stays on one CPU
    int64_t context = 0;               // positions; 0: the plan's default
    int64_t chunk = 512;               // prompt tokens in one pass
    int sequences = 1;                 // at one time
    int64_t cache_positions = 0;       // of all sequences together; 0: enough for each to fill its context
    std::optional<int64_t> snapshots;  // of recurrences, of all sequences together; nothing: the plan's choice
    int64_t logits_rows = 1;           // the most rows of a batch for which logits can be asked
    ModelResult result = ModelResult::logits;
    CacheType cache_type = CacheType::f16;
    FormRequest form = FormRequest::automatic;
    CacheRequest weight_cache;
    std::optional<int64_t> memory_bytes;  // the budget of the plan
    std::string memory_source;

    std::shared_ptr<Accelerator> device;  // computes beside the CPU; nullptr: the CPU alone
    // How many of the last layers are on the device; the output counts as one more. Nothing: as many as fit.
    std::optional<int64_t> gpu_layers;
    ExpertPlace experts = ExpertPlace::with_their_layer;
    std::optional<int64_t> device_memory_bytes;  // the budget on the device; nothing: what is free there
    Passes passes = Passes::recorded;            // whether a device records passes; no result depends on it
    OpenAccelerator open_device = nullptr;       // opens the devices of this build; proofs use it to compare with them
};

}  // namespace invar
