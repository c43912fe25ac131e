// The check of a plan as a person or a program reads it.
#include "base/json.h"
#include "proof/verify/plan_check.h"

namespace invar {
namespace {

constexpr std::array<std::string_view, kMoments> kMomentNames = {"before", "loaded", "used", "written"};

Json resident_as_json(const Resident& resident) {
    Json json = Json::object();
    for (size_t i = 0; i < kMoments; ++i) json[std::string(kMomentNames[i])] = resident[i];
    return json;
}

std::string line(std::string_view name, std::string_view planned, const Resident& resident) {
    std::string text = fmt::format("{:<28} {:>14}", name, planned);
    for (size_t i = 1; i < kMoments; ++i) text += fmt::format(" {:>14}", resident[i]);
    return text + "\n";
}

std::string memory_as_text(const MemoryCheck& memory) {
    std::string text = fmt::format("{:<28} {:>14} {:>14} {:>14} {:>14}\n", "bytes in memory", "planned", "loaded",
                                   fmt::format("pass of {}", memory.chunk), "all reserved");
    Resident sum{};
    for (const MemoryCheck::Part& part : memory.parts) {
        if (part.planned > 0) text += line(part.name, fmt::format("{}", part.planned), part.resident);
        for (size_t i = 0; i < kMoments; ++i) sum[i] += part.resident[i];
    }
    text += line("the rest of the model file", "", memory.file_rest);
    text += line("other anonymous memory", "", memory.other);
    for (size_t i = 0; i < kMoments; ++i) sum[i] += memory.file_rest[i] + memory.other[i];
    text += line("in all", fmt::format("{}", memory.planned), sum);
    if (memory.swapped[kMoments - 1] > 0)
        text += fmt::format("{} bytes are swapped out and not counted\n", memory.swapped[kMoments - 1]);
    const bool least = memory.tolerated() == MemoryCheck::kLeastTolerated;
    text += fmt::format("{} in memory with every reserved page written - {} planned = {:+} = {:+.2f} %, {} {}\n",
                        memory.measured, memory.planned, memory.measured - memory.planned, 100 * memory.deviation(),
                        memory.within() ? "within" : "NOT within", least ? "512 KiB" : "3 %");
    return text;
}

}  // namespace

Json plan_check_as_json(const PlanCheck& check) {
    Json entries = Json::array();
    for (const EntryCheck& entry : check.entries) {
        entries.push_back({{"weight", entry.weight},
                           {"tensor", entry.tensor},
                           {"format", entry.format},
                           {"form", entry.form},
                           {"place", entry.place},
                           {"bytes", entry.bytes},
                           {"owner", entry.owner},
                           {"source_hash", entry.source_hash},
                           {"recovered", entry.recovered},
                           {"differences", entry.differences}});
    }
    Json parts = Json::array();
    for (const MemoryCheck::Part& part : check.memory.parts) {
        parts.push_back(
            {{"name", part.name}, {"planned", part.planned}, {"resident", resident_as_json(part.resident)}});
    }
    Json json = {{"model", check.model},
                 {"entries", std::move(entries)},
                 {"unplanned", check.unplanned},
                 {"differences", check.differences()},
                 {"memory",
                  {{"parts", std::move(parts)},
                   {"file_rest", resident_as_json(check.memory.file_rest)},
                   {"other", resident_as_json(check.memory.other)},
                   {"swapped", resident_as_json(check.memory.swapped)},
                   {"planned", check.memory.planned},
                   {"measured", check.memory.measured},
                   {"deviation", check.memory.deviation()},
                   {"tolerated", check.memory.tolerated()},
                   {"within", check.memory.within()}}},
                 {"holds", check.holds()}};
    if (check.device_memory) {
        json["device_memory"] = {
            {"device", check.device_memory->device},     {"planned", check.device_memory->planned},
            {"overhead", check.device_memory->overhead}, {"opened", check.device_memory->opened},
            {"measured", check.device_memory->measured}, {"tolerated", check.device_memory->tolerated()},
            {"within", check.device_memory->within()}};
    }
    return json;
}

std::string plan_check_as_text(const PlanCheck& check, bool every_entry) {
    std::string text;
    if (every_entry) {
        text += fmt::format("{:<30} {:<7} {:<10} {:<5} {:>12}  {:<16} {:<37} {}\n", "weight", "format", "form", "place",
                            "bytes", "owner", "source", "loaded");
    }
    for (const EntryCheck& entry : check.entries) {
        if (every_entry) {
            text += fmt::format("{:<30} {:<7} {:<10} {:<5} {:>12}  {:<16} {:<37} {}\n", entry.weight, entry.format,
                                entry.form, entry.place, entry.bytes, entry.owner, entry.source_hash,
                                entry.recovered ? "= source" : "DIFFERS");
        } else if (!entry.recovered) {
            text += fmt::format("{}: what is loaded is not what the file holds\n", entry.weight);
        }
        for (const std::string& difference : entry.differences)
            text += fmt::format("{}: {}\n", entry.weight, difference);
    }
    for (const std::string& one : check.unplanned) text += one + "\n";
    text += fmt::format("{} entries of the plan compared with what is loaded, {} differ\n\n", check.entries.size(),
                        check.differences());
    text += memory_as_text(check.memory);
    if (check.device_memory) {
        const DeviceMemoryCheck& memory = *check.device_memory;
        const bool least = memory.tolerated() == DeviceMemoryCheck::kLeastTolerated;
        text += fmt::format(
            "{} bytes taken on {} after all passes ({} once the model was open, {} of them kernels) - {} planned = "
            "{:+}, {} {}\n",
            memory.measured, memory.device, memory.opened, memory.overhead, memory.planned,
            memory.measured - memory.planned, memory.within() ? "within" : "NOT within", least ? "8 MiB" : "2 %");
    }
    return text;
}

}  // namespace invar
