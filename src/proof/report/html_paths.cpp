#include "proof/report/html_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "proof/report/html_parts.h"
#include "proof/report/html_text.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

// ---- matrix

// Columns in the order of schedules() in prompts.h, followed by any others.
std::vector<std::string> columns_of(const VerifyReport& report) {
    std::vector<std::string> columns;
    const auto used = [&](const std::string& name) {
        return std::any_of(report.paths.begin(), report.paths.end(),
                           [&](const PathResult& path) { return path.schedule == name; });
    };
    for (const Schedule& schedule : schedules()) {
        if (used(schedule.name) || report.compared_with.ends_with(", " + schedule.name))
            columns.push_back(schedule.name);
    }
    for (const PathResult& path : report.paths) {
        if (!path.schedule.empty() && std::find(columns.begin(), columns.end(), path.schedule) == columns.end()) {
            columns.push_back(path.schedule);
        }
    }
    return columns;
}

struct PathRow {
    std::string name;
    std::map<std::string, const PathResult*> of_schedule;  // "": a path that was skipped or failed as a whole
};

std::vector<PathRow> path_rows(const VerifyReport& report) {
    std::vector<PathRow> rows;
    for (const PathResult& path : report.paths) {
        auto row = std::find_if(rows.begin(), rows.end(), [&](const PathRow& one) { return one.name == path.name; });
        if (row == rows.end()) row = rows.insert(rows.end(), {.name = path.name, .of_schedule = {}});
        row->of_schedule[path.schedule] = &path;
    }
    return rows;
}

// Emphasises the first word of "avx2, 2 threads, repacked".
std::string path_heading(std::string_view name) {
    const size_t comma = name.find(", ");
    if (comma == std::string_view::npos) return fmt::format("<b>{}</b>", escaped(name, 120));
    return fmt::format("<b>{}</b> <span>{}</span>", escaped(name.substr(0, comma), 60),
                       escaped(name.substr(comma + 2), 120));
}

std::string cell(std::string_view kind, std::string_view sign, std::string_view word, std::string_view tip) {
    return fmt::format(
        "<td class=\"{}\" title=\"{}\"><span aria-hidden=\"true\">{}</span><span class=\"vh\">{}</span></td>", kind,
        tip, sign, word);
}

std::string path_cell(const PathResult& path) {
    std::string tip =
        fmt::format("{} | {}: {}", escaped(path.name, 120), escaped(path.schedule, 60), path_status_name(path.status));
    if (!path.reason.empty()) tip += fmt::format(" ({})", escaped(path.reason));
    tip += fmt::format("; {} of {} positions, {} stages, {} values, {} differing", path.positions, path.all_positions,
                       thousands(path.counts.stages), thousands(path.counts.values),
                       thousands(path.counts.differing_values));
    switch (path.status) {
        case PathStatus::equal:
            return path.positions < path.all_positions ? cell("equal part", "✓", "equal, part of the positions", tip)
                                                       : cell("equal", "✓", "equal", tip);
        case PathStatus::different:
            return cell("different", "≠", "different", tip);
        case PathStatus::skipped:
            return cell("skipped", "–", "skipped", tip);
        case PathStatus::failed:
            break;
    }
    return cell("failed", "!", "failed", tip);
}

std::string matrix_row(const VerifyReport& report, const PathRow& row, const std::vector<std::string>& columns) {
    std::string html = fmt::format("<tr><th scope=\"row\">{}</th>", path_heading(row.name));
    if (const auto whole = row.of_schedule.find(""); whole != row.of_schedule.end()) {
        const PathResult& path = *whole->second;
        return html + fmt::format("<td class=\"{} whole\" colspan=\"{}\">{}: {}</td></tr>",
                                  path_status_name(path.status), std::max<size_t>(1, columns.size()),
                                  path_status_name(path.status),
                                  escaped(!path.reason.empty() ? path.reason
                                          : path.note.empty()  ? "no reason given"
                                                               : path.note));
    }
    for (const std::string& column : columns) {
        if (const auto found = row.of_schedule.find(column); found != row.of_schedule.end()) {
            html += path_cell(*found->second);
        } else if (report.compared_with == fmt::format("{}, {}", row.name, column)) {
            html += cell("base", "◆", "the path compared with", "every other path is compared with this one");
        } else {
            html += cell("idle", "·", "not run", "not among the schedules of this path");
        }
    }
    return html + "</tr>";
}

std::string matrix(const VerifyReport& report) {
    const std::vector<std::string> columns = columns_of(report);
    std::string html =
        "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th scope=\"col\" class=\"corner\">path</th>";
    for (const std::string& column : columns) {
        html += fmt::format("<th scope=\"col\"><span>{}</span></th>", escaped(column, 60));
    }
    html += "</tr></thead><tbody>";
    for (const PathRow& row : path_rows(report)) html += matrix_row(report, row, columns);
    return html +
           "</tbody></table></div>"
           "<div class=\"keys\"><span><i class=\"base\">◆</i>compared with</span><span><i "
           "class=\"equal\">✓</i>equal</span><span><i class=\"equal part\">✓</i>equal, part of the "
           "positions</span><span><i class=\"different\">≠</i>different</span><span><i "
           "class=\"failed\">!</i>failed</span><span><i class=\"skipped\">–</i>skipped</span><span><i "
           "class=\"idle\">·</i>not run</span></div>";
}

std::string all_numbers(const VerifyReport& report) {
    std::string html =
        "<details><summary>All numbers</summary><div class=\"scroll\"><table class=\"list tight\"><thead><tr>"
        "<th>path</th><th>schedule</th><th>status</th><th class=\"n\">positions</th><th class=\"n\">stages</th>"
        "<th class=\"n\">values</th><th class=\"n\">differing stages</th><th class=\"n\">differing values</th>"
        "<th class=\"n\">seconds</th></tr></thead><tbody>";
    for (const PathResult& path : report.paths) {
        html += fmt::format(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{} of {}</td><td class=\"n\">{}</td><td "
            "class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.2f}</td></tr>",
            escaped(path.name, 120), escaped(path.schedule, 60), path_status_name(path.status), path.positions,
            path.all_positions, thousands(path.counts.stages), thousands(path.counts.values),
            thousands(path.counts.differing_stages), thousands(path.counts.differing_values), path.seconds);
    }
    return html + "</tbody></table></div></details>";
}

// ---- the first difference

// Shows sign, exponent and fraction of a binary32, and marks the bits that differ from the other's.
std::string bit_row(uint32_t bits, uint32_t other) {
    std::string html = "<span class=\"bits\">";
    for (int i = 31; i >= 0; --i) {
        const bool one = ((bits >> i) & 1) != 0, differs = (((bits ^ other) >> i) & 1) != 0;
        html += differs ? fmt::format("<b>{}</b>", one ? 1 : 0) : std::string(one ? "1" : "0");
        if (i == 31 || i == 23) html += " ";
    }
    return html + "</span>";
}

// The distance between two binary32 numbers, counted in representable numbers.
int64_t steps_apart(uint32_t a, uint32_t b) {
    const auto order = [](uint32_t bits) {
        const auto magnitude = static_cast<int64_t>(bits & 0x7fffffffu);
        return (bits >> 31) != 0 ? -magnitude : magnitude;
    };
    return std::abs(order(a) - order(b));
}

std::string side(std::string_view title, double value, uint32_t bits, uint32_t other, const StageDifference& first,
                 std::string_view kernel, bool supported) {
    const std::string number = first.integers         ? fmt::format("{}", static_cast<int64_t>(value))
                               : std::isfinite(value) ? fmt::format("{:.9g}", value)
                                                      : scientific(value);
    return fmt::format(
        "<div class=\"side{}\"><h3>{}{}</h3><p class=\"value\">{}</p>{}<p class=\"note\">kernel "
        "<code>{}</code></p></div>",
        supported ? " supported" : "", title, supported ? " <mark>float64 supports this</mark>" : "", number,
        first.integers ? "" : fmt::format("<p class=\"hex\">0x{:08x}</p>{}", bits, bit_row(bits, other)),
        escaped(kernel.empty() ? "unknown" : kernel, 120));
}

std::string judgement(const StageDifference& first) {
    if (!first.float64) return "<p>float64 has no opinion on this stage.</p>";
    return fmt::format("<p>The same verb on the same input in float64 gives <b>{:.15g}</b>: it supports <b>{}</b>.</p>",
                       *first.float64, supported_side(first));
}

std::string found_at(const StageDifference& first) {
    const auto fact = [](std::string_view name, const std::string& value) {
        return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", name, value);
    };
    return fmt::format("<dl class=\"facts\">{}{}{}{}{}{}{}</dl>",
                       fact("stage", fmt::format("<code>{}</code>", escaped(first.key.name, 60))),
                       fact("layer", first.key.layer < 0 ? "outside layers" : std::to_string(first.key.layer)),
                       fact("verb", fmt::format("<code>{}</code>", escaped(first.verb, 60))),
                       fact("probe", escaped(first.probe, 60)), fact("position", thousands(first.position)),
                       fact("element", thousands(first.element)),
                       fact("differing in that row", plural(first.differing, "value", "values")));
}

// The tokens of the probe up to the difference, as a command-line option.
std::string tokens_to(const VerifyReport& report, const StageDifference& first) {
    for (size_t i = 0; i < std::min(report.probes.size(), report.probe_tokens.size()); ++i) {
        if (report.probes[i].first != first.probe) continue;
        const std::vector<int32_t>& tokens = report.probe_tokens[i];
        const size_t count = std::min(tokens.size(), static_cast<size_t>(first.position + 1));
        if (count > 0)
            return fmt::format(" --tokens {}",
                               fmt::join(tokens.begin(), tokens.begin() + static_cast<int64_t>(count), ","));
    }
    return " \"a prompt\"";
}

// Commands that record the path compared with, and then replay the recording on this path.
std::string commands_to_go_on(const VerifyReport& report, const PathResult& path) {
    const std::string file = escaped(shell_word(report.file.empty() ? "model.gguf" : report.file), 200);
    const auto base = std::find_if(report.paths.begin(), report.paths.end(), [&](const PathResult& one) {
        return report.compared_with.starts_with(one.name + ", ") && !one.flags.empty();
    });
    std::string flags = path.flags;
    for (const Schedule& schedule : schedules()) {
        if (schedule.name == path.schedule) flags += fmt::format(" --chunk {}", schedule.chunk);
    }
    if (!report.injected.empty()) flags += " --inject " + shell_word(report.injected);
    return fmt::format(
        "<h3>Go on with</h3><p class=\"note\">Record what was expected, then give each verb of this path the inputs "
        "recorded there: what still differs is made by that verb, and not received by it.</p>"
        "<pre>invar trace record {0} --out expected.safetensors {2}{1}\ninvar trace replay {0} expected.safetensors "
        "{3}</pre>",
        file, tokens_to(report, *path.first), base == report.paths.end() ? "" : escaped(base->flags, 200),
        escaped(flags, 200));
}

std::string other_differences(const VerifyReport& report, const PathResult* shown) {
    constexpr int64_t kMostRows = 20;
    std::string rows;
    int64_t count = 0;
    for (const PathResult& path : report.paths) {
        if (&path == shown || (path.status != PathStatus::different && path.status != PathStatus::failed)) continue;
        if (++count > kMostRows) continue;
        const std::string where =
            path.first
                ? fmt::format("<code>{}</code>, {}, position {}, element {}", escaped(to_string(path.first->key)),
                              escaped(path.first->probe, 60), path.first->position, path.first->element)
                : escaped(path.reason);
        rows += fmt::format(
            "<tr><td data-label=\"path\">{}</td><td data-label=\"schedule\">{}</td><td "
            "data-label=\"status\">{}</td><td "
            "data-label=\"first at\"><span>{}</span></td><td class=\"n\" data-label=\"differing values\">{}</td></tr>",
            escaped(path.name, 120), escaped(path.schedule, 60), path_status_name(path.status), where,
            thousands(path.counts.differing_values));
    }
    if (count == 0) return "";
    return fmt::format(
        "<h3>{}{}</h3><div class=\"scroll\"><table class=\"list "
        "cards\"><thead><tr><th>path</th><th>schedule</th><th>status</th><th>first "
        "at</th><th class=\"n\">differing values</th></tr></thead><tbody>{}</tbody></table></div>",
        plural(count, "more run is not equal", "more runs are not equal"),
        count > kMostRows ? fmt::format(", the first {} of them", kMostRows) : "", rows);
}

}  // namespace

std::string difference_section(const VerifyReport& report) {
    const PathResult* path = report.first_difference();
    if (path == nullptr) return "";
    std::string body = fmt::format("<p class=\"where\">{}{} is {}{}</p>", path_heading(path->name),
                                   path->schedule.empty() ? "" : fmt::format(", {},", escaped(path->schedule, 60)),
                                   path_status_name(path->status),
                                   path->reason.empty() ? "." : fmt::format(": {}", escaped(path->reason)));
    if (path->first) {
        const StageDifference& first = *path->first;
        const std::string_view supported = supported_side(first);
        body += found_at(first);
        body += fmt::format("<div class=\"sides\">{}{}</div>{}{}",
                            side("expected", first.expected, first.expected_bits, first.bits, first,
                                 first.expected_kernel, supported == "expected"),
                            side("this path", first.value, first.bits, first.expected_bits, first, first.kernel,
                                 supported == "this path"),
                            first.integers || !std::isfinite(first.expected) || !std::isfinite(first.value)
                                ? ""
                                : fmt::format("<p>{} of binary32 apart.</p>",
                                              plural(steps_apart(first.expected_bits, first.bits), "step", "steps")),
                            judgement(first));
        body += commands_to_go_on(report, *path);
    }
    return fmt::format("<section id=\"first\" class=\"alarm\"><h2>{}</h2>{}{}</section>\n",
                       path->first ? "The first difference" : "The first failure", body,
                       other_differences(report, path));
}

std::string paths_section(const VerifyReport& report) {
    std::string probes;
    for (const auto& [name, positions] : report.probes) {
        probes += fmt::format("{}{} ({})", probes.empty() ? "" : ", ", escaped(name, 60), positions);
    }
    return section(
        "paths", "Paths",
        fmt::format(
            "Each row is a way this machine can compute the model, each column a way of feeding it; a cell is a run. "
            "Every stage of every position is compared, bit for bit, with <b>{}</b> ({}). Probes and "
            "their positions: {}.",
            escaped(report.compared_with.empty() ? "nothing" : report.compared_with, 200),
            plural(report.reference_stages, "stage of a position", "stages of positions"),
            probes.empty() ? "none" : probes),
        fmt::format("<div class=\"card\">{}</div>{}", matrix(report), all_numbers(report)));
}

}  // namespace invar
