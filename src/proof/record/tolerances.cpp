#include "proof/record/tolerances.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/mapped_file.h"
#include "files/printable.h"

namespace invar {
namespace {

Result<void> read_bound(const Json& value, std::optional<double>& bound, std::string_view field,
                        const std::string& place) {
    if (!value.is_number() || !(value.get<double>() >= 0) || !std::isfinite(value.get<double>())) {
        return fail("{}: '{}' is {}, but a number of 0 or more is needed", place, field, printable(value.dump(), 40));
    }
    bound = value.get<double>();
    return {};
}

Result<void> read_flag(const Json& value, bool& flag, std::string_view field, const std::string& place) {
    if (!value.is_boolean()) return fail("{}: '{}' must be true or false", place, field);
    flag = value.get<bool>();
    return {};
}

Result<Tolerance> read_entry(const Json& entry, const std::string& place) {
    if (!entry.is_object()) return fail("{}: is no JSON object", place);
    Tolerance result;
    for (const auto& [field, value] : entry.items()) {
        if (field == "stage" || field == "reason") {
            if (!value.is_string()) return fail("{}: '{}' must be a text", place, field);
            (field == "stage" ? result.stage : result.reason) = value.get<std::string>();
        } else if (field == "relative_rms") {
            TRY(read_bound(value, result.relative_rms, field, place));
        } else if (field == "worst") {
            TRY(read_bound(value, result.worst, field, place));
        } else if (field == "absolute") {
            TRY(read_bound(value, result.absolute, field, place));
        } else if (field == "routing_margin") {
            TRY(read_bound(value, result.routing_margin, field, place));
        } else if (field == "set") {
            TRY(read_flag(value, result.set, field, place));
        } else if (field == "missing") {
            TRY(read_flag(value, result.missing, field, place));
        } else {
            return fail(
                "{}: has a field '{}'; known are stage, reason, relative_rms, worst, absolute, routing_margin, set and "
                "missing",
                place, printable(field));
        }
    }
    if (result.stage.empty()) return fail("{}: has no 'stage', a pattern such as layer.*.attention", place);
    if (result.reason.find_first_not_of(" \t\n") == std::string::npos) {
        return fail("{}: the bound for '{}' has no reason; say why these bits cannot be equal", place,
                    printable(result.stage));
    }
    if (!result.relative_rms && !result.worst && !result.absolute && !result.routing_margin && !result.set &&
        !result.missing) {
        return fail("{}: the entry for '{}' has no bound", place, printable(result.stage));
    }
    return result;
}

}  // namespace

bool Tolerance::admits(const StageComparison& comparison) const {
    if (comparison.outcome == StageOutcome::skipped) return missing;
    const StageFigures& figures = comparison.figures;
    if (comparison.outcome != StageOutcome::different || figures.by_hash) return false;
    if (figures.differing_sets + figures.differing_orders > 0) {
        const bool near_ties =
            routing_margin && comparison.widest_margin && *comparison.widest_margin <= *routing_margin;
        return near_ties || (set && figures.differing_sets == 0);
    }
    if (!relative_rms && !worst && !absolute) return false;
    return (!relative_rms || figures.relative_rms <= *relative_rms) &&
           (!worst || figures.greatest <= *worst * figures.rms) && (!absolute || figures.greatest <= *absolute);
}

Result<Tolerances> Tolerances::parse(std::string_view json, const std::string& file) {
    auto value = parse_json(json);
    if (!value) return fail("{}: {}", file, value.error().message);
    if (!value->is_object() || value->size() != 1 || !value->contains("tolerances") ||
        !(*value)["tolerances"].is_array()) {
        return fail("{}: must be {{\"tolerances\": [...]}}", file);
    }
    Tolerances result;
    for (const Json& entry : (*value)["tolerances"]) {
        TRY_ASSIGN(Tolerance one, read_entry(entry, fmt::format("{}: entry {}", file, result.entries_.size())));
        result.entries_.push_back(std::move(one));
    }
    return result;
}

Result<Tolerances> Tolerances::load(const std::filesystem::path& path) {
    TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
    return parse({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

const Tolerance* Tolerances::find(const StageKey& key) const {
    const std::string name = to_string(key);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Tolerance& entry) {
        return fnmatch(entry.stage.c_str(), name.c_str(), 0) == 0;
    });
    return found == entries_.end() ? nullptr : &*found;
}

}  // namespace invar
