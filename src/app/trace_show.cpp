// invar trace show: lists the stages of a recording, or prints statistics and values of some of them.
#include <fmt/format.h>

#include <fnmatch.h>

#include <algorithm>
#include <cmath>

#include "app/output.h"
#include "app/trace.h"
#include "base/json.h"
#include "files/printable.h"
#include "proof/record/comparison_report.h"
#include "proof/record/recording_file.h"

namespace invar::app {
namespace {

struct ShowFlags {
    std::string file, stage;
    Ranges positions, elements;
    bool values = false, json = false;
};

bool wanted(const Ranges& ranges, int64_t number) {
    return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), [&](const auto& range) {
               return number >= range.first && number <= range.second;
           });
}

std::string_view type_name(ElementType type) {
    return type == ElementType::f64 ? "f64" : type == ElementType::i32 ? "i32" : "f32";
}

std::string shape_text(const StageRecord& stage) {
    if (stage.elements.empty()) return fmt::format("[{}]", fmt::join(stage.shape, ", "));
    return fmt::format("{} of [{}]", stage.elements.size(), fmt::join(stage.whole_shape, ", "));
}

// Statistics over all positions of a stage.
struct Overall {
    double rms = 0, greatest = 0;  // greatest: the largest absolute value
    int64_t non_finite = 0;
};

Overall overall_of(const StageRecord& stage) {
    Overall result;
    double squares = 0;
    const auto positions = static_cast<int64_t>(stage.positions.size());
    for (int64_t i = 0; i < positions; ++i) {
        const StageStatistics one = statistics_at(stage, i);
        squares += one.rms * one.rms;
        result.greatest = std::max({result.greatest, std::fabs(one.least), std::fabs(one.greatest)});
        result.non_finite += one.non_finite;
    }
    result.rms = std::sqrt(squares / static_cast<double>(positions));
    return result;
}

std::string positions_text(const std::vector<int64_t>& positions) {
    std::string text;
    for (size_t i = 0; i < positions.size();) {
        size_t j = i;
        while (j + 1 < positions.size() && positions[j + 1] == positions[j] + 1) ++j;
        text += fmt::format("{}{}", text.empty() ? "" : ",", positions[i]);
        if (j > i) text += fmt::format("-{}", positions[j]);
        i = j + 1;
    }
    return text;
}

void list_stages(const Recording& recording, std::string_view file) {
    std::string text = fmt::format("{}: {}\n", file, description_of(recording));
    for (const auto& [key, value] : recording.metadata)
        text += fmt::format("  {:<14} {}\n", printable(key), printable(value, 200));
    std::string tokens = fmt::format("{}", fmt::join(recording.tokens, " "));
    text += fmt::format("  {:<14} {}\n", "tokens", printable(tokens, 200));
    size_t names = 5, kernels = 6, shapes = 5;
    for (const StageRecord& stage : recording.stages) {
        names = std::max(names, printable(to_string(stage.key)).size());
        kernels = std::max(kernels, printable(stage.kernel).size());
        shapes = std::max(shapes, shape_text(stage).size());
    }
    text += fmt::format("\n  {:<{}}  {:<15} {:<{}}  {:<4} {:<{}}  {:>11} {:>11}  {}\n", "stage", names, "verb",
                        "kernel", kernels, "type", "shape", shapes, "RMS", "greatest", "positions");
    for (const StageRecord& stage : recording.stages) {
        const Overall overall = overall_of(stage);
        text += fmt::format("  {:<{}}  {:<15} {:<{}}  {:<4} {:<{}}  {:>11.5g} {:>11.5g}  {}{}\n",
                            printable(to_string(stage.key)), names, printable(stage.verb), printable(stage.kernel),
                            kernels, type_name(stage.type), shape_text(stage), shapes, overall.rms, overall.greatest,
                            positions_text(stage.positions),
                            overall.non_finite == 0 ? "" : fmt::format(", {} not finite", overall.non_finite));
    }
    print_result(text);
}

Json stage_json(const StageRecord& stage) {
    const Overall overall = overall_of(stage);
    return {{"stage", to_string(stage.key)},
            {"verb", stage.verb},
            {"kernel", stage.kernel},
            {"type", type_name(stage.type)},
            {"shape", stage.shape},
            {"positions", stage.positions},
            {"rms", overall.rms},
            {"greatest", overall.greatest},
            {"non_finite", overall.non_finite},
            {"values_recorded", !stage.data.empty()}};
}

// The values that a user asked for at one position: (element, value).
std::vector<std::pair<int64_t, double>> values_of(const StageRecord& stage, int64_t index, const Ranges& elements) {
    std::vector<std::pair<int64_t, double>> values;
    for (int64_t i = 0; i < stage.width(); ++i) {
        const int64_t element = stage.elements.empty() ? i : stage.elements[static_cast<size_t>(i)];
        if (wanted(elements, element)) values.emplace_back(element, stage.value(index, i));
    }
    return values;
}

void show_stage(const StageRecord& stage, const ShowFlags& flags) {
    print_result(fmt::format("{} ({}{}{}), {} {}\n", printable(to_string(stage.key)), printable(stage.verb),
                             stage.kernel.empty() ? "" : ", ", printable(stage.kernel), type_name(stage.type),
                             shape_text(stage)));
    print_result(fmt::format("  {:>8}  {:>14} {:>14} {:>14} {:>14} {:>10}  {}\n", "position", "least", "greatest",
                             "mean", "RMS", "not finite", "hash"));
    for (size_t i = 0; i < stage.positions.size(); ++i) {
        if (!wanted(flags.positions, stage.positions[i])) continue;
        const auto index = static_cast<int64_t>(i);
        const StageStatistics one = statistics_at(stage, index);
        print_result(fmt::format("  {:>8}  {:>14.7g} {:>14.7g} {:>14.7g} {:>14.7g} {:>10}  {}\n", stage.positions[i],
                                 one.least, one.greatest, one.mean, one.rms, one.non_finite, one.hash));
        if (!flags.values) continue;
        const RowValues row{stage.type, stage.at(index), stage.width()};
        for (int64_t k = 0; k < row.count; ++k) {
            const int64_t element = stage.elements.empty() ? k : stage.elements[static_cast<size_t>(k)];
            if (wanted(flags.elements, element))
                print_result(fmt::format("  {:>12}  {}\n", element, number_text(row.value(k), row.bits(k))));
        }
    }
}

Json stage_details(const StageRecord& stage, const ShowFlags& flags) {
    Json value = stage_json(stage);
    Json rows = Json::array();
    for (size_t i = 0; i < stage.positions.size(); ++i) {
        if (!wanted(flags.positions, stage.positions[i])) continue;
        const auto index = static_cast<int64_t>(i);
        const StageStatistics one = statistics_at(stage, index);
        Json row = {{"position", stage.positions[i]},
                    {"least", one.least},
                    {"greatest", one.greatest},
                    {"mean", one.mean},
                    {"rms", one.rms},
                    {"non_finite", one.non_finite},
                    {"hash", one.hash}};
        if (flags.values) {
            Json values = Json::array();
            for (const auto& [element, number] : values_of(stage, index, flags.elements))
                values.push_back({element, std::isfinite(number) ? Json(number) : Json(fmt::format("{}", number))});
            row["values"] = std::move(values);  // pairs [element, value]
        }
        rows.push_back(std::move(row));
    }
    value["rows"] = std::move(rows);
    return value;
}

// The stages that a name or a glob matches. If there are none, the error names some that exist.
Result<std::vector<const StageRecord*>> stages_called(const Recording& recording, const std::string& pattern) {
    std::vector<const StageRecord*> found;
    std::string near;
    for (const StageRecord& stage : recording.stages) {
        const std::string name = to_string(stage.key);
        if (fnmatch(pattern.c_str(), name.c_str(), 0) == 0) found.push_back(&stage);
        if (near.size() < 200 && name.find(pattern) != std::string::npos)
            near += fmt::format("{}{}", near.empty() ? "" : ", ", printable(name));
    }
    if (!found.empty()) return found;
    if (near.empty()) {
        for (size_t i = 0; i < std::min<size_t>(recording.stages.size(), 4); ++i)
            near += fmt::format("{}{}", near.empty() ? "" : ", ", printable(to_string(recording.stages[i].key)));
    }
    return fail("there is no stage '{}' in the recording; there are {} ...", printable(pattern), near);
}

Result<int> trace_show(const ShowFlags& flags) {
    TRY_ASSIGN(const Recording recording, load_recording(flags.file));
    if (flags.stage.empty()) {
        if (!flags.json) {
            list_stages(recording, flags.file);
            return kDone;
        }
        Json stages = Json::array();
        for (const StageRecord& stage : recording.stages) stages.push_back(stage_json(stage));
        print_json({{"metadata", recording.metadata}, {"tokens", recording.tokens}, {"stages", std::move(stages)}});
        return kDone;
    }
    TRY_ASSIGN(const auto stages, stages_called(recording, flags.stage));
    for (const StageRecord* stage : stages) {
        if (flags.values && !stage->statistics.empty())
            return fail("{}: holds statistics only, no values; leave out --values", flags.file);
        if (flags.json) {
            print_json(stage_details(*stage, flags));
        } else {
            show_stage(*stage, flags);
        }
    }
    return kDone;
}

}  // namespace

Command trace_show_command() {
    auto flags = std::make_shared<ShowFlags>();
    return {.name = "show",
            .summary = "List a recording's stages, or show some of them",
            .settings = {{"",
                          {
                              {"recording", text(flags->file), "Recording, of any engine", kRequired},
                              {"stage", text(flags->stage), "A stage, or a glob such as 'layer.3.*'; none: the list"},
                              {"--position", ranges(flags->positions), "Positions, e.g. 3 or 0-5"},
                              {"--values", flag(flags->values), "Every value, in decimal and in bits"},
                              {"--element", ranges(flags->elements), "Which values, e.g. 0-15"},
                              {"--json", flag(flags->json), "Print JSON, one line per stage"},
                          }}},
            .footer =
                "Examples:\n"
                "  invar trace show a.safetensors\n"
                "  invar trace show a.safetensors layer.3.expert_ids --values\n"
                "  invar trace show a.safetensors 'layer.*.residual_after_ffn' --position 0",
            .run = [flags](const Arguments&) { return trace_show(*flags); }};
}

}  // namespace invar::app
