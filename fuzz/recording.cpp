// Fuzzes the reader of recordings on files that the SafeTensors reader accepts: a loaded recording has as many values
// as it says. Seeds: fuzz/corpus/recording.
#include <cstddef>
#include <cstdint>
#include <string>

#include "proof/record/recording_file.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto file = SafeTensorsFile::from_bytes(bytes, "input.safetensors");
    if (!file) return 0;
    const auto recording = recording_of(*file);
    if (!recording) {
        const std::string& message = recording.error().message;
        require(message.starts_with("input.safetensors: ") && message.find('\n') == std::string::npos &&
                message.size() < 3000);
        return 0;
    }
    for (const StageRecord& stage : recording->stages) {
        const auto positions = static_cast<int64_t>(stage.positions.size());
        require(positions > 0 && stage.width() > 0 && recording->find(stage.key) != nullptr);
        require(stage.index_of(stage.positions.back()) == positions - 1);
        if (!stage.statistics.empty()) {
            require(stage.statistics.size() == stage.positions.size());
            continue;
        }
        require(static_cast<int64_t>(stage.data.size()) == positions * stage.width() * element_bytes(stage.type));
        const StageStatistics last = statistics_of(stage.type, stage.at(positions - 1), stage.width());
        require(last.non_finite <= stage.width());
        if (!stage.elements.empty()) {
            int64_t whole = 1;
            for (const int64_t extent : stage.whole_shape) whole *= extent;
            require(stage.elements.back() < whole);
        }
    }
    return 0;
}
