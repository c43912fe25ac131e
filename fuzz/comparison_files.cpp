// Fuzzes the two JSON files of a comparison: a map of stages, applied to a small recording, and tolerances, queried for
// its stages. The first byte chooses one. A file is refused with one sentence, or the result of a map is a recording
// again. Seeds: fuzz/corpus/comparison_files.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proof/record/stage_map.h"
#include "proof/record/tolerances.h"
#include "require.h"

namespace {

void require_sentence(const std::string& message) {
    require(!message.empty() && message.find('\n') == std::string::npos && message.size() < 3000);
}

invar::Recording small_recording() {
    invar::Recording recording;
    for (const char* name : {"a", "layer.0.query", "layer.3.q"}) {
        invar::StageRecord stage;
        stage.key = *invar::parse_stage_key(name);
        stage.shape = {2, 8};
        stage.positions = {0, 3};
        stage.data.resize(2 * 16 * 4);
        recording.stages.push_back(stage);
    }
    recording.stages[2].whole_shape = recording.stages[2].shape;
    recording.stages[2].shape = {2};
    recording.stages[2].elements = {1, 12};
    recording.stages[2].data.resize(2 * 2 * 4);
    return recording;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] % 2 == 0) {
        const auto tolerances = Tolerances::parse(text, "t.json");
        if (!tolerances) {
            require_sentence(tolerances.error().message);
            return 0;
        }
        for (const StageRecord& stage : small_recording().stages) {
            const Tolerance* found = tolerances->find(stage.key);
            require(found == nullptr || !found->reason.empty());
        }
        return 0;
    }
    const auto map = StageMap::parse(text, "m.json");
    if (!map) {
        require_sentence(map.error().message);
        return 0;
    }
    Recording recording = small_recording();
    if (const auto applied = map->apply(recording); !applied) {
        require_sentence(applied.error().message);
        return 0;
    }
    for (const StageRecord& stage : recording.stages) {
        require(stage.data.size() == stage.positions.size() * static_cast<size_t>(stage.width()) * 4);
        for (size_t i = 0; i < stage.elements.size(); ++i) {
            require(stage.elements[i] < 16 && (i == 0 || stage.elements[i] > stage.elements[i - 1]));
        }
    }
    return 0;
}
