#include "proof/record/stage_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <set>

#include "base/json.h"
#include "base/mapped_file.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr std::string_view kLayer = "{layer}";

// If `name` fits the pattern, the digits that stand for {layer}, or "" if the pattern has no {layer}. Otherwise
// nothing.
std::optional<std::string> match(std::string_view pattern, std::string_view name) {
    const size_t place = pattern.find(kLayer);
    if (place == std::string_view::npos) return pattern == name ? std::optional(std::string()) : std::nullopt;
    const std::string_view before = pattern.substr(0, place), after = pattern.substr(place + kLayer.size());
    if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after)) {
        return std::nullopt;
    }
    const std::string_view digits = name.substr(before.size(), name.size() - before.size() - after.size());
    if (digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    return std::string(digits);
}

std::string with_layer(std::string pattern, const std::string& digits) {
    const size_t place = pattern.find(kLayer);
    if (place != std::string::npos) pattern.replace(place, kLayer.size(), digits);
    return pattern;
}

Result<std::vector<int64_t>> extents(const Json& value, std::string_view field, const std::string& place) {
    std::vector<int64_t> result;
    int64_t product = 1;
    for (const Json& extent : value.is_array() ? value : Json::array()) {
        if (!extent.is_number_unsigned() || extent.get<uint64_t>() == 0 || extent.get<uint64_t>() > INT32_MAX ||
            __builtin_mul_overflow(product, extent.get<int64_t>(), &product)) {
            return fail("{}: '{}' must be a list of whole numbers from 1", place, field);
        }
        result.push_back(extent.get<int64_t>());
    }
    if (result.empty()) return fail("{}: '{}' must be a list of whole numbers from 1", place, field);
    return result;
}

int64_t product(const std::vector<int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

Result<StageMap::Entry> StageMap::read_entry(const Json& entry, const std::string& place) {
    if (!entry.is_object()) return fail("{}: is no JSON object", place);
    Entry result;
    for (const auto& [field, value] : entry.items()) {
        if (field == "theirs" || field == "ours" || field == "drop") {
            if (!value.is_string()) return fail("{}: '{}' must be a text", place, field);
            (field == "theirs" ? result.theirs
             : field == "ours" ? result.ours
                               : result.drop) = value.get<std::string>();
        } else if (field == "layout") {
            if (value == "adjacent_to_halves") {
                result.layout = Entry::Layout::adjacent_to_halves;
            } else if (value == "halves_to_adjacent") {
                result.layout = Entry::Layout::halves_to_adjacent;
            } else {
                return fail("{}: layout {} is not known; there are adjacent_to_halves and halves_to_adjacent", place,
                            printable(value.dump(), 40));
            }
        } else if (field == "head_width" || field == "rotary_width") {
            TRY_ASSIGN(const auto one, extents(Json::array({value}), field, place));
            (field == "head_width" ? result.head_width : result.rotary_width) = one[0];
        } else if (field == "transpose") {
            TRY_ASSIGN(const auto two, extents(value, field, place));
            if (two.size() != 2) return fail("{}: 'transpose' must be [rows, columns] of theirs", place);
            result.layout = Entry::Layout::transpose;
            result.rows = two[0];
            result.columns = two[1];
        } else if (field == "shape") {
            TRY_ASSIGN(result.shape, extents(value, field, place));
        } else {
            return fail(
                "{}: has a field '{}'; known are theirs, ours, drop, layout, head_width, rotary_width, transpose and "
                "shape",
                place, printable(field));
        }
    }
    if (result.theirs.empty()) return fail("{}: has no 'theirs'", place);
    if (result.ours.empty() == result.drop.empty()) {
        return fail("{}: '{}' needs either 'ours' or 'drop' with a reason", place, printable(result.theirs));
    }
    if (result.layout == Entry::Layout::adjacent_to_halves || result.layout == Entry::Layout::halves_to_adjacent) {
        if (result.rotary_width == 0) result.rotary_width = result.head_width;
        if (result.head_width == 0 || result.rotary_width % 2 != 0 || result.rotary_width > result.head_width) {
            return fail("{}: the layout needs a head_width, and an even rotary_width of at most that; it has {} and {}",
                        place, result.head_width, result.rotary_width);
        }
    }
    return result;
}

Result<StageMap> StageMap::parse(std::string_view json, const std::string& file) {
    auto value = parse_json(json);
    if (!value) return fail("{}: {}", file, value.error().message);
    if (!value->is_object() || !value->contains("stages") || !(*value)["stages"].is_array()) {
        return fail("{}: must be {{\"stages\": [{{\"theirs\": ..., \"ours\": ...}}, ...]}}", file);
    }
    StageMap result;
    for (const Json& entry : (*value)["stages"]) {
        TRY_ASSIGN(Entry one, read_entry(entry, fmt::format("{}: entry {}", file, result.entries_.size())));
        result.entries_.push_back(std::move(one));
    }
    return result;
}

Result<StageMap> StageMap::load(const std::filesystem::path& path) {
    TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
    return parse({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

// Moves each of their elements to its place in our layout. A partial stage stays partial.
Result<void> StageMap::rearrange(const Entry& entry, StageRecord& stage) {
    const std::vector<int64_t>& theirs = stage.elements.empty() ? stage.shape : stage.whole_shape;
    const int64_t whole = product(theirs), width = stage.width(), half = entry.rotary_width / 2;
    const auto destination = [&](int64_t element) {
        if (entry.layout == Entry::Layout::transpose)
            return element % entry.columns * entry.rows + element / entry.columns;
        const int64_t in_head = element % entry.head_width, head = element - in_head;
        if (in_head >= entry.rotary_width) return element;
        if (entry.layout == Entry::Layout::adjacent_to_halves) return head + in_head / 2 + in_head % 2 * half;
        return head + in_head % half * 2 + in_head / half;
    };
    const int64_t unit = entry.layout == Entry::Layout::transpose ? entry.rows * entry.columns : entry.head_width;
    if (entry.layout != Entry::Layout::same) {
        if (!stage.statistics.empty() || whole % unit != 0 ||
            (entry.layout == Entry::Layout::transpose && whole != unit)) {
            return fail("stage '{}' has positions of [{}], which the layout of '{}' with {} elements does not fit",
                        printable(to_string(stage.key)), fmt::join(theirs, ", "), printable(entry.theirs), unit);
        }
        std::vector<std::pair<int64_t, int64_t>> order;  // (place in our row, place in their row)
        for (int64_t i = 0; i < width; ++i)
            order.emplace_back(destination(stage.elements.empty() ? i : stage.elements[static_cast<size_t>(i)]), i);
        std::sort(order.begin(), order.end());
        const auto bytes = static_cast<size_t>(element_bytes(stage.type));
        std::vector<std::byte> data(stage.data.size());
        std::byte* out = data.data();
        for (size_t position = 0; position < stage.positions.size(); ++position) {
            const std::byte* row = stage.at(static_cast<int64_t>(position));
            for (const auto& [ours, place] : order) {
                std::memcpy(out, row + static_cast<size_t>(place) * bytes, bytes);
                out += bytes;
            }
        }
        stage.data = std::move(data);
        if (entry.layout == Entry::Layout::transpose) {
            (stage.elements.empty() ? stage.shape : stage.whole_shape) = {entry.columns, entry.rows};
        }
        for (size_t i = 0; i < stage.elements.size(); ++i) stage.elements[i] = order[i].first;
    }
    if (entry.shape.empty()) return {};
    if (product(entry.shape) != whole) {
        return fail("stage '{}' has positions of [{}], which cannot be [{}]", printable(to_string(stage.key)),
                    fmt::join(theirs, ", "), fmt::join(entry.shape, ", "));
    }
    (stage.elements.empty() ? stage.shape : stage.whole_shape) = entry.shape;
    return {};
}

Result<void> StageMap::apply(Recording& recording) const {
    std::vector<StageRecord> kept;
    std::set<StageKey> keys;
    for (StageRecord& stage : recording.stages) {
        const std::string name = to_string(stage.key);
        std::optional<std::string> digits;
        const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& one) {
            digits = match(one.theirs, name);
            return digits.has_value();
        });
        if (entry != entries_.end()) {
            if (!entry->drop.empty()) continue;
            TRY(rearrange(*entry, stage));
            TRY_ASSIGN(stage.key, parse_stage_key(with_layer(entry->ours, *digits)));
        }
        if (!keys.insert(stage.key).second) {
            return fail("two stages are called '{}' after '{}' was mapped; correct the map",
                        printable(to_string(stage.key)), printable(name));
        }
        kept.push_back(std::move(stage));
    }
    recording.stages = std::move(kept);
    if (!recording.order_is_stated) sort_by_names(recording.stages);
    return {};
}

}  // namespace invar
