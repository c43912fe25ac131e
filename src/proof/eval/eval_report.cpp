// Prints an evaluation as text and as JSON.
#include "base/json.h"
#include "proof/eval/eval_run.h"

namespace invar {
namespace {

const std::string kMethod =
    fmt::format("95 %: block bootstrap, {} draws of blocks of {} consecutive tokens", kBootstrapDraws, kBootstrapBlock);

Json measure_as_json(const Measure& measure) {
    Json json = {{"value", measure.value}};
    if (measure.interval) json["interval"] = {measure.interval->low, measure.interval->high};
    return json;
}

// Spells a measure as "12.345   [12.1, 12.6]".
std::string number(const Measure& measure, double factor, std::string_view unit) {
    std::string text = fmt::format("{:.6g}{}", measure.value * factor, unit);
    if (!measure.interval) return text;
    return fmt::format("{:<14} [{:.6g}, {:.6g}]", text, measure.interval->low * factor,
                       measure.interval->high * factor);
}

std::string line(std::string_view name, const std::string& value) { return fmt::format("  {:<34} {}\n", name, value); }

std::string against_as_text(const EvalReport& report) {
    const AgainstSummary& against = *report.summary.against;
    std::string text = fmt::format("against {}, reading the same tokens\n", report.other);
    text += line("its perplexity", number(against.other_perplexity, 1, ""));
    text += line("perplexity ratio", number(against.perplexity_ratio, 1, ""));
    text += line("KL divergence from it, mean, nats", number(against.kl_mean, 1, ""));
    text += line("  median, 99 %, largest", fmt::format("{:.6g}, {:.6g}, {:.6g} (token {})", against.kl_median,
                                                        against.kl_99, against.kl_most, against.kl_most_at));
    text += line("same first choice", number(against.same_best, 100, " %"));
    text += line("change of the token's probability", number(against.change_mean, 100, " %"));
    text += line("  RMS, largest", fmt::format("{:.6g} %, {:+.6g} % (token {})", 100 * against.change_rms,
                                               100 * against.change_most, against.change_most_at));
    return text;
}

}  // namespace

Json eval_as_json(const EvalReport& report) {
    const EvalSummary& summary = report.summary;
    Json json = {{"model", report.model},
                 {"text", report.text},
                 {"text_tokens", report.text_tokens},
                 {"context", report.settings.context},
                 {"stride", report.settings.stride},
                 {"windows", report.windows},
                 {"windows_done", report.windows_done},
                 {"tokens", summary.tokens},
                 {"intervals", kMethod},
                 {"perplexity", measure_as_json(summary.perplexity)},
                 {"first_choice", measure_as_json(summary.is_best)}};
    if (!summary.against) return json;
    const AgainstSummary& against = *summary.against;
    json["against"] = {{"model", report.other},
                       {"perplexity", measure_as_json(against.other_perplexity)},
                       {"perplexity_ratio", measure_as_json(against.perplexity_ratio)},
                       {"kl_mean", measure_as_json(against.kl_mean)},
                       {"kl_median", against.kl_median},
                       {"kl_99", against.kl_99},
                       {"kl_max", against.kl_most},
                       {"kl_max_token", against.kl_most_at},
                       {"same_first_choice", measure_as_json(against.same_best)},
                       {"change_mean", measure_as_json(against.change_mean)},
                       {"change_rms", against.change_rms},
                       {"change_max", against.change_most},
                       {"change_max_token", against.change_most_at}};
    return json;
}

std::string eval_as_text(const EvalReport& report) {
    const EvalSummary& summary = report.summary;
    std::string text = fmt::format("{} on {}: {} tokens, {} scored in {} of {} windows of {} with a stride of {}\n",
                                   report.model, report.text, report.text_tokens, summary.tokens, report.windows_done,
                                   report.windows, report.settings.context, report.settings.stride);
    text += line("perplexity", number(summary.perplexity, 1, ""));
    text += line("token was the first choice", number(summary.is_best, 100, " %"));
    if (summary.against) text += against_as_text(report);
    text += summary.perplexity.interval
                ? fmt::format("[intervals] {}\n", kMethod)
                : fmt::format("no intervals: fewer than {} blocks of {} tokens\n", kLeastBlocks, kBootstrapBlock);
    return text;
}

}  // namespace invar
