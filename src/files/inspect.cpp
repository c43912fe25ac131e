// Describes a GGUF file as JSON: see inspect.h. All text is made valid UTF-8, so that the result can always be written.
#include "files/inspect.h"

#include <array>
#include <cmath>
#include <map>
#include <string>

#include "base/json.h"
#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {

namespace {

Json text_json(std::string_view text, uint64_t most_bytes) {
    if (!is_utf8(text)) return printable(text, most_bytes);
    if (text.size() <= most_bytes) return std::string(text);
    size_t cut = most_bytes;
    while (cut > 0 && (static_cast<uint8_t>(text[cut]) & 0xC0) == 0x80) --cut;  // not inside a character
    return std::string(text.substr(0, cut)) + "...";
}

Json value_json(const MetadataValue& value, const InspectOptions& options) {
    if (value.is_array()) {
        Json shown = Json::array();
        value.for_each([&](const MetadataValue& each) { shown.push_back(value_json(each, options)); },
                       options.array_elements);
        return shown;
    }
    if (const auto text = value.as_string()) return text_json(*text, options.text_bytes);
    if (const auto boolean = value.as_bool()) return *boolean;
    if (const auto integer = value.as_i64()) return *integer;
    if (const auto integer = value.as_u64()) return *integer;
    const double number = value.as_f64().value_or(0.0);
    if (std::isfinite(number)) return number;
    return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
}

Json metadata_json(const Metadata& metadata, const InspectOptions& options) {
    Json rows = Json::array();
    for (const MetadataEntry& entry : metadata.entries()) {
        Json row{{"key", printable(entry.key, kGgufMostKeyBytes)},
                 {"type", entry.value.type_name()},
                 {"value", value_json(entry.value, options)}};
        if (entry.value.is_array()) row["count"] = entry.value.size();
        const auto text = entry.value.as_string();
        if (text && text->size() > options.text_bytes) row["bytes"] = text->size();
        rows.push_back(std::move(row));
    }
    return rows;
}

struct Total {
    uint64_t tensors = 0;
    uint64_t weights = 0;
    uint64_t bytes = 0;
};

}  // namespace

Json inspect(const GgufFile& file, const InspectOptions& options) {
    std::array<Total, kFormatCount> totals{};
    uint64_t weights = 0;
    Json tensors = Json::array();
    for (const TensorInfo& tensor : file.tensors()) {
        const auto count = static_cast<uint64_t>(tensor.weights());
        Total& total = totals[static_cast<size_t>(tensor.format->id)];
        total.tensors += 1;
        total.weights += count;
        total.bytes += tensor.bytes;
        weights += count;
        tensors.push_back({{"name", printable(tensor.name, kGgufMostTensorNameBytes)},
                           {"format", tensor.format->name},
                           {"shape", tensor.shape},
                           {"weights", count},
                           {"bytes", tensor.bytes},
                           {"part", tensor.file_index},
                           {"offset", tensor.file_offset}});
    }
    Json by_format = Json::array();
    for (const Format* each : formats()) {
        const Total& total = totals[static_cast<size_t>(each->id)];
        if (total.tensors == 0) continue;
        by_format.push_back(
            {{"format", each->name}, {"tensors", total.tensors}, {"weights", total.weights}, {"bytes", total.bytes}});
    }
    Json parts = Json::array();
    for (const auto& path : file.paths()) parts.push_back(printable(path.string(), 4096));
    return Json{{"file", file.name()},
                {"parts", std::move(parts)},
                {"version", file.version()},
                {"alignment", file.alignment()},
                {"file_bytes", file.file_bytes()},
                {"tensor_bytes", file.tensor_bytes()},
                {"weights", weights},
                {"metadata", metadata_json(file.metadata(), options)},
                {"tensors", std::move(tensors)},
                {"formats", std::move(by_format)}};
}

Json inspect(const Checkpoint& checkpoint, const InspectOptions& options) {
    if (checkpoint.gguf() != nullptr) return inspect(*checkpoint.gguf(), options);
    const ModelDirectory& directory = *checkpoint.directory();
    std::map<std::string_view, Total> totals;
    Json tensors = Json::array();
    for (const SafeTensor& tensor : directory.tensors()) {
        Total& total = totals[tensor.dtype_name];
        total.tensors += 1;
        total.bytes += tensor.bytes;
        tensors.push_back({{"name", printable(tensor.name, kGgufMostTensorNameBytes)},
                           {"dtype", printable(tensor.dtype_name)},
                           {"shape", tensor.shape},
                           {"bytes", tensor.bytes},
                           {"part", tensor.file_index},
                           {"offset", tensor.file_offset}});
    }
    Json by_dtype = Json::array(), parts = Json::array(), side_files = Json::array();
    for (const auto& [dtype, total] : totals)
        by_dtype.push_back({{"dtype", printable(dtype)}, {"tensors", total.tensors}, {"bytes", total.bytes}});
    for (const std::string& name : directory.file_names()) parts.push_back(printable(name, 4096));
    for (const std::string_view name : kSideFiles) {
        if (directory.has(name)) side_files.push_back(name);
    }
    return Json{{"file", printable(checkpoint.name(), 4096)},
                {"parts", std::move(parts)},
                {"file_bytes", checkpoint.file_bytes()},
                {"tensor_bytes", checkpoint.tensor_bytes()},
                {"config", directory.config()},
                {"side_files", std::move(side_files)},
                {"tensors", std::move(tensors)},
                {"dtypes", std::move(by_dtype)}};
}

}  // namespace invar
