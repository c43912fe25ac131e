// Reads recordings, our own and those of other engines (recording_file.h). Nothing in a file is trusted: every list is
// checked against the tensor it describes.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "arithmetic/float_types.h"
#include "base/json.h"
#include "files/printable.h"
#include "proof/record/recording_file.h"
#include "proof/record/recording_keys.h"

namespace invar {
namespace {

using namespace recording_keys;

// Larger positions and widths occur in no model, so the file is damaged.
constexpr int64_t kMostPositions = int64_t{1} << 40, kMostWidth = int64_t{1} << 40;

struct Place {  // for error messages
    const std::string& file;
    std::string stage;
};

Result<Json> parse_entry(const Place& place, std::string_view key, std::string_view text) {
    auto value = parse_json(text);
    if (value) return std::move(*value);
    return fail("{}: metadata '{}' is not valid JSON; the file is damaged", place.file, printable(key));
}

// A list of whole numbers from 0 to below `below`, strictly rising if asked for.
enum class Order : uint8_t { any, rising };
Result<std::vector<int64_t>> whole_numbers(const Json& list, Order order, int64_t below, const Place& place,
                                           std::string_view what) {
    if (!list.is_array()) return fail("{}: {} of '{}' are no JSON list", place.file, what, printable(place.stage));
    std::vector<int64_t> numbers;
    for (const Json& entry : list) {
        if (!entry.is_number_integer()) {
            return fail("{}: {} of '{}' have an entry {} that is no whole number", place.file, what,
                        printable(place.stage), numbers.size());
        }
        const auto number = entry.is_number_unsigned() && entry.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)
                                ? INT64_MAX
                                : entry.get<int64_t>();
        const int64_t least = order == Order::rising && !numbers.empty() ? numbers.back() + 1 : 0;
        if (number < least || number >= below) {
            return fail("{}: {} of '{}' have {} as entry {}, but {} to {} is possible there", place.file, what,
                        printable(place.stage), number, numbers.size(), least, below - 1);
        }
        numbers.push_back(number);
    }
    return numbers;
}

Result<int64_t> width_of(const std::vector<int64_t>& shape, const Place& place) {
    int64_t width = 1;
    for (const int64_t extent : shape) {
        if (extent < 1 || __builtin_mul_overflow(width, extent, &width) || width > kMostWidth) {
            return fail("{}: stage '{}' has positions of shape [{}], which is no shape of values", place.file,
                        printable(place.stage), fmt::join(shape, ", "));
        }
    }
    return width;
}

template <class Out, class In>
void append_as(std::vector<std::byte>& data, const std::byte* source, uint64_t count, In&& convert) {
    for (uint64_t i = 0; i < count; ++i) {
        const Out value = convert(source, i);
        const auto* bytes = reinterpret_cast<const std::byte*>(&value);
        data.insert(data.end(), bytes, bytes + sizeof value);
    }
}

template <class Stored>
Stored stored_at(const std::byte* source, uint64_t index) {
    Stored value;
    std::memcpy(&value, source + index * sizeof value, sizeof value);
    return value;
}

// Whole numbers of any width, converted to I32.
template <class Stored>
Result<void> narrow(const SafeTensor& tensor, StageRecord& stage, const Place& place) {
    stage.type = ElementType::i32;
    const auto count = static_cast<uint64_t>(tensor.elements());
    for (uint64_t i = 0; i < count; ++i) {
        const auto value = stored_at<Stored>(tensor.data, i);
        if (!std::in_range<int32_t>(value)) {
            return fail("{}: stage '{}' has {} as element {}, which does not fit 32 bits", place.file,
                        printable(place.stage), value, i);
        }
    }
    append_as<int32_t>(stage.data, tensor.data, count, [](const std::byte* source, uint64_t i) {
        return static_cast<int32_t>(stored_at<Stored>(source, i));
    });
    return {};
}

Result<void> take_values(const SafeTensor& tensor, StageRecord& stage, const Place& place) {
    const auto as_stored = [&](ElementType type) {
        stage.type = type;
        stage.data.assign(tensor.data, tensor.data + tensor.bytes);
        return Result<void>();
    };
    const auto widened = [&](float (*widen)(uint16_t)) {
        stage.type = ElementType::f32;
        append_as<float>(stage.data, tensor.data, static_cast<uint64_t>(tensor.elements()),
                         [&](const std::byte* source, uint64_t i) { return widen(stored_at<uint16_t>(source, i)); });
        return Result<void>();
    };
    switch (tensor.dtype) {
        case Dtype::f32:
            return as_stored(ElementType::f32);
        case Dtype::f64:
            return as_stored(ElementType::f64);
        case Dtype::i32:
            return as_stored(ElementType::i32);
        case Dtype::f16:
            return widened(f16_to_f32);
        case Dtype::bf16:
            return widened(bf16_to_f32);
        case Dtype::i64:
            return narrow<int64_t>(tensor, stage, place);
        case Dtype::u64:
            return narrow<uint64_t>(tensor, stage, place);
        case Dtype::u32:
            return narrow<uint32_t>(tensor, stage, place);
        case Dtype::i16:
            return narrow<int16_t>(tensor, stage, place);
        case Dtype::u16:
            return narrow<uint16_t>(tensor, stage, place);
        case Dtype::i8:
            return narrow<int8_t>(tensor, stage, place);
        case Dtype::u8:
            return narrow<uint8_t>(tensor, stage, place);
        default:
            return fail("{}: stage '{}' has the dtype {}, which is no dtype of a recording; write F32, F64 or I32",
                        place.file, printable(place.stage), printable(tensor.dtype_name));
    }
}

class Reader {
  public:
    explicit Reader(const SafeTensorsFile& file) : file_(file) {}

    Result<Recording> read() {
        if (const auto version = file_.find_metadata(kVersionKey); version && *version != kVersion) {
            return fail("{}: is a recording of version {}, this program reads version {}", file_.name(),
                        printable(*version), kVersion);
        }
        for (const auto& [key, value] : file_.metadata()) {
            if (!is_reserved(key)) recording_.metadata.emplace(key, value);
        }
        TRY(read_tokens());
        if (const auto stages = file_.find_metadata(kStages)) {
            TRY(read_stated_stages(*stages));
        } else {
            for (const SafeTensor& tensor : file_.tensors()) TRY(read_stage(tensor.name, Json::object()));
            recording_.order_is_stated = false;
            sort_by_names(recording_.stages);
        }
        for (const SafeTensor& tensor : file_.tensors()) {
            if (used_.count(tensor.name) == 0) {
                return fail("{}: tensor '{}' is not in the list of stages; the file is damaged", file_.name(),
                            printable(tensor.name));
            }
        }
        return std::move(recording_);
    }

  private:
    Result<void> read_tokens() {
        const auto text = file_.find_metadata(kTokens);
        if (!text) return {};
        const Place place{file_.name(), std::string(kTokens)};
        TRY_ASSIGN(const Json list, parse_entry(place, kTokens, *text));
        TRY_ASSIGN(const auto tokens,
                   whole_numbers(list, Order::any, std::numeric_limits<int32_t>::max(), place, "the entries"));
        for (const int64_t token : tokens) recording_.tokens.push_back(static_cast<int32_t>(token));
        return {};
    }

    Result<void> read_stated_stages(std::string_view text) {
        TRY_ASSIGN(const Json list, parse_entry({file_.name(), ""}, kStages, text));
        if (!list.is_array()) return fail("{}: metadata 'stages' is no JSON list", file_.name());
        for (const Json& entry : list) {
            if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string()) {
                return fail("{}: metadata 'stages' has an entry {} without a name", file_.name(),
                            recording_.stages.size());
            }
            TRY(read_stage(entry["name"].get<std::string>(), entry));
        }
        return {};
    }

    // Finds a tensor, which no other stage may have used.
    Result<const SafeTensor*> tensor_of(const std::string& name, const Place& place) {
        const SafeTensor* tensor = file_.find(name);
        if (tensor == nullptr) {
            return fail("{}: stage '{}' has no tensor '{}'; the file is damaged", file_.name(), printable(place.stage),
                        printable(name));
        }
        if (!used_.insert(name).second) {
            return fail("{}: stage '{}' appears twice in the list of stages", file_.name(), printable(place.stage));
        }
        if (tensor->shape.empty() || tensor->elements() == 0) {
            return fail("{}: tensor '{}' has the shape [{}], but a stage has positions and values", file_.name(),
                        printable(name), fmt::join(tensor->shape, ", "));
        }
        return tensor;
    }

    Result<void> read_stage(const std::string& name, const Json& entry) {
        const Place place{file_.name(), name};
        StageRecord stage;
        auto key = parse_stage_key(name);
        if (!key) return fail("{}: {}", file_.name(), key.error().message);
        stage.key = std::move(*key);
        if (!keys_.insert(stage.key).second) {
            return fail("{}: stage '{}' appears twice", file_.name(), printable(to_string(stage.key)));
        }
        const auto text = [&](const char* field) {
            return entry.contains(field) && entry[field].is_string() ? entry[field].get<std::string>() : std::string();
        };
        stage.verb = text("verb");
        stage.kernel = text("kernel");
        int64_t positions = 0;
        if (entry.contains("shape")) {
            TRY(read_statistics(name, entry, stage, place));
            positions = static_cast<int64_t>(stage.statistics.size());
        } else {
            TRY_ASSIGN(const SafeTensor* tensor, tensor_of(name, place));
            positions = tensor->shape.front();
            stage.shape.assign(tensor->shape.begin() + 1, tensor->shape.end());
            if (stage.shape.empty()) stage.shape = {1};
            TRY(take_values(*tensor, stage, place));
        }
        TRY(width_of(stage.shape, place));
        TRY(read_positions(name, positions, stage, place));
        TRY(read_elements(name, stage, place));
        recording_.stages.push_back(std::move(stage));
        return {};
    }

    Result<void> read_statistics(const std::string& name, const Json& entry, StageRecord& stage, const Place& place) {
        TRY_ASSIGN(stage.shape, whole_numbers(entry["shape"], Order::any, kMostWidth, place, "the dimensions"));
        const Dtype dtype = entry.contains("type") && entry["type"].is_string()
                                ? find_dtype(entry["type"].get<std::string>())
                                : Dtype::f32;
        stage.type = dtype == Dtype::f64 ? ElementType::f64 : dtype == Dtype::i32 ? ElementType::i32 : ElementType::f32;
        TRY_ASSIGN(const SafeTensor* figures, tensor_of(std::string(kStatistics) + name, place));
        TRY_ASSIGN(const SafeTensor* hashes, tensor_of(std::string(kHash) + name, place));
        const int64_t count = figures->shape.front();
        if (figures->dtype != Dtype::f64 || figures->shape != std::vector{count, kFigures} ||
            hashes->dtype != Dtype::u8 || hashes->shape != std::vector{count, static_cast<int64_t>(kHashBytes)}) {
            return fail("{}: the statistics of '{}' have the shapes [{}] and [{}] instead of [n, {}] and [n, {}]",
                        file_.name(), printable(name), fmt::join(figures->shape, ", "), fmt::join(hashes->shape, ", "),
                        kFigures, kHashBytes);
        }
        for (int64_t i = 0; i < count; ++i) {
            const auto figure = [&](int64_t j) {
                return stored_at<double>(figures->data, static_cast<uint64_t>(i * kFigures + j));
            };
            StageStatistics one{.least = figure(0), .greatest = figure(1), .mean = figure(2), .rms = figure(3)};
            const double non_finite = figure(4);
            if (!(non_finite >= 0 && non_finite < 1e15)) {
                return fail("{}: the statistics of '{}' count {} non-finite values", file_.name(), printable(name),
                            non_finite);
            }
            one.non_finite = static_cast<int64_t>(non_finite);
            one.hash = kHashPrefix;
            for (size_t j = 0; j < kHashBytes; ++j) {
                one.hash += fmt::format(
                    "{:02x}", std::to_integer<unsigned>(hashes->data[static_cast<size_t>(i) * kHashBytes + j]));
            }
            stage.statistics.push_back(std::move(one));
        }
        return {};
    }

    Result<void> read_positions(const std::string& name, int64_t count, StageRecord& stage, const Place& place) {
        const std::string key = std::string(kPositions) + name;
        const auto text = file_.find_metadata(key);
        if (!text) {
            for (int64_t i = 0; i < count; ++i) stage.positions.push_back(i);
            return {};
        }
        TRY_ASSIGN(const Json list, parse_entry(place, key, *text));
        TRY_ASSIGN(stage.positions, whole_numbers(list, Order::rising, kMostPositions, place, "the positions"));
        if (static_cast<int64_t>(stage.positions.size()) == count) return {};
        return fail("{}: stage '{}' has values of {} positions, but its list of positions has {}", file_.name(),
                    printable(name), count, stage.positions.size());
    }

    Result<void> read_elements(const std::string& name, StageRecord& stage, const Place& place) {
        const std::string key = std::string(kElements) + name;
        const auto text = file_.find_metadata(key);
        if (!text) return {};
        TRY_ASSIGN(const Json value, parse_entry(place, key, *text));
        if (!value.is_object() || !value.contains("shape") || !value.contains("indices")) {
            return fail("{}: metadata '{}' is no object with a shape and indices", file_.name(), printable(key));
        }
        TRY_ASSIGN(stage.whole_shape, whole_numbers(value["shape"], Order::any, kMostWidth, place, "the dimensions"));
        TRY_ASSIGN(const int64_t whole, width_of(stage.whole_shape, place));
        TRY_ASSIGN(stage.elements, whole_numbers(value["indices"], Order::rising, whole, place, "the indices"));
        if (static_cast<int64_t>(stage.elements.size()) == stage.width() && stage.statistics.empty()) return {};
        return fail("{}: stage '{}' has {} values of a position, but a list of {} elements", file_.name(),
                    printable(name), stage.width(), stage.elements.size());
    }

    const SafeTensorsFile& file_;
    Recording recording_;
    std::set<std::string> used_;
    std::set<StageKey> keys_;
};

}  // namespace

Result<Recording> recording_of(const SafeTensorsFile& file) { return Reader(file).read(); }

Result<Recording> load_recording(const std::filesystem::path& path) {
    TRY_ASSIGN(const SafeTensorsFile file, SafeTensorsFile::open(path));
    return recording_of(file);
}

}  // namespace invar
