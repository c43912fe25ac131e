#include "proof/report/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/json.h"
#include "proof/report/html_accuracy.h"
#include "proof/report/html_parts.h"
#include "proof/report/html_paths.h"
#include "proof/report/html_style.h"
#include "proof/report/html_text.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

// ---- header

struct Verdict {
    std::string_view kind, sign, word;  // kind: a class of html_style.h
    std::string sentence;
};

// The number of runs; a run is one path with one schedule.
int64_t runs_of(const VerifyReport& report) {
    return static_cast<int64_t>(report.paths.size()) - report.count(PathStatus::skipped);
}

int64_t paths_that_ran(const VerifyReport& report) {
    std::set<std::string> names;
    for (const PathResult& path : report.paths) {
        if (path.status != PathStatus::skipped) names.insert(path.name);
    }
    return static_cast<int64_t>(names.size());
}

Verdict verdict_of(const VerifyReport& report) {
    const BookCounts totals = report.totals();
    const int64_t ran = runs_of(report);
    const int64_t different = report.count(PathStatus::different), failed = report.count(PathStatus::failed);
    if (different > 0) {
        return {"different", "≠", "DIFFERENT",
                fmt::format("{} of {} runs {}: {} of {} values. <a href=\"#first\">The first one</a>",
                            thousands(different), thousands(ran), different == 1 ? "differs" : "differ",
                            thousands(totals.differing_values), thousands(totals.values))};
    }
    if (failed > 0) {
        return {"different", "!", "FAILED",
                fmt::format("{} of {} runs did not compute what the others computed. <a href=\"#first\">The first "
                            "one</a>",
                            thousands(failed), thousands(ran))};
    }
    if (totals.values == 0) {
        return {"nothing", "–", "NOT COMPARED", "Nothing ran that could be compared."};
    }
    return {"equal", "✓", "EQUAL",
            fmt::format("{} in {} of {}: not one of {} values differs in a single bit.",
                        plural(totals.stages, "stage comparison", "stage comparisons"), plural(ran, "run", "runs"),
                        plural(paths_that_ran(report), "path", "paths"), thousands(totals.values))};
}

std::string meta(std::string_view name, const std::string& value) {
    return value.empty() ? "" : fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", name, value);
}

std::string header(const VerifyReport& report) {
    const Verdict verdict = verdict_of(report);
    return fmt::format(
        "<header class=\"verdict {}\"><div class=\"inner\"><p class=\"eyebrow\">invar verify</p><h1><bdi>{}</bdi></h1>"
        "<p class=\"word\"><span aria-hidden=\"true\">{}</span>{}</p><p class=\"sentence\">{}{}</p><dl "
        "class=\"meta\">{}{}{}{}{}{}</dl></div></header>\n",
        verdict.kind, escaped(report.model.empty() ? "a model without a name" : report.model, 120), verdict.sign,
        verdict.word, verdict.sentence,
        report.injected.empty() ? ""
                                : fmt::format("<br>A fault was injected on purpose: <code>--inject {}</code>",
                                              escaped(report.injected, 200)),
        meta("architecture",
             fmt::format("{}{}", report.architecture.empty() ? "" : escaped(report.architecture, 60) + ", ",
                         plural(report.layers, "layer", "layers"))),
        meta("file", fmt::format("{}{}", report.file.empty() ? "" : escaped(report.file, 120) + ", ",
                                 mebibytes(report.file_bytes))),
        meta("hash", report.file_hash.empty() ? "" : fmt::format("<code>{}</code>", escaped(report.file_hash, 120))),
        meta("arithmetic", fmt::format("version {}", report.arithmetic_version)),
        meta("KV cache", escaped(report.cache_type, 60)),
        meta("hash of all stages",
             report.stages_hash.empty() ? "" : fmt::format("<code>{}</code>", escaped(report.stages_hash, 60))));
}

std::string tiles(const VerifyReport& report) {
    const BookCounts totals = report.totals();
    const int64_t skipped = report.count(PathStatus::skipped), failed = report.count(PathStatus::failed);
    int64_t positions = 0;
    for (const auto& [name, count] : report.probes) positions += count;
    std::string html = "<dl class=\"tiles\">";
    html += tile("stage comparisons", thousands(totals.stages),
                 fmt::format("{} differ", thousands(totals.differing_stages)));
    html += tile("values compared", thousands(totals.values), "bit for bit");
    html += tile("differing values", thousands(totals.differing_values), "of all runs");
    html += tile("runs equal", thousands(report.count(PathStatus::equal)),
                 fmt::format("{} different, {} failed, {} skipped", thousands(report.count(PathStatus::different)),
                             thousands(failed), thousands(skipped)));
    html += tile("probe positions", thousands(positions),
                 plural(static_cast<int64_t>(report.probes.size()), "probe", "probes"));
    html += tile("time", fmt::format("{:.1f} s", report.seconds), "for everything here");
    return html + "</dl>";
}

// Lists what was not verified, so that nobody takes it for passed.
std::string not_verified(const VerifyReport& report) {
    struct Skipped {
        std::string reason;
        std::vector<std::string> names;
    };
    std::vector<Skipped> skipped;
    for (const PathResult& path : report.paths) {
        if (path.status != PathStatus::skipped) continue;
        auto same =
            std::find_if(skipped.begin(), skipped.end(), [&](const Skipped& one) { return one.reason == path.reason; });
        if (same == skipped.end()) same = skipped.insert(skipped.end(), {.reason = path.reason, .names = {}});
        same->names.push_back(escaped(path.name + (path.schedule.empty() ? "" : ", " + path.schedule), 120));
    }
    std::string items;
    for (const Skipped& one : skipped) {
        // The matrix names every path, so a long list here would only hide the other reasons.
        const std::string names = one.names.size() > 3 ? fmt::format("{} paths, named below", one.names.size())
                                                       : fmt::format("{}", fmt::join(one.names, "; "));
        items += fmt::format("<li><b>{}</b>: {}</li>", names, escaped(one.reason));
    }
    for (const std::string& probe : report.skipped_probes) items += fmt::format("<li>{}</li>", escaped(probe));
    const int64_t partial = std::count_if(report.paths.begin(), report.paths.end(), [](const PathResult& path) {
        return path.status == PathStatus::equal && path.positions < path.all_positions;
    });
    if (partial > 0) {
        items += fmt::format("<li>{} of the positions, to keep to the time (<code>--seconds</code>)</li>",
                             plural(partial, "equal run computed only a part", "equal runs computed only a part"));
    }
    if (!report.accuracy) {
        items += fmt::format("<li><b>distance to float64</b>: {}</li>",
                             escaped(report.no_accuracy.empty() ? "not measured" : report.no_accuracy));
    } else if (report.accuracy->covered_positions < report.accuracy->all_positions) {
        items += fmt::format("<li>distance to float64: {} of {} positions only</li>",
                             thousands(report.accuracy->covered_positions), thousands(report.accuracy->all_positions));
    }
    if (items.empty()) return "";
    return fmt::format("<aside class=\"gaps\"><h2>Skipped, which is not passed</h2><ul>{}</ul></aside>\n", items);
}

// ---- plan

int64_t number_of(const Json& json, const char* key) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_number()) return 0;
    return json[key].get<int64_t>();
}

std::string text_of(const Json& json, const char* key) {
    return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

struct PlanPart {
    std::string name, note, colour;  // colour: a class of html_style.h
    int64_t bytes = 0;
};

// Weights by format and form, largest first, followed by reserved memory.
std::vector<PlanPart> plan_parts(const Json& plan) {
    std::vector<PlanPart> parts;
    if (!plan.is_object()) return parts;
    if (plan.contains("totals") && plan["totals"].is_object()) {
        for (const auto& [name, group] : plan["totals"].items()) {
            parts.push_back({.name = name == "alias" ? "shares another's storage" : fmt::format("weights, {}", name),
                             .note = plural(number_of(group, "entries"), "tensor", "tensors"),
                             .bytes = number_of(group, "bytes")});
        }
    }
    std::stable_sort(parts.begin(), parts.end(),
                     [](const PlanPart& a, const PlanPart& b) { return a.bytes > b.bytes; });
    for (size_t i = 0; i < parts.size(); ++i) {
        parts[i].colour = parts[i].bytes > 0 ? fmt::format("p{}", std::min<size_t>(i, 3)) : "zero";
    }
    if (!plan.contains("reserves") || !plan["reserves"].is_array()) return parts;
    for (size_t i = 0; i < plan["reserves"].size(); ++i) {
        const Json& reserve = plan["reserves"][i];
        std::string name = text_of(reserve, "name");
        if (name == "kv_cache") name = "KV cache";
        if (name == "recurrent_state") name = "recurrent state";
        parts.push_back({.name = std::move(name),
                         .note = text_of(reserve, "reason"),
                         .colour = fmt::format("p{}", std::min<size_t>(4 + i, 7)),
                         .bytes = number_of(reserve, "bytes")});
    }
    return parts;
}

std::string plan_section(const VerifyReport& report) {
    if (!report.plan) return "";
    const Json& plan = *report.plan;
    const std::vector<PlanPart> parts = plan_parts(plan);
    int64_t total = 0;
    for (const PlanPart& part : parts) total += part.bytes;
    if (total <= 0) return "";
    std::string bar, rows;
    for (const PlanPart& part : parts) {
        const double share = static_cast<double>(part.bytes) / static_cast<double>(total);
        if (part.bytes > 0) {
            bar += fmt::format("<i class=\"{}\" style=\"flex-grow:{:.6f}\" title=\"{}: {}\"></i>", part.colour, share,
                               escaped(part.name, 60), mebibytes(part.bytes));
        }
        rows += fmt::format(
            "<tr><td data-label=\"part\"><i class=\"swatch {}\"></i>{}</td><td class=\"n\" data-label=\"size\">{}</td>"
            "<td class=\"n\" data-label=\"share\">{:.1f}&nbsp;%</td><td data-label=\"why\">{}</td></tr>",
            part.colour, escaped(part.name, 60), mebibytes(part.bytes), 100 * share, escaped(part.note));
    }
    rows += fmt::format(
        "<tr class=\"sum\"><td data-label=\"part\">total</td><td class=\"n\" data-label=\"size\">{}</td><td "
        "class=\"n\" "
        "data-label=\"share\">100&nbsp;%</td><td></td></tr>",
        mebibytes(total));
    std::string notes;
    if (plan.contains("notes") && plan["notes"].is_array()) {
        for (const Json& note : plan["notes"]) {
            if (note.is_string()) notes += fmt::format("<li>{}</li>", escaped(note.get<std::string>()));
        }
    }
    return section(
        "plan", "What it takes in memory",
        fmt::format("The plan of a run with a context of {} positions and prompt chunks of {}.",
                    thousands(number_of(plan, "context")), thousands(number_of(plan, "chunk"))),
        fmt::format(
            "<div class=\"card\"><div class=\"stack\" role=\"img\" aria-label=\"parts of {}\">{}</div>"
            "<div class=\"scroll\"><table class=\"list cards\"><thead><tr><th>part</th><th class=\"n\">size</th><th "
            "class=\"n\">share</th><th>why</th></tr></thead><tbody>{}</tbody></table></div>{}</div>",
            mebibytes(total), bar, rows, notes.empty() ? "" : fmt::format("<ul class=\"note\">{}</ul>", notes)));
}

// ---- closing

std::string closing(const VerifyReport& report) {
    const std::string file = escaped(shell_word(report.file.empty() ? "model.gguf" : report.file), 200);
    std::string commands = fmt::format("<pre>invar verify {}{} --html report.html</pre>", file,
                                       report.cache_type.empty() ? "" : " --cache " + escaped(report.cache_type, 60));
    return section(
               "promise", "What equal means", "",
               "<div class=\"columns\"><p><b>It promises</b> that every stage of every position above came out with "
               "the "
               "same bits on every path marked equal: on this machine neither instruction set, kernel, threads, "
               "chunks, "
               "batches nor a cached prefix can change an answer of this file.</p><p><b>It does not promise</b> that "
               "the answers are good, that this file is close to the model it was made from, or anything about what "
               "is listed as skipped; how far the arithmetic is from float64 is a measurement, not a "
               "proof.</p></div>") +
           section("repeat", "Run it again",
                   fmt::format(
                       "Any machine that has the file with the hash <code>{}</code> can repeat this; with arithmetic "
                       "version {} it must come to equal.",
                       escaped(report.file_hash, 120), report.arithmetic_version),
                   commands);
}

}  // namespace

std::string verify_as_html(const VerifyReport& report) {
    std::string html = fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" "
        "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\"><meta "
        "name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\"><title>{} · invar "
        "verify</title>\n<style>{}</style></head><body>\n",
        escaped(report.model, 120), kReportStyle);
    html += header(report) + "<main>" + tiles(report) + not_verified(report);
    html += difference_section(report) + paths_section(report);
    if (report.accuracy) {
        html += heat_map_section(report) + curves_section(report) + next_token_section(report) +
                routing_section(report) + worst_stages_section(report);
    }
    html += plan_section(report) + closing(report);
    return html + fmt::format("</main>\n<script>{}</script></body></html>\n", kReportScript);
}

}  // namespace invar
