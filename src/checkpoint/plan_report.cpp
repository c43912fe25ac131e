// Shows the weight plan to people and to programs.
#include <fmt/format.h>
#include <algorithm>
#include <array>

#include <map>

#include "base/json.h"
#include "checkpoint/weight_plan.h"

namespace invar {
namespace {

constexpr double kMiB = 1 << 20;

double mib(int64_t bytes) { return static_cast<double>(bytes) / kMiB; }

std::string_view on_device(Place place) { return place == Place::device ? " on the device" : ""; }
std::string_view place_name(Place place) { return place == Place::device ? "device" : "host"; }

struct Group {
    int64_t entries = 0, bytes = 0;
};

// Totals by source format and stored form, aliases apart, and the scales beside the entries.
std::map<std::string, Group> group_entries(const WeightPlan& plan) {
    std::map<std::string, Group> groups;
    for (const PlanEntry& entry : plan.entries) {
        const std::string key = entry.alias_of ? std::string("alias")
                                               : fmt::format("{} {}{}", entry.source->name,
                                                             stored_form_name(entry.form), on_device(entry.place));
        ++groups[key].entries;
        groups[key].bytes += entry.bytes;
        if (entry.scale_bytes() == 0) continue;
        Group& scales = groups[fmt::format("scales beside{}", on_device(entry.place))];
        ++scales.entries;
        scales.bytes += entry.scale_bytes();
    }
    return groups;
}

// Columns are as wide as their longest text: tensors of a directory have longer names than those of a GGUF file.
std::string entries_as_table(const WeightPlan& plan) {
    std::vector<std::array<std::string, 5>> rows = {{"weight", "tensor", "shape", "format", "form"}};
    for (const PlanEntry& entry : plan.entries) {
        rows.push_back({to_string(entry.id), entry.tensor, fmt::format("{}", fmt::join(entry.shape, " x ")),
                        std::string(entry.source->name), std::string(stored_form_name(entry.form))});
    }
    std::array<size_t, 5> widths = {30, 28, 20, 7, 10};
    for (const auto& row : rows) {
        for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (size_t r = 0; r < rows.size(); ++r) {
        for (size_t i = 0; i < widths.size(); ++i) text += fmt::format("{:<{}} ", rows[r][i], widths[i]);
        text += r == 0 ? fmt::format("{:>12}  {}\n", "bytes", "why")
                       : fmt::format("{:>12}  {}\n", plan.entries[r - 1].bytes, plan.entries[r - 1].reason);
    }
    return text;
}

}  // namespace

Json plan_as_json(const WeightPlan& plan) {
    Json entries = Json::array();
    for (const PlanEntry& entry : plan.entries) {
        Json one = {{"weight", to_string(entry.id)},
                    {"layer", entry.id.layer},
                    {"role", entry.id.role},
                    {"tensor", entry.tensor},
                    {"shape", entry.shape},
                    {"format", entry.source->name},
                    {"form", stored_form_name(entry.form)},
                    {"place", place_name(entry.place)},
                    {"bytes", entry.bytes},
                    {"file_bytes", entry.file_bytes},
                    {"reason", entry.reason}};
        if (entry.alias_of) one["alias_of"] = to_string(*entry.alias_of);
        if (!entry.stored.scales.empty()) one["scales"] = entry.stored.scales.size();
        if (entry.scale_bytes() > 0) one["scale_bytes"] = entry.scale_bytes();
        entries.push_back(std::move(one));
    }
    Json ignored = Json::array();
    for (const IgnoredTensors& one : plan.ignored) {
        ignored.push_back(
            {{"rule", one.rule}, {"because", one.because}, {"tensors", one.tensors}, {"bytes", one.bytes}});
    }
    Json reserves = Json::array();
    for (const PlanReserve& reserve : plan.reserves) {
        reserves.push_back({{"name", reserve.name},
                            {"place", place_name(reserve.place)},
                            {"bytes", reserve.bytes},
                            {"reason", reserve.reason}});
    }
    Json totals = Json::object();
    for (const auto& [name, group] : group_entries(plan))
        totals[name] = {{"entries", group.entries}, {"bytes", group.bytes}};
    Json json = {{"model", plan.model},
                 {"architecture", plan.architecture},
                 {"context", plan.context},
                 {"chunk", plan.chunk},
                 {"entries", std::move(entries)},
                 {"reserves", std::move(reserves)},
                 {"totals", std::move(totals)},
                 {"weight_bytes", plan.weight_bytes()},
                 {"total_bytes", plan.total_bytes()},
                 {"file_bytes", plan.file_bytes},
                 {"above_file_bytes", plan.above_file_bytes()},
                 {"cache_file", plan.cache_file},
                 {"ignored", std::move(ignored)},
                 {"notes", plan.notes}};
    if (!plan.device.empty()) {
        json["device"] = plan.device;
        json["placement"] = plan.placement;
        json["host_bytes"] = plan.total_bytes(Place::host);
        json["device_bytes"] = plan.total_bytes(Place::device);
    }
    return json;
}

std::string plan_as_table(const WeightPlan& plan, bool every_tensor) {
    std::string text = fmt::format("{} ({}), context {}, prompt chunks of {}\n\n", plan.model, plan.architecture,
                                   plan.context, plan.chunk);
    if (every_tensor) {
        text += entries_as_table(plan) + "\n";
    }
    text += fmt::format("{:<30} {:>8} {:>14} {:>12}\n", "kind", "entries", "bytes", "MiB");
    for (const auto& [name, group] : group_entries(plan)) {
        text += fmt::format("{:<30} {:>8} {:>14} {:>12.2f}\n", name, group.entries, group.bytes, mib(group.bytes));
    }
    text += fmt::format("{:<30} {:>8} {:>14} {:>12.2f}\n", "weights in all", plan.entries.size(), plan.weight_bytes(),
                        mib(plan.weight_bytes()));
    for (const PlanReserve& reserve : plan.reserves) {
        text += fmt::format("{:<30} {:>8} {:>14} {:>12.2f}  {}\n",
                            fmt::format("{}{}", reserve.name, on_device(reserve.place)), "", reserve.bytes,
                            mib(reserve.bytes), reserve.reason);
    }
    const auto total = [&](std::string_view name, int64_t bytes) {
        text += fmt::format("{:<30} {:>8} {:>14} {:>12.2f}\n", name, "", bytes, mib(bytes));
    };
    if (plan.device.empty()) {
        total("total", plan.total_bytes());
    } else {
        total("total on the host", plan.total_bytes(Place::host));
        total("total on the device", plan.total_bytes(Place::device));
    }
    const int64_t above = plan.above_file_bytes();
    text += fmt::format("weights and scratch are {} bytes ({:.1f} %) {} the {} bytes of the file\n", std::abs(above),
                        100 * static_cast<double>(std::abs(above)) / static_cast<double>(plan.file_bytes),
                        above < 0 ? "below" : "above", plan.file_bytes);
    if (!plan.placement.empty()) text += plan.placement + "\n";
    for (const std::string& note : plan.device_notes) text += note + "\n";
    for (const IgnoredTensors& one : plan.ignored) {
        text += fmt::format("ignored: {} tensors {} ({} bytes), {}\n", one.tensors, one.rule, one.bytes, one.because);
    }
    for (const std::string& note : plan.notes) text += fmt::format("note: {}\n", note);
    return text;
}

}  // namespace invar
