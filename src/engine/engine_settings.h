// What can be asked of an engine, and the defaults. Apart from engine.h, so that a new setting rebuilds only the files
// that fill settings in or act on them. The flags of the command line that fill them in: app/settings.h.
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
    std::optional<Isa> isa;       // highest instruction set to use; nothing: the best this machine has
    std::string kernel;           // forced row of the linear kernel table; "": the table's choice
    int threads = 0;              // 0: one for each CPU this process may use
    bool pin = false;             // each thread but the first stays on one CPU
    int64_t context = 0;          // positions; 0: the plan's default
    int64_t chunk = 512;          // prompt tokens in one pass
    int sequences = 1;            // at one time
    int64_t cache_positions = 0;  // of all sequences together; 0: each can fill its context
    int64_t logits_rows = 1;      // most rows of a batch whose logits are wanted
    CacheType cache_type = CacheType::f16;
    FormRequest form = FormRequest::automatic;
    CacheRequest weight_cache;
    std::optional<int64_t> memory_bytes;  // budget for the plan
    std::string memory_source;

    std::shared_ptr<Accelerator> device;  // beside the CPU; nothing: the CPU alone
    // The last so many layers are on the device, the output counting as one more; nothing: as many as fit.
    std::optional<int64_t> gpu_layers;
    ExpertPlace experts = ExpertPlace::with_their_layer;
    std::optional<int64_t> device_memory_bytes;  // nothing: what is free there
    Passes passes = Passes::recorded;            // of a device; no result depends on it
    OpenAccelerator open_device = nullptr;       // what this program can open, for proofs that compare with it
};

}  // namespace invar
