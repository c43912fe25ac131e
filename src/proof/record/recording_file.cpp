// Writes recordings (recording_file.h). recording_reader.cpp reads them.
#include "proof/record/recording_file.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.h"
#include "base/json.h"
#include "files/safetensors_writer.h"
#include "proof/record/recording_keys.h"

namespace invar {
namespace {

using namespace recording_keys;

Dtype dtype_of(ElementType type) {
    return type == ElementType::f64 ? Dtype::f64 : type == ElementType::i32 ? Dtype::i32 : Dtype::f32;
}

bool covers_from_zero(const std::vector<int64_t>& positions) {
    for (size_t i = 0; i < positions.size(); ++i) {
        if (positions[i] != static_cast<int64_t>(i)) return false;
    }
    return true;
}

// Statistics as bytes of tensors, which must live until the file is written.
struct StatisticsBytes {
    std::vector<double> figures;  // [positions, 5]
    std::vector<uint8_t> hashes;  // [positions, 16]
};

StatisticsBytes bytes_of(const StageRecord& stage) {
    StatisticsBytes result;
    for (const StageStatistics& one : stage.statistics) {
        for (const double figure : {one.least, one.greatest, one.mean, one.rms, static_cast<double>(one.non_finite)}) {
            result.figures.push_back(figure);
        }
        CHECK(one.hash.size() == kHashPrefix.size() + 2 * kHashBytes, "hashes are made by base/hash.h");
        for (size_t i = 0; i < kHashBytes; ++i) {
            const char* digits = one.hash.data() + kHashPrefix.size() + 2 * i;
            uint8_t byte = 0;
            std::from_chars(digits, digits + 2, byte, 16);
            result.hashes.push_back(byte);
        }
    }
    return result;
}

Json description_of(const StageRecord& stage) {
    Json entry = {{"name", to_string(stage.key)}, {"verb", stage.verb}, {"kernel", stage.kernel}};
    if (!stage.statistics.empty()) {
        entry["type"] = dtype_name(dtype_of(stage.type));
        entry["shape"] = stage.shape;
    }
    return entry;
}

Result<void> add_stage(SafeTensorsWriter& writer, const StageRecord& stage, const StatisticsBytes& statistics) {
    const std::string name = to_string(stage.key);
    const auto count = static_cast<int64_t>(stage.positions.size());
    if (!covers_from_zero(stage.positions)) {
        writer.add_metadata(std::string(kPositions) + name, Json(stage.positions).dump());
    }
    if (!stage.elements.empty()) {
        const Json elements = {{"shape", stage.whole_shape}, {"indices", stage.elements}};
        writer.add_metadata(std::string(kElements) + name, elements.dump());
    }
    if (!stage.statistics.empty()) {
        const int64_t figures[] = {count, kFigures}, hashes[] = {count, static_cast<int64_t>(kHashBytes)};
        TRY(writer.add_tensor(std::string(kStatistics) + name, Dtype::f64, figures,
                              std::as_bytes(std::span(statistics.figures))));
        return writer.add_tensor(std::string(kHash) + name, Dtype::u8, hashes,
                                 std::as_bytes(std::span(statistics.hashes)));
    }
    std::vector<int64_t> shape = {count};
    shape.insert(shape.end(), stage.shape.begin(), stage.shape.end());
    return writer.add_tensor(name, dtype_of(stage.type), shape, stage.data);
}

}  // namespace

Result<void> save_recording(const Recording& recording, const std::filesystem::path& path) {
    SafeTensorsWriter writer;
    writer.add_metadata(kVersionKey, kVersion);
    writer.add_metadata(kTokens, Json(recording.tokens).dump());
    Json stages = Json::array();
    std::vector<StatisticsBytes> statistics;
    statistics.reserve(recording.stages.size());  // the writer keeps pointers to the elements, so they must not move
    for (const StageRecord& stage : recording.stages) {
        stages.push_back(description_of(stage));
        statistics.push_back(bytes_of(stage));
        TRY(add_stage(writer, stage, statistics.back()));
    }
    writer.add_metadata(kStages, stages.dump(-1, ' ', false, Json::error_handler_t::replace));
    for (const auto& [key, value] : recording.metadata) {
        if (is_reserved(key)) return fail("metadata '{}' of a recording has a reserved name; choose another", key);
        writer.add_metadata(key, value);
    }
    return writer.write(path);
}

}  // namespace invar
