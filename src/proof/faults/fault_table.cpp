// Prints the table of a fault suite as text and as JSON.
#include <cmath>
#include <map>

#include "base/json.h"
#include "proof/faults/fault_suite.h"

namespace invar {
namespace {

std::string line(const FaultTableRow& row) {
    return fmt::format("{:<22} {:>7} {:>7} {:>7} {:>8} {:>14} {:>14} {:>9}\n", row.fault, row.places, row.struck,
                       row.caught, row.located, row.pass_logits_rule, row.pass_stage_rule, row.left_out);
}

std::string why(const FaultOutcome& outcome) {
    if (!outcome.caught) return "nothing differs";
    const FaultReport& report = outcome.report;
    std::string text = fmt::format("it struck {} at position {}, element {}, but what differs first is {}",
                                   to_string(report.stage), report.position, report.element, outcome.first);
    if (!outcome.refusal.empty()) text += fmt::format("; the engine said: {}", outcome.refusal);
    return text;
}

Json as_json(const FaultTableRow& row) {
    return {{"fault", row.fault},
            {"meaning", row.meaning},
            {"places", row.places},
            {"struck", row.struck},
            {"caught", row.caught},
            {"located", row.located},
            {"cosine_of_logits_passes", row.pass_logits_rule},
            {"cosine_of_every_stage_passes", row.pass_stage_rule},
            {"left_out", row.left_out},
            {"skipped", row.skipped}};
}

std::map<std::string, int64_t> counts_of_reasons(const FaultTable& table) {
    std::map<std::string, int64_t> counts;
    for (const auto& [place, reason] : table.left_out) ++counts[reason];
    return counts;
}

}  // namespace

std::string fault_table_text(const FaultTable& table) {
    std::string text = fmt::format(
        "{}, {}: one fault at a time, {} stages ({} values) of each run compared bit for bit\n\n"
        "{:<22} {:>7} {:>7} {:>7} {:>8} {:>14} {:>14} {:>9}\n",
        table.model, table.runner, table.stages, table.values, "fault", "places", "struck", "caught", "located",
        "cos logits ok", "cos stages ok", "left out");
    for (const FaultTableRow& row : table.rows) {
        if (row.places + row.left_out + row.skipped > 0) text += line(row);
    }
    const FaultTableRow total = table.total();
    text += line(total);
    text += fmt::format(
        "\nstruck: the fault changed a bit. caught: a stage differs or the engine refused. located: the first "
        "difference "
        "in forward order is where the fault struck.\ncos logits ok: a rule 'cosine of the logits >= {0}' passes. "
        "cos stages ok: a rule 'cosine of every stage >= {0}' passes.\nwithout a fault {1} values differ; {2:.1f} s\n",
        kCosineThatPasses, table.clean_differing, table.seconds);
    std::string nowhere;
    for (const FaultTableRow& row : table.rows) {
        if (row.places + row.left_out + row.skipped == 0) nowhere += (nowhere.empty() ? "" : ", ") + row.fault;
    }
    if (!nowhere.empty()) text += fmt::format("fits nowhere in this model: {}\n", nowhere);
    if (total.skipped > 0) text += fmt::format("skipped, more places than asked for: {}\n", total.skipped);
    for (const auto& [reason, count] : counts_of_reasons(table)) {
        text += fmt::format("left out {:>5}: {}\n", count, reason);
    }
    for (const std::string& place : table.no_effect) text += fmt::format("no effect on this run: {}\n", place);
    for (const FaultOutcome& missed : table.missed) text += fmt::format("MISSED {}: {}\n", missed.fault, why(missed));
    return text;
}

Json fault_table_json(const FaultTable& table) {
    Json rows = Json::array(), missed = Json::array(), left_out = Json::array();
    for (const FaultTableRow& row : table.rows) rows.push_back(as_json(row));
    for (const FaultOutcome& outcome : table.missed) {
        missed.push_back({{"fault", outcome.fault}, {"caught", outcome.caught}, {"why", why(outcome)}});
    }
    for (const auto& [place, reason] : table.left_out) left_out.push_back({{"place", place}, {"reason", reason}});
    return {{"model", table.model},
            {"runner", table.runner},
            {"stages", table.stages},
            {"values", table.values},
            {"differing_without_fault", table.clean_differing},
            {"cosine_that_passes", kCosineThatPasses},
            {"faults", std::move(rows)},
            {"total", as_json(table.total())},
            {"missed", std::move(missed)},
            {"no_effect", table.no_effect},
            {"left_out", std::move(left_out)},
            {"seconds", table.seconds}};
}

}  // namespace invar
