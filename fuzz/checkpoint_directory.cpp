// Fuzzes everything that `invar plan` and `inspect` do with an untrusted model directory before computing: config,
// names, modules of quantised weights, binding, plan, and rows of bound weights. The input is two bytes of length,
// config.json, and the SafeTensors file behind it. If the highest bit of the length is set, they are params.json and
// consolidated.safetensors of Mistral's own layout. Seeds: fuzz/corpus/checkpoint_directory.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/json.h"
#include "checkpoint/weight_plan.h"
#include "files/inspect.h"
#include "files/model_directory.h"

namespace invar {
namespace {

Result<void> read_model(const Checkpoint& checkpoint) {
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(checkpoint));
    const PlanRequest request{.memory_bytes = int64_t{1} << 30, .memory_source = "the budget"};
    TRY_ASSIGN(WeightPlan plan,
               make_weight_plan(config, architecture->declare(config, checkpoint), checkpoint, request));
    TRY(finish_plan(plan, request, {.host = 1 << 20}));
    plan_as_table(plan, true);
    RowReader reader(RowReader::Access::mapped);
    for (const PlanEntry& entry : plan.entries) {
        if (entry.alias_of) continue;
        std::vector<float> row(static_cast<size_t>(entry.stored.columns()));
        for (const int64_t r : {int64_t{0}, entry.stored.rows() - 1}) TRY(reader.decode(entry.stored, r, row.data()));
    }
    return {};
}

}  // namespace
}  // namespace invar

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    if (size < 2) return 0;
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    const bool mistral = (data[1] & 0x80) != 0;
    const size_t config = std::min<size_t>(data[0] | (data[1] & 0x7F) << 8, size - 2);
    const auto opened = Checkpoint::from_files(
        {{mistral ? "params.json" : "config.json", {bytes + 2, config}},
         {mistral ? "consolidated.safetensors" : "model.safetensors", {bytes + 2 + config, size - 2 - config}}},
        "m");
    if (!opened) return 0;
    inspect(*opened);
    const auto read = read_model(*opened);
    if (!read && (read.error().message.find('\n') != std::string::npos || read.error().message.size() > 8000))
        std::abort();
    return 0;
}
