#include "proof/record/comparison_report.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace invar {
namespace {

constexpr size_t kRowsShown = 24;  // how many differing stages are shown; --all and --json show the rest

std::string plural(int64_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// Spells where an element is and what the two values are.
std::string element_text(const ElementDifference& difference, const ComparisonWords& words) {
    return fmt::format("  {:<3} {}\n  {:<3} {}\n", words.a, number_text(difference.a, difference.a_bits), words.b,
                       number_text(difference.b, difference.b_bits));
}

std::string kernels_text(const StageComparison& stage) {
    if (stage.kernel_a.empty() && stage.kernel_b.empty()) return stage.verb;
    if (stage.kernel_a == stage.kernel_b) return fmt::format("{}, {}", stage.verb, stage.kernel_a);
    return fmt::format("{}, {} against {}", stage.verb, stage.kernel_a.empty() ? "-" : stage.kernel_a,
                       stage.kernel_b.empty() ? "-" : stage.kernel_b);
}

std::string integers_text(const StageFigures& figures) {
    std::string text = fmt::format("  other numbers at {}, the same in another order at {}",
                                   plural(figures.differing_sets, "position"), figures.differing_orders);
    if (figures.margin) text += fmt::format("; the margin of the first was {:.3g}", *figures.margin);
    return text + "\n";
}

std::string first_text(const RecordingComparison& comparison, const ComparisonWords& words) {
    const StageComparison* stage = comparison.first_failure();
    if (stage == nullptr) return "";
    const StageFigures& figures = stage->figures;
    const ElementDifference* element = stage->outcome == StageOutcome::non_finite
                                           ? (figures.first_non_finite ? &*figures.first_non_finite : nullptr)
                                           : (figures.first ? &*figures.first : nullptr);
    std::string text =
        fmt::format("first {} that differs: {} ({})", words.unit, to_string(stage->key), kernels_text(*stage));
    if (stage->outcome == StageOutcome::mismatch) return text + fmt::format(": {}\n", stage->note);
    if (element == nullptr) {
        return text + fmt::format(": {} non-finite values, by their statistics\n", figures.non_finite);
    }
    text += fmt::format(", position {}", element->position);
    if (figures.by_hash) {
        return text + fmt::format("\n  {:<3} {}, RMS {:.9g}\n  {:<3} {}, RMS {:.9g}\n", words.a, element->a_bits,
                                  element->a, words.b, element->b_bits, element->b);
    }
    text += fmt::format(", element {}{}\n", element->element,
                        stage->outcome == StageOutcome::non_finite ? ": not finite" : "");
    text += element_text(*element, words);
    if (figures.differing_sets + figures.differing_orders > 0) return text + integers_text(figures);
    if (figures.worst) {
        text += fmt::format("  {} of {} values differ; relative RMS {:.3g}; worst {:.3g} at position {}, element {}\n",
                            figures.differing, figures.values, figures.relative_rms, figures.greatest,
                            figures.worst->position, figures.worst->element);
    }
    return text;
}

std::string row_text(const StageComparison& stage, size_t name_width) {
    const StageFigures& figures = stage.figures;
    std::string text = fmt::format("  {:<{}}  {:<15} {:<10}", to_string(stage.key), name_width, stage.verb,
                                   outcome_name(stage.outcome));
    if (figures.positions == 0) return text + fmt::format(" {}\n", stage.note);
    text += fmt::format(" {:>9} {:>9}", figures.values, figures.differing);
    const bool integers = figures.differing_sets + figures.differing_orders > 0;
    if (figures.by_hash) {
        text += fmt::format("  (positions, by hash)");
    } else if (integers) {
        text += fmt::format("  {} sets, {} orders", figures.differing_sets, figures.differing_orders);
    } else {
        text += fmt::format("  {:>9.2e}  {:>9.2e}  {:.7f}", figures.relative_rms, figures.greatest, figures.cosine);
    }
    if (figures.non_finite > 0) text += fmt::format("  {} not finite", figures.non_finite);
    if (!stage.note.empty()) text += fmt::format("  ({})", stage.note);
    return text + "\n";
}

bool is_shown(const StageComparison& stage, ReportedStages which) {
    return which == ReportedStages::all || is_failure(stage.outcome) || stage.outcome == StageOutcome::tolerated;
}

std::string table_text(const RecordingComparison& comparison, ReportedStages which) {
    size_t name_width = 5, shown = 0, hidden = 0;
    for (const StageComparison& stage : comparison.stages) {
        if (is_shown(stage, which)) name_width = std::max(name_width, to_string(stage.key).size());
    }
    std::string rows;
    for (const StageComparison& stage : comparison.stages) {
        if (!is_shown(stage, which)) continue;
        if (which != ReportedStages::all && shown == kRowsShown) {
            ++hidden;
            continue;
        }
        rows += row_text(stage, name_width);
        ++shown;
    }
    if (rows.empty()) return "";
    std::string text = fmt::format("\n  {:<{}}  {:<15} {:<10} {:>9} {:>9}  {:>9}  {:>9}  {}\n", "stage", name_width,
                                   "verb", "", "values", "differing", "rel. RMS", "worst", "cosine");
    text += rows;
    if (hidden > 0) text += fmt::format("  ... and {} more (--all)\n", hidden);
    return text;
}

std::string skipped_text(const RecordingComparison& comparison) {
    std::string text;
    std::string_view last;
    size_t listed = 0;
    for (const StageComparison& stage : comparison.stages) {
        if (stage.outcome != StageOutcome::skipped || stage.waived) continue;
        if (++listed > kRowsShown) continue;
        text += stage.note == last ? ", " : fmt::format("{}  {}: ", text.empty() ? "" : "\n", stage.note);
        text += to_string(stage.key);
        last = stage.note;
    }
    if (listed > kRowsShown) text += fmt::format(", and {} more", listed - kRowsShown);
    if (comparison.skipped_positions > 0) {
        text += fmt::format("{}  {} of compared stages are on one side only", text.empty() ? "" : "\n",
                            plural(comparison.skipped_positions, "position"));
    }
    return text.empty() ? text : "not compared, which is no pass:\n" + text + "\n";
}

Json element_json(const std::optional<ElementDifference>& element) {
    if (!element) return nullptr;
    const auto number = [](double value) {
        return std::isfinite(value) ? Json(value) : Json(fmt::format("{}", value));
    };
    return {{"position", element->position}, {"element", element->element}, {"a", number(element->a)},
            {"b", number(element->b)},       {"a_bits", element->a_bits},   {"b_bits", element->b_bits}};
}

Json stage_json(const StageComparison& stage) {
    const StageFigures& figures = stage.figures;
    Json value = {{"stage", to_string(stage.key)},
                  {"verb", stage.verb},
                  {"kernels", {stage.kernel_a, stage.kernel_b}},
                  {"outcome", outcome_name(stage.outcome)},
                  {"note", stage.note},
                  {"positions", figures.positions},
                  {"skipped_positions", stage.skipped_positions},
                  {"values", figures.values},
                  {"differing", figures.differing},
                  {"non_finite", figures.non_finite},
                  {"by_hash", figures.by_hash},
                  {"first", element_json(figures.first)},
                  {"first_non_finite", element_json(figures.first_non_finite)},
                  {"worst", element_json(figures.worst)}};
    if (figures.differing_sets + figures.differing_orders > 0) {
        value["differing_sets"] = figures.differing_sets;
        value["differing_orders"] = figures.differing_orders;
        value["margin"] = figures.margin ? Json(*figures.margin) : Json(nullptr);
    } else if (!figures.by_hash && figures.positions > 0) {
        // JSON has no infinity. It occurs where a stage is all zeros in A but not in B.
        value["relative_rms"] = std::isfinite(figures.relative_rms) ? Json(figures.relative_rms) : Json("inf");
        value["greatest_difference"] = figures.greatest;
        value["cosine"] = figures.cosine;
    }
    return value;
}

}  // namespace

std::string number_text(double value, const std::string& bits) {
    if (!bits.starts_with("0x")) return bits;
    constexpr size_t kBinary32Digits = 10;  // "0x" and eight digits
    return fmt::format("{:<24} {}", fmt::format("{:.{}g}", value, bits.size() > kBinary32Digits ? 17 : 9), bits);
}

std::string comparison_as_text(const RecordingComparison& comparison, ReportedStages which,
                               const ComparisonWords& words) {
    std::string text;
    if (comparison.tokens_differ_at) {
        text += fmt::format("the tokens differ from position {} on: only what is before it is compared\n",
                            *comparison.tokens_differ_at);
    }
    text += first_text(comparison, words);
    text += table_text(comparison, which);
    if (!text.empty()) text += "\n";
    text += skipped_text(comparison);
    const int64_t compared = static_cast<int64_t>(comparison.stages.size()) - comparison.count(StageOutcome::skipped);
    text += fmt::format(
        "{} compared, {} values, {} differing: {} equal, {} tolerated, {} different, {} not finite, {} "
        "mismatched; {} skipped\n",
        plural(compared, "stage"), comparison.values, comparison.differing, comparison.count(StageOutcome::equal),
        comparison.count(StageOutcome::tolerated), comparison.count(StageOutcome::different),
        comparison.count(StageOutcome::non_finite), comparison.count(StageOutcome::mismatch),
        comparison.count(StageOutcome::skipped));
    return text;
}

Json comparison_as_json(const RecordingComparison& comparison, ReportedStages which) {
    Json counts = Json::object();
    for (const StageOutcome outcome : {StageOutcome::equal, StageOutcome::tolerated, StageOutcome::different,
                                       StageOutcome::non_finite, StageOutcome::mismatch, StageOutcome::skipped})
        counts[std::string(outcome_name(outcome))] = comparison.count(outcome);
    Json stages = Json::array();
    for (const StageComparison& stage : comparison.stages) {
        if (is_shown(stage, which) || stage.outcome == StageOutcome::skipped) stages.push_back(stage_json(stage));
    }
    const StageComparison* first = comparison.first_failure();
    return {{"equal", comparison.failures() == 0 && !comparison.tokens_differ_at},
            {"complete", comparison.complete()},
            {"first", first == nullptr ? Json(nullptr) : Json(to_string(first->key))},
            {"counts", counts},
            {"values", comparison.values},
            {"differing", comparison.differing},
            {"skipped_positions", comparison.skipped_positions},
            {"tokens_differ_at", comparison.tokens_differ_at ? Json(*comparison.tokens_differ_at) : Json(nullptr)},
            {"stages", stages}};
}

}  // namespace invar
