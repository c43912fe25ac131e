#include "proof/verify/verify_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"

namespace invar {

std::string thousands(int64_t number) {
    std::string digits = std::to_string(number);
    for (auto at = static_cast<int64_t>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3) {
        digits.insert(static_cast<size_t>(at), ",");
    }
    return digits;
}

namespace {

constexpr size_t kNameWidth = 50;

// One line for all schedules of a path, which are neighbours, or one for each.
std::string line_of(std::span<const PathResult> paths, bool each) {
    const PathResult& first = paths.front();
    const std::string name = each && !first.schedule.empty() ? first.name + " | " + first.schedule : first.name;
    if (first.status == PathStatus::skipped) {
        return fmt::format("  {:<{}} skipped: {}\n", name, kNameWidth, first.reason);
    }
    PathStatus worst = PathStatus::equal;
    BookCounts sum;
    double seconds = 0;
    std::string note = first.note;
    size_t ways = 0;
    for (const PathResult& path : paths) {
        if (path.status == PathStatus::skipped) {  // schedules that there was no time for
            note = fmt::format("{} of {} ways skipped: {}", paths.size() - ways, paths.size(), path.reason);
            break;
        }
        ++ways;
        sum.stages += path.counts.stages;
        sum.values += path.counts.values;
        sum.differing_values += path.counts.differing_values;
        seconds += path.seconds;
        if (path.status == PathStatus::failed || worst == PathStatus::equal) worst = path.status;
    }
    const std::string positions = first.positions == first.all_positions
                                      ? fmt::format("{}", first.positions)
                                      : fmt::format("{} of {}", first.positions, first.all_positions);
    return fmt::format("  {:<{}} {:>4} {:>10} {:>11} {:>13} {:>10} {:>6.1f} s{}{}\n", name, kNameWidth, ways, positions,
                       thousands(sum.stages), thousands(sum.values), thousands(sum.differing_values), seconds,
                       worst == PathStatus::equal ? "" : fmt::format("  {}", path_status_name(worst)),
                       note.empty() ? "" : fmt::format("  ({})", note));
}

std::string path_lines(const VerifyReport& report, bool each_schedule) {
    std::string text;
    std::map<std::string, int64_t> skipped;  // whole paths, by reason
    for (const PathResult& path : report.paths)
        skipped[path.reason] += path.status == PathStatus::skipped && path.schedule.empty() ? 1 : 0;
    for (size_t first = 0; first < report.paths.size();) {
        const PathResult& path = report.paths[first];
        if (!each_schedule && path.status == PathStatus::skipped && skipped[path.reason] > 2) {
            ++first;
            continue;
        }
        size_t last = first + 1;
        while (!each_schedule && last < report.paths.size() && report.paths[last].name == report.paths[first].name) {
            ++last;
        }
        text += line_of(std::span(report.paths).subspan(first, last - first), each_schedule);
        first = last;
    }
    for (const auto& [reason, count] : skipped) {
        if (!each_schedule && count > 2) {
            text += fmt::format("  {:<{}} skipped: {}\n", fmt::format("{} paths", count), kNameWidth, reason);
        }
    }
    return text;
}

std::string number_text(const StageDifference& difference, double value, uint32_t bits) {
    return difference.integers ? fmt::format("{}", static_cast<int64_t>(value))
                               : fmt::format("{:.9g} (0x{:08x})", value, bits);
}

// The worst layer of every stage name.
struct StageSummary {
    const StageAccuracy* worst = nullptr;
    double quantization = 0, rounding = 0;
    int64_t layers = 0, integers = 0, integers_equal = 0;
};

std::string accuracy_text(const AccuracyReport& accuracy) {
    std::vector<std::string> order;
    std::map<std::string, StageSummary> by_name;
    for (const StageAccuracy& stage : accuracy.stages) {
        const auto [place, fresh] = by_name.try_emplace(stage.key.name);
        if (fresh) order.push_back(stage.key.name);
        StageSummary& summary = place->second;
        ++summary.layers;
        summary.integers += stage.integers;
        summary.integers_equal += stage.integers_equal;
        summary.quantization = std::max(summary.quantization, stage.quantization);
        summary.rounding = std::max(summary.rounding, stage.rounding);
        if (summary.worst == nullptr || stage.relative_rms > summary.worst->relative_rms) summary.worst = &stage;
    }
    std::string text = fmt::format(
        "\nDistance to the float64 reference ({} of {} positions, {:.1f} s): relative RMS of the worst layer\n"
        "  {:<26} {:>6} {:>10} {:>12} {:>10} {:>10}\n",
        accuracy.covered_positions, accuracy.all_positions, accuracy.seconds, "stage", "layer", "distance",
        "quantisation", "rounding", "worst");
    for (const std::string& name : order) {
        const StageSummary& summary = by_name[name];
        if (summary.integers > 0) {
            text += fmt::format("  {:<26} {:>6} {} of {} chosen as the reference chooses\n", name, "all",
                                thousands(summary.integers_equal), thousands(summary.integers));
            continue;
        }
        const StageAccuracy& worst = *summary.worst;
        text += fmt::format("  {:<26} {:>6} {:>10.2e} {:>12.2e} {:>10.2e} {:>10.2e}\n", name,
                            worst.key.layer < 0 ? "-" : std::to_string(worst.key.layer), worst.relative_rms,
                            summary.quantization, summary.rounding, worst.worst);
    }
    if (accuracy.positions.empty()) return text;  // an encoder
    text += fmt::format(
        "  next token: mean KL divergence {:.3e} nats, largest {:.3e}; same first choice at {:.2f} % of {} positions\n",
        accuracy.mean_kl(), accuracy.largest_kl(), 100 * accuracy.same_first_share(), accuracy.positions.size());
    return text;
}

Json difference_as_json(const StageDifference& difference) {
    Json json = {{"stage", to_string(difference.key)},
                 {"layer", difference.key.layer},
                 {"verb", difference.verb},
                 {"probe", difference.probe},
                 {"position", difference.position},
                 {"element", difference.element},
                 {"last_element", difference.last_element},
                 {"differing_of_row", difference.differing},
                 {"expected", difference.expected},
                 {"value", difference.value},
                 {"expected_bits", fmt::format("0x{:08x}", difference.expected_bits)},
                 {"bits", fmt::format("0x{:08x}", difference.bits)},
                 {"expected_kernel", difference.expected_kernel},
                 {"kernel", difference.kernel},
                 {"float64_supports", supported_side(difference)}};
    if (difference.float64) json["float64"] = *difference.float64;
    return json;
}

Json accuracy_as_json(const AccuracyReport& accuracy) {
    Json stages = Json::array(), positions = Json::array();
    for (const StageAccuracy& stage : accuracy.stages) {
        stages.push_back({{"stage", to_string(stage.key)},
                          {"layer", stage.key.layer},
                          {"name", stage.key.name},
                          {"verb", stage.verb},
                          {"relative_rms", stage.relative_rms},
                          {"quantisation", stage.quantization},
                          {"rounding", stage.rounding},
                          {"worst", stage.worst},
                          {"worst_probe", stage.worst_probe},
                          {"worst_position", stage.worst_position},
                          {"worst_element", stage.worst_element},
                          {"worst_value", stage.worst_value},
                          {"worst_reference", stage.worst_reference},
                          {"integers", stage.integers},
                          {"integers_equal", stage.integers_equal}});
    }
    for (const PositionAccuracy& position : accuracy.positions) {
        positions.push_back({{"probe", position.probe},
                             {"position", position.position},
                             {"kl", position.kl},
                             {"same_first", position.same_first},
                             {"first_margin", position.first_margin}});
    }
    return {{"stages", std::move(stages)},
            {"positions", std::move(positions)},
            {"routing_margins", accuracy.routing_margins},
            {"mean_kl", accuracy.mean_kl()},
            {"largest_kl", accuracy.largest_kl()},
            {"same_first_share", accuracy.same_first_share()},
            {"covered_positions", accuracy.covered_positions},
            {"all_positions", accuracy.all_positions},
            {"seconds", accuracy.seconds}};
}

}  // namespace

std::string difference_as_text(const StageDifference& difference) {
    std::string text = fmt::format(
        "  first at {} ({}, kernel {}), probe '{}', position {}, element {};\n"
        "    {} of that row differ, the last at element {}\n"
        "    expected {}{}\n"
        "    computed {}\n",
        to_string(difference.key), difference.verb, difference.kernel.empty() ? "unknown" : difference.kernel,
        difference.probe, difference.position, difference.element,
        difference.differing == 1 ? "1 value" : fmt::format("{} values", difference.differing), difference.last_element,
        number_text(difference, difference.expected, difference.expected_bits),
        difference.expected_kernel.empty() ? "" : fmt::format(" by kernel {}", difference.expected_kernel),
        number_text(difference, difference.value, difference.bits));
    if (difference.float64) {
        text +=
            fmt::format("    float64  {:.17g} of the same input: supports {}\n", *difference.float64,
                        supported_side(difference) == "expected" ? "the expected value" : supported_side(difference));
    }
    return text;
}

std::string verify_as_text(const VerifyReport& report, bool each_schedule) {
    std::string probes;
    for (const auto& [name, positions] : report.probes) {
        probes += fmt::format("{}{} ({})", probes.empty() ? "" : ", ", name, positions);
    }
    std::string text = fmt::format(
        "{} ({}, {} layer{}, {}), arithmetic version {}, cache {}\n"
        "probes: {} positions\n"
        "every path is compared with: {} ({} stages of positions)\n"
        "hash of all these stages: {}\n\n"
        "  {:<{}} {:>4} {:>10} {:>11} {:>13} {:>10} {:>8}\n",
        report.model, report.architecture, report.layers, report.layers == 1 ? "" : "s", report.file_hash,
        report.arithmetic_version, report.cache_type, probes, report.compared_with, thousands(report.reference_stages),
        report.stages_hash, "path", kNameWidth, "ways", "positions", "stages", "values", "differing", "time");
    for (const std::string& skipped : report.skipped_probes) text += fmt::format("  skipped {}\n", skipped);
    text += path_lines(report, each_schedule);
    if (const PathResult* path = report.first_difference()) {
        text += fmt::format("\n{} | {} is {}", path->name, path->schedule, path_status_name(path->status));
        text += path->reason.empty() ? "\n" : fmt::format(": {}\n", path->reason);
        if (path->first) text += difference_as_text(*path->first);
    }
    if (report.accuracy) text += accuracy_text(*report.accuracy);
    if (!report.no_accuracy.empty()) {
        text += fmt::format("\nDistance to the float64 reference: skipped ({})\n", report.no_accuracy);
    }
    const BookCounts totals = report.totals();
    const std::string_view verdict = !report.compared_anything()               ? "NOTHING COMPARED"
                                     : report.all_equal()                      ? "EQUAL"
                                     : report.count(PathStatus::different) > 0 ? "DIFFERENT"
                                                                               : "FAILED";
    text += fmt::format(
        "\n{}: {} stages of {} layer{} compared in {} runs, {} values; differing values: {}; runs different {}, failed "
        "{}; paths skipped {}; {:.1f} s\n",
        verdict, thousands(totals.stages), report.layers, report.layers == 1 ? "" : "s",
        report.paths.size() - static_cast<size_t>(report.count(PathStatus::skipped)), thousands(totals.values),
        thousands(totals.differing_values), report.count(PathStatus::different), report.count(PathStatus::failed),
        report.count(PathStatus::skipped), report.seconds);
    return text;
}

Json verify_as_json(const VerifyReport& report) {
    Json paths = Json::array(), probes = Json::array();
    for (const auto& [name, positions] : report.probes) probes.push_back({{"name", name}, {"positions", positions}});
    for (const PathResult& path : report.paths) {
        Json one = {{"name", path.name},
                    {"schedule", path.schedule},
                    {"status", path_status_name(path.status)},
                    {"reason", path.reason},
                    {"positions", path.positions},
                    {"all_positions", path.all_positions},
                    {"stages", path.counts.stages},
                    {"values", path.counts.values},
                    {"differing_stages", path.counts.differing_stages},
                    {"differing_values", path.counts.differing_values},
                    {"seconds", path.seconds}};
        if (!path.note.empty()) one["note"] = path.note;
        if (path.first) one["first"] = difference_as_json(*path.first);
        paths.push_back(std::move(one));
    }
    const BookCounts totals = report.totals();
    Json json = {{"model", report.model},
                 {"architecture", report.architecture},
                 {"file_hash", report.file_hash},
                 {"file_bytes", report.file_bytes},
                 {"layers", report.layers},
                 {"arithmetic_version", report.arithmetic_version},
                 {"cache_type", report.cache_type},
                 {"compared_with", report.compared_with},
                 {"stages_hash", report.stages_hash},
                 {"probes", std::move(probes)},
                 {"skipped_probes", report.skipped_probes},
                 {"equal", report.compared_anything() && report.all_equal()},
                 {"injected", report.injected},
                 {"stages", totals.stages},
                 {"values", totals.values},
                 {"differing_values", totals.differing_values},
                 {"paths_equal", report.count(PathStatus::equal)},
                 {"paths_different", report.count(PathStatus::different)},
                 {"paths_failed", report.count(PathStatus::failed)},
                 {"paths_skipped", report.count(PathStatus::skipped)},
                 {"paths", std::move(paths)},
                 {"plan", report.plan ? *report.plan : Json()},
                 {"seconds", report.seconds}};
    if (report.accuracy) json["accuracy"] = accuracy_as_json(*report.accuracy);
    if (!report.no_accuracy.empty()) json["accuracy_skipped"] = report.no_accuracy;
    return json;
}

}  // namespace invar
