// The sections about stages: heat map, curves over layers, worst elements (html_accuracy.h).
#include "proof/report/html_accuracy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "proof/report/html_charts.h"
#include "proof/report/html_parts.h"
#include "proof/report/html_text.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

// ---- heat map

constexpr int kHeatSteps = 12;  // colours h0 .. h11 of html_style.h
constexpr int64_t kLayersWithNumbers = 8;

// Colours on a logarithmic scale from the 5th percentile to the largest value. Smaller values all have the first
// colour, so that a few nearly exact stages do not leave one colour for all others.
class HeatScale {
  public:
    explicit HeatScale(std::vector<double> values) {
        std::erase_if(values, [](double value) { return !std::isfinite(value) || value <= 0; });
        if (values.empty()) return;
        std::sort(values.begin(), values.end());
        high_ = std::log10(values.back());
        low_ = std::min(std::log10(values[values.size() / 20]), high_ - 1);
        cut_ = std::log10(values.front()) < low_;
    }

    double place(double value) const { return std::clamp((std::log10(value) - low_) / (high_ - low_), 0.0, 1.0); }
    std::string colour(double value) const {
        if (!std::isfinite(value)) return "bad";
        if (value <= 0) return "zero";
        return fmt::format("h{}", std::min(kHeatSteps - 1, static_cast<int>(place(value) * kHeatSteps)));
    }
    // The numbers under the colour ramp: its ends and the decades between.
    std::string marks(std::string_view attribute) const {
        const double least = std::pow(10, low_), most = std::pow(10, high_);
        std::string html =
            fmt::format("<div class=\"marks\"{}>{}", attribute, mark(0, (cut_ ? "≤&nbsp;" : "") + scientific(least)));
        const int every = static_cast<int>(high_ - low_) / 4 + 1;
        for (int decade = static_cast<int>(std::ceil(low_)); decade < high_; decade += every) {
            const double at = place(std::pow(10, decade));
            if (at > 0.2 && at < 0.8) html += mark(at, scientific(std::pow(10, decade)));
        }
        return html + mark(1, scientific(most)) + "</div>";
    }

  private:
    static std::string mark(double place, std::string_view label) {
        return fmt::format("<span style=\"left:{:.1f}%\">{}</span>", 100 * place, label);
    }

    double low_ = -1, high_ = 0;  // exponents of ten
    bool cut_ = false;            // values below low_ exist
};

// The three views of the map. Distance and the share due to quantisation use one scale; rounding is often much smaller
// and has its own.
struct HeatScales {
    HeatScale whole, rounding;

    static HeatScales of(const AccuracyReport& accuracy) {
        std::vector<double> whole, rounding;
        for (const StageAccuracy& stage : accuracy.stages) {
            if (stage.integers > 0) continue;
            whole.insert(whole.end(), {stage.relative_rms, stage.quantization});
            rounding.push_back(stage.rounding);
        }
        return {.whole = HeatScale(std::move(whole)), .rounding = HeatScale(std::move(rounding))};
    }
};

std::string heat_cell(const HeatScales& scales, const StageAccuracy& stage, int64_t columns, bool with_number) {
    const std::string colour = scales.whole.colour(stage.relative_rms);
    const std::string numbers[] = {scientific(stage.relative_rms), scientific(stage.quantization),
                                   scientific(stage.rounding)};
    std::string html = fmt::format("<td class=\"{}\"", colour);
    if (columns > 1) html += fmt::format(" colspan=\"{}\"", columns);
    if (with_number) html += fmt::format(" data-numbers=\"{}|{}|{}\"", numbers[0], numbers[1], numbers[2]);
    return html + fmt::format(
                      " data-steps=\"{} {} {}\" title=\"{}: distance {}, quantisation {}, rounding {}; worst element "
                      "{} off by {} × RMS\">{}</td>",
                      colour, scales.whole.colour(stage.quantization), scales.rounding.colour(stage.rounding),
                      escaped(to_string(stage.key)), numbers[0], numbers[1], numbers[2], stage.worst_element,
                      scientific(stage.worst), with_number ? numbers[0] : "");
}

std::string heat_head(int64_t layers) {
    const int64_t every = layers <= 16 ? 1 : layers <= 32 ? 2 : layers <= 64 ? 4 : 8;
    std::string head = "<thead><tr><th class=\"corner\" scope=\"col\">stage \\ layer</th>";
    for (int64_t layer = 0; layer < layers; layer += every) {
        head += fmt::format("<th scope=\"col\" colspan=\"{}\">{}</th>", std::min(every, layers - layer), layer);
    }
    return head + "</tr></thead>";
}

std::string heat_row(const StageOfLayers& row, const HeatScales& scales, int64_t layers) {
    std::string html = "<tr><th scope=\"row\">";
    for (const char c : escaped(row.name, 60)) html += c == '_' ? "_<wbr>" : std::string(1, c);
    html += "</th>";
    if (const auto alone = row.of_layer.find(-1); alone != row.of_layer.end()) {
        return html + heat_cell(scales, *alone->second, layers, true) + "</tr>";
    }
    for (int64_t layer = 0; layer < layers; ++layer) {
        const auto found = row.of_layer.find(static_cast<int>(layer));
        html += found == row.of_layer.end() ? "<td class=\"none\" title=\"this layer has no such stage\"></td>"
                                            : heat_cell(scales, *found->second, 1, layers <= kLayersWithNumbers);
    }
    return html + "</tr>";
}

std::string heat_legend(const HeatScales& scales) {
    std::string html = "<div class=\"legend\"><div class=\"ramp\"><div class=\"steps\">";
    for (int step = 0; step < kHeatSteps; ++step) html += fmt::format("<i class=\"h{}\"></i>", step);
    return html + "</div>" + scales.whole.marks("") + scales.rounding.marks(" hidden") +
           "</div><div class=\"keys\"><span><i class=\"zero\"></i>exactly 0</span><span><i class=\"bad\"></i>not "
           "finite</span></div></div>";
}

// ---- curves

// The stages that most readers look for first. The others are folded away.
constexpr std::string_view kMainStages[] = {"residual_after_ffn", "attention", "residual_after_attention",
                                            "attention_output",   "down",      "expert_sum"};

std::string curve_figure(const StageOfLayers& row, const LogAxis& axis, int64_t layers) {
    CurveChart chart{.description = fmt::format("relative RMS of {} over layers", escaped(row.name, 60)),
                     .layers = layers};
    double worst = 0;
    int worst_layer = 0;
    for (const auto& [layer, stage] : row.of_layer) {
        chart.points.push_back({.layer = layer, .values = {stage->relative_rms, stage->quantization, stage->rounding}});
        if (stage->relative_rms <= worst) continue;
        worst = stage->relative_rms;
        worst_layer = layer;
    }
    return figure(escaped(row.name, 60), curve_chart(chart, axis),
                  fmt::format("most {} in layer {}", scientific_html(worst), worst_layer));
}

}  // namespace

std::string heat_map_section(const VerifyReport& report) {
    const AccuracyReport& accuracy = *report.accuracy;
    if (accuracy.stages.empty()) return "";
    const int64_t layers = layers_of(report);
    const HeatScales scales = HeatScales::of(accuracy);
    std::string rows;
    for (const StageOfLayers& row : rows_of(accuracy)) {
        if (!row.integers) rows += heat_row(row, scales, layers);
    }
    return section(
        "heat", "Distance to float64, stage by stage",
        fmt::format("Relative RMS against a float64 evaluation of the whole model from the same weights, its "
                    "activations not quantised, over {} of {} probe positions. Darker (on a dark page: brighter) is "
                    "farther; a band that starts at one layer and stays is an error carried on, a single cell is an "
                    "error of that stage.",
                    thousands(accuracy.covered_positions), thousands(accuracy.all_positions)),
        fmt::format("<div class=\"card\"><div class=\"over\">{}<div class=\"switch\" hidden></div></div>"
                    "<div class=\"scroll\"><table class=\"heat {}\">{}<tbody>{}</tbody></table></div></div>",
                    heat_legend(scales), layers <= kLayersWithNumbers ? "few" : "many", heat_head(layers), rows));
}

std::string curves_section(const VerifyReport& report) {
    const int64_t layers = layers_of(report);
    const std::vector<StageOfLayers> rows = rows_of(*report.accuracy);
    LogAxis axis;
    for (const StageOfLayers& row : rows) {
        for (const auto& [layer, stage] : row.of_layer) {
            if (layer < 0 || row.integers) continue;
            for (const double value : {stage->relative_rms, stage->quantization, stage->rounding}) axis.see(value);
        }
    }
    std::string shown, folded;
    int64_t more = 0;
    const auto is_curve = [](const StageOfLayers& row) { return !row.integers && !row.of_layer.contains(-1); };
    for (const std::string_view name : kMainStages) {
        for (const StageOfLayers& row : rows) {
            if (row.name == name && is_curve(row)) shown += curve_figure(row, axis, layers);
        }
    }
    for (const StageOfLayers& row : rows) {
        if (!is_curve(row) ||
            std::find(std::begin(kMainStages), std::end(kMainStages), row.name) != std::end(kMainStages))
            continue;
        folded += curve_figure(row, axis, layers);
        ++more;
    }
    if (shown.empty() && folded.empty()) return "";
    std::string body =
        "<ul class=\"lines\"><li class=\"total\">distance to float64</li><li class=\"quant\">quantisation of "
        "activations</li><li class=\"round\">rounding</li></ul>";
    body += fmt::format("<div class=\"grid\">{}</div>", shown);
    if (more > 0) {
        body += fmt::format("<details{}><summary>{}</summary><div class=\"grid\">{}</div></details>",
                            shown.empty() ? " open" : "", plural(more, "more stage", "more stages"), folded);
    }
    return section(
        "curves", "How the distance grows over layers",
        "Relative RMS, logarithmic, one scale for every panel. Quantisation is what quantised activations, which "
        "the arithmetic asks for, do to the reference itself. Rounding is this path against that quantised "
        "reference: float32 sums, elementary functions, and values that these tip over a quantisation step. "
        "The two do not add up to the distance; what is less than the lowest number lies on the lower edge.",
        body);
}

std::string worst_stages_section(const VerifyReport& report) {
    constexpr size_t kMostRows = 10;
    std::vector<const StageAccuracy*> stages;
    for (const StageAccuracy& stage : report.accuracy->stages) {
        if (stage.integers == 0) stages.push_back(&stage);
    }
    if (stages.empty()) return "";
    const auto badness = [](const StageAccuracy* stage) {
        return std::isfinite(stage->worst) ? stage->worst : std::numeric_limits<double>::infinity();
    };
    std::stable_sort(stages.begin(), stages.end(),
                     [&](const auto* a, const auto* b) { return badness(a) > badness(b); });
    std::string body =
        "<div class=\"scroll\"><table class=\"list cards\"><thead><tr><th>stage</th><th "
        "class=\"n\">layer</th><th>where</th><th "
        "class=\"n\">element</th><th class=\"n\">value</th><th class=\"n\">reference</th><th class=\"n\">off by, × "
        "RMS</th><th class=\"n\">relative RMS</th></tr></thead><tbody>";
    for (size_t i = 0; i < std::min(kMostRows, stages.size()); ++i) {
        const StageAccuracy& stage = *stages[i];
        body += fmt::format(
            "<tr><td data-label=\"stage\"><code>{}</code></td><td class=\"n\" data-label=\"layer\">{}</td>"
            "<td data-label=\"where\">{}, position {}</td><td class=\"n\" data-label=\"element\">{}</td>"
            "<td class=\"n\" data-label=\"value\">{:.6g}</td><td class=\"n\" data-label=\"reference\">{:.6g}</td>"
            "<td class=\"n\" data-label=\"off by, × RMS\"><span>{}</span></td><td class=\"n\" data-label=\"relative "
            "RMS\"><span>{}</span></td></tr>",
            escaped(stage.key.name, 60), stage.key.layer < 0 ? "–" : std::to_string(stage.key.layer),
            escaped(stage.worst_probe, 60), stage.worst_position, stage.worst_element, stage.worst_value,
            stage.worst_reference, scientific_html(stage.worst), scientific_html(stage.relative_rms));
    }
    return section("worst", "The worst single elements",
                   fmt::format("The {} stages with the element farthest from the reference, measured in units of the "
                               "stage's own RMS. A mean hides these: one wrong neuron of thousands moves no average.",
                               std::min(kMostRows, stages.size())),
                   body + "</tbody></table></div>");
}

}  // namespace invar
