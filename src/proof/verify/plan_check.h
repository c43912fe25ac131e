// Whether a loaded model is what its plan says: entry by entry against the registry, the loaded weights against the
// file's bytes, and the memory that the operating system counts against the plan's total. It loads the model itself,
// because memory is measured before and after.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "engine/engine.h"

namespace invar {

struct EntryCheck {
    std::string weight, tensor;
    std::string format, form, place;  // as loaded
    int64_t bytes = 0;                // as loaded
    std::string owner;                // "itself", "the file", or the weight whose storage it shares
    std::string source_hash;          // of the tensor's bytes in the file; "" for an alias
    bool recovered = false;           // unpacking what is loaded gives these bytes again (an alias: its owner's do)
    std::vector<std::string> differences;  // "the plan says 5 bytes, 6 are loaded"
};

// When memory was measured.
enum class Moment : uint8_t {
    before,   // nothing loaded
    loaded,   // Engine::open is done
    used,     // after a pass over a full chunk
    written,  // after every reserved page was written or read, and a pass at the end of the context
};
inline constexpr int kMoments = 4;

// Bytes in memory at each moment.
using Resident = std::array<int64_t, kMoments>;

struct MemoryCheck {
    struct Part {
        std::string name;
        int64_t planned = 0;
        Resident resident{};
    };
    std::vector<Part> parts;  // of the plan: weights in memory and in the mapped file, scales, kv_cache, scratch
    Resident other{};         // anonymous memory beyond that, less what there was before: the rest of the program
    Resident file_rest{};     // pages of the model file outside of planned weights: its header
    Resident swapped{};
    int64_t planned = 0;
    int64_t chunk = 0;
    // What the process grew by at the last moment: anonymous memory and pages of the model file.
    int64_t measured = 0;

    // 3 %; but stacks, the heap's bookkeeping, what is left of the 128 KiB that each thread read through while loading,
    // and the ends of pages take up to 512 KiB of the smallest models, too.
    static constexpr double kTolerance = 0.03;
    static constexpr int64_t kLeastTolerated = 512 * 1024;
    int64_t tolerated() const {
        return std::max(kLeastTolerated, static_cast<int64_t>(kTolerance * static_cast<double>(planned)));
    }
    double deviation() const { return static_cast<double>(measured) / static_cast<double>(planned) - 1; }
    bool within() const { return std::abs(measured - planned) <= tolerated(); }
};

// What loading the kernels took of the device's memory when it was opened, and what the model has taken since.
struct DeviceMemoryCheck {
    std::string device;
    int64_t planned = 0;
    int64_t overhead = 0;  // of both: measured when the device was opened
    int64_t opened = 0;    // after Engine::open
    int64_t measured = 0;  // after every pass

    // 2 %; but the library's own allocations are blocks of 2 MiB, and a few of them are more than that of the smallest
    // models.
    static constexpr double kTolerance = 0.02;
    static constexpr int64_t kLeastTolerated = int64_t{8} << 20;
    int64_t tolerated() const {
        return std::max(kLeastTolerated, static_cast<int64_t>(kTolerance * static_cast<double>(planned)));
    }
    bool within() const { return std::abs(measured - planned) <= tolerated(); }
};

struct PlanCheck {
    std::string model;
    std::vector<EntryCheck> entries;
    std::vector<std::string> unplanned;  // loaded, but not in the plan
    MemoryCheck memory;
    std::optional<DeviceMemoryCheck> device_memory;

    int64_t differences() const;  // entries that differ or do not unpack to the file's bytes, and unplanned ones
    bool holds() const { return differences() == 0 && memory.within() && (!device_memory || device_memory->within()); }
};

// Entries of `plan` against what was loaded from `file`.
// `accelerator`: of a plan with a device.
std::vector<EntryCheck> check_entries(const WeightPlan& plan, const WeightRegistry& loaded,
                                      Accelerator* accelerator = nullptr);

// Opens the model and does all of the above. Errors: it cannot be loaded; the system does not tell its memory.
Result<PlanCheck> check_plan(const EngineSettings& settings, const LoadProgress& progress);

Json plan_check_as_json(const PlanCheck& check);
std::string plan_check_as_text(const PlanCheck& check, bool every_entry);

}  // namespace invar
