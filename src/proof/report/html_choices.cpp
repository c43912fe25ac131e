// The sections about choices: the next token and the experts (html_accuracy.h).
#include "proof/report/html_accuracy.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "proof/report/html_charts.h"
#include "proof/report/html_parts.h"
#include "proof/report/html_text.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

// ---- next token

constexpr int64_t kMostBars = 150;

// Draws the positions of one probe. If there are too many for a screen, it draws the worst of each few.
std::string kl_figure(const std::string& probe, const std::vector<const PositionAccuracy*>& positions,
                      const LogAxis& axis) {
    const auto count = static_cast<int64_t>(positions.size()), each = (count + kMostBars - 1) / kMostBars;
    BarChart chart{.description = fmt::format("KL divergence over the positions of {}", escaped(probe, 60)),
                   .x_title = "position",
                   .y = decade_ticks(axis)};
    int64_t differing = 0;
    for (int64_t first = 0; first < count; first += each) {
        const PositionAccuracy* worst = positions[static_cast<size_t>(first)];
        bool marked = false;
        for (int64_t i = first; i < std::min(count, first + each); ++i) {
            const PositionAccuracy* position = positions[static_cast<size_t>(i)];
            if (!(position->kl <= worst->kl)) worst = position;
            marked = marked || !position->same_first;
            differing += position->same_first ? 0 : 1;
        }
        chart.bars.push_back({.height = axis.place(worst->kl),
                              .marked = marked,
                              .tip = fmt::format("position {}: {} nats, first choice {}", worst->position,
                                                 scientific(worst->kl), worst->same_first ? "the same" : "different")});
    }
    chart.x = index_ticks(positions.front()->position / each, static_cast<int64_t>(chart.bars.size()));
    if (each > 1) {
        for (Tick& tick : chart.x) tick.label = fmt::format("{}", std::stoll(tick.label) * each);
    }
    return figure(escaped(probe, 60), bar_chart(chart),
                  fmt::format("{}, {} with another first choice", plural(count, "position", "positions"), differing));
}

std::string other_choices(const AccuracyReport& accuracy) {
    constexpr size_t kMostRows = 8;
    std::vector<const PositionAccuracy*> others;
    for (const PositionAccuracy& position : accuracy.positions) {
        if (!position.same_first) others.push_back(&position);
    }
    if (others.empty()) return "";
    std::stable_sort(others.begin(), others.end(),
                     [](const auto* a, const auto* b) { return a->first_margin > b->first_margin; });
    std::string html = fmt::format(
        "<h3>Where the first choice differs{}</h3><p class=\"note\">A small margin, in logits, between the reference's "
        "first two tokens means that the reference itself was nearly undecided.</p><div class=\"scroll\"><table "
        "class=\"list "
        "short\"><thead><tr><th>probe</th><th class=\"n\">position</th><th class=\"n\">margin</th><th class=\"n\">KL, "
        "nats</th></tr></thead><tbody>",
        others.size() > kMostRows ? fmt::format(" ({} of {}, largest margins)", kMostRows, others.size()) : "");
    for (size_t i = 0; i < std::min(kMostRows, others.size()); ++i) {
        html += fmt::format(
            "<tr><td data-label=\"probe\">{}</td><td class=\"n\" data-label=\"position\">{}</td><td class=\"n\" "
            "data-label=\"margin\">{:.4f}</td><td class=\"n\" data-label=\"KL, nats\"><span>{}</span></td></tr>",
            escaped(others[i]->probe, 60), others[i]->position, others[i]->first_margin,
            scientific_html(others[i]->kl));
    }
    return html + "</tbody></table></div>";
}

// ---- routing

constexpr double kNearTie = 1e-3;
constexpr int kBinsOfDecade = 3;

std::string margin_figure(const std::vector<double>& margins) {
    LogAxis axis;
    for (const double margin : margins) axis.see(margin);
    const int low = std::clamp(axis.low(), -9, -4);
    constexpr int kHigh = 0;  // margins are probabilities, so at most 10^0
    std::vector<int64_t> counts(static_cast<size_t>((kHigh - low) * kBinsOfDecade));
    int64_t ties = 0;
    for (const double margin : margins) {
        ties += margin < kNearTie ? 1 : 0;
        const double bin = margin > 0 ? std::floor((std::log10(margin) - low) * kBinsOfDecade) : 0;
        ++counts[static_cast<size_t>(std::clamp(bin, 0.0, static_cast<double>(counts.size() - 1)))];
    }
    auto most = static_cast<double>(std::max<int64_t>(4, *std::max_element(counts.begin(), counts.end())));
    BarChart chart{.description = "how many routed rows have which margin",
                   .x_title = "margin, in probability",
                   .y = linear_ticks(most, "")};
    for (size_t bin = 0; bin < counts.size(); ++bin) {
        const double from = low + static_cast<double>(bin) / kBinsOfDecade, to = from + 1.0 / kBinsOfDecade;
        chart.bars.push_back({.height = static_cast<double>(counts[bin]) / most,
                              .marked = to <= std::log10(kNearTie) + 1e-9,
                              .tip = fmt::format("margin {} to {}: {}", bin == 0 ? "0" : scientific(std::pow(10, from)),
                                                 scientific(std::pow(10, to)), plural(counts[bin], "row", "rows"))});
    }
    for (int decade = low; decade <= kHigh; ++decade) {
        chart.x.push_back({.place = static_cast<double>(decade - low) / (kHigh - low), .label = decade_svg(decade)});
    }
    return figure(
        "Routing margins of the reference", bar_chart(chart),
        fmt::format("{}, {} near a tie (margin below 0.001)",
                    plural(static_cast<int64_t>(margins.size()), "routed row", "routed rows"), thousands(ties)));
}

std::string choice_figure(const StageOfLayers& row, int64_t layers) {
    double most = 0;
    int64_t all = 0, equal = 0;
    for (const auto& [layer, stage] : row.of_layer) {
        all += stage->integers;
        equal += stage->integers_equal;
        most = std::max(most, 100.0 * static_cast<double>(stage->integers - stage->integers_equal) /
                                  static_cast<double>(std::max<int64_t>(1, stage->integers)));
    }
    BarChart chart{.description = "share of expert choices that differ, by layer",
                   .x_title = "layer",
                   .x = index_ticks(0, layers)};
    chart.y = linear_ticks(most, "&nbsp;%");
    for (int64_t layer = 0; layer < layers; ++layer) {
        const auto found = row.of_layer.find(static_cast<int>(layer));
        if (found == row.of_layer.end()) {
            chart.bars.push_back({.tip = fmt::format("layer {} chooses no experts", layer)});
            continue;
        }
        const int64_t other = found->second->integers - found->second->integers_equal;
        chart.bars.push_back({.height = 100.0 * static_cast<double>(other) /
                                        static_cast<double>(std::max<int64_t>(1, found->second->integers)) / most,
                              .marked = true,
                              .tip = fmt::format("layer {}: {} of {} choices differ", layer, thousands(other),
                                                 thousands(found->second->integers))});
    }
    return figure("Expert choices that differ", bar_chart(chart),
                  fmt::format("{} of {} agree ({})", thousands(equal), thousands(all),
                              percent(static_cast<double>(equal) / static_cast<double>(std::max<int64_t>(1, all)))));
}

}  // namespace

std::string next_token_section(const VerifyReport& report) {
    const AccuracyReport& accuracy = *report.accuracy;
    if (accuracy.positions.empty()) return "";
    std::vector<std::string> order;
    std::map<std::string, std::vector<const PositionAccuracy*>> by_probe;
    LogAxis axis;
    int64_t same = 0;
    const PositionAccuracy* largest = &accuracy.positions.front();
    for (const PositionAccuracy& position : accuracy.positions) {
        std::vector<const PositionAccuracy*>& list = by_probe[position.probe];
        if (list.empty()) order.push_back(position.probe);
        list.push_back(&position);
        axis.see(position.kl);
        same += position.same_first ? 1 : 0;
        if (!(position.kl <= largest->kl)) largest = &position;
    }
    const auto all = static_cast<int64_t>(accuracy.positions.size());
    std::string body =
        fmt::format("<dl class=\"tiles\">{}{}{}</dl><div class=\"grid\">",
                    tile("same first choice", percent(static_cast<double>(same) / static_cast<double>(all)),
                         fmt::format("{} of {} positions", thousands(same), thousands(all))),
                    tile("mean KL divergence", scientific_html(accuracy.mean_kl()), "nats"),
                    tile("largest KL divergence", scientific_html(largest->kl),
                         fmt::format("nats, {}, position {}", escaped(largest->probe, 60), largest->position)));
    for (const std::string& probe : order) body += kl_figure(probe, by_probe[probe], axis);
    body += "</div>" + other_choices(accuracy);
    return section("next", "The next token",
                   "KL divergence of the next token's probabilities from those of the float64 reference, for every "
                   "position of every probe, logarithmic. Bars in the second colour: another token comes first.",
                   body);
}

std::string routing_section(const VerifyReport& report) {
    const AccuracyReport& accuracy = *report.accuracy;
    std::string figures;
    if (!accuracy.routing_margins.empty()) figures += margin_figure(accuracy.routing_margins);
    for (const StageOfLayers& row : rows_of(accuracy)) {
        if (row.integers && !row.of_layer.contains(-1)) figures += choice_figure(row, layers_of(report));
    }
    if (figures.empty()) return "";
    return section("routing", "Routing to experts",
                   "The margin is the probability between the last expert that is chosen and the first that is not. "
                   "Where it is small, a rounding can choose another expert: close calls, not faults.",
                   fmt::format("<div class=\"grid\">{}</div>", figures));
}

}  // namespace invar
