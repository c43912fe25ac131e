#include "proof/report/html_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "proof/report/html_text.h"

namespace invar {
namespace {

constexpr double kWidth = 340, kHeight = 184;
constexpr double kLeft = 40, kRight = 334, kTop = 10, kBottom = 152;

double x_of(double place) { return kLeft + place * (kRight - kLeft); }
double y_of(double place) { return kBottom - place * (kBottom - kTop); }

std::string opening(std::string_view description) {
    return fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", kWidth, kHeight,
                       description);
}

std::string frame(const std::vector<Tick>& x, const std::vector<Tick>& y, std::string_view x_title) {
    std::string svg = fmt::format("<text class=\"title mid\" x=\"{}\" y=\"{}\">{}</text>", (kLeft + kRight) / 2,
                                  kHeight - 3, x_title);
    for (const Tick& tick : y) {
        svg += fmt::format("<path class=\"{}\" d=\"M{} {:.1f}H{}\"/>", tick.place == 0 ? "axis" : "grid", kLeft,
                           y_of(tick.place), kRight);
        if (tick.label.empty()) continue;
        svg += fmt::format("<text class=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>", kLeft - 6, y_of(tick.place) + 3.5,
                           tick.label);
    }
    for (const Tick& tick : x) {
        svg += fmt::format(
            "<path class=\"axis\" d=\"M{0:.1f} {1}v4\"/><text class=\"mid\" x=\"{0:.1f}\" y=\"{2}\">{3}</text>",
            x_of(tick.place), kBottom, kBottom + 16, tick.label);
    }
    return svg;
}

// The smallest of 1, 2 and 5 times a power of ten that is at least `value`.
double round_up(double value) {
    const double power = std::pow(10, std::floor(std::log10(value)));
    for (const double step : {1.0, 2.0, 5.0}) {
        if (step * power >= value * (1 - 1e-12)) return step * power;
    }
    return 10 * power;
}

}  // namespace

void LogAxis::see(double value) {
    if (!std::isfinite(value) || value <= 0) return;
    least_ = most_ == 0 ? value : std::min(least_, value);
    most_ = std::max(most_, value);
}

int LogAxis::high() const { return empty() ? 0 : static_cast<int>(std::ceil(std::log10(most_) - 1e-9)); }

int LogAxis::low() const {
    if (empty()) return -1;
    return std::clamp(static_cast<int>(std::floor(std::log10(least_) + 1e-9)), high() - kMostDecades, high() - 1);
}

double LogAxis::place(double value) const {
    if (!std::isfinite(value)) return 1;
    if (value <= 0) return 0;
    return std::clamp((std::log10(value) - low()) / (high() - low()), 0.0, 1.0);
}

std::vector<Tick> decade_ticks(const LogAxis& axis) {
    const int decades = axis.high() - axis.low(), every = (decades + 5) / 6;
    std::vector<Tick> ticks;
    for (int decade = axis.low(); decade <= axis.high(); ++decade) {
        ticks.push_back({.place = static_cast<double>(decade - axis.low()) / decades,
                         .label = (axis.high() - decade) % every == 0 ? decade_svg(decade) : ""});
    }
    return ticks;
}

std::vector<Tick> linear_ticks(double& most, std::string_view unit) {
    if (!(most > 0)) most = 1;
    const double step = round_up(most / 4);
    const auto steps = static_cast<int>(std::ceil(most / step - 1e-9));
    most = step * steps;
    std::vector<Tick> ticks;
    for (int i = 0; i <= steps; ++i) {
        ticks.push_back({.place = static_cast<double>(i) / steps, .label = fmt::format("{:g}{}", step * i, unit)});
    }
    return ticks;
}

std::vector<Tick> index_ticks(int64_t first, int64_t count) {
    std::vector<Tick> ticks;
    const auto every = static_cast<int64_t>(round_up(std::max(1.0, static_cast<double>(count) / 6)));
    for (int64_t i = 0; i < count; ++i) {
        if ((first + i) % every != 0) continue;
        ticks.push_back({.place = (static_cast<double>(i) + 0.5) / static_cast<double>(count),
                         .label = fmt::format("{}", first + i)});
    }
    return ticks;
}

std::string bar_chart(const BarChart& chart) {
    std::string svg = opening(chart.description) + frame(chart.x, chart.y, chart.x_title);
    const double slot = (kRight - kLeft) / static_cast<double>(std::max<size_t>(1, chart.bars.size()));
    const double gap = slot > 12 ? 2 : slot * 0.15;
    for (size_t i = 0; i < chart.bars.size(); ++i) {
        const Bar& bar = chart.bars[i];
        const double left = kLeft + slot * static_cast<double>(i);
        // One unit is the least that can be seen. A bar of height zero gets half of that.
        const double height = std::max(bar.height > 0 ? 1.0 : 0.5, bar.height * (kBottom - kTop));
        svg += fmt::format(
            "<g class=\"t\"><rect class=\"hit\" x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\"/>"
            "<rect class=\"bar{}\" x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\"/><title>{}</title></g>",
            left, kTop, slot, kBottom - kTop, bar.marked ? " mark" : "", left + gap / 2, kBottom - height, slot - gap,
            height, bar.tip);
    }
    return svg + "</svg>";
}

std::string curve_chart(const CurveChart& chart, const LogAxis& axis) {
    constexpr std::string_view kLines[] = {"total", "quant", "round"};
    std::string svg = opening(chart.description) + frame(index_ticks(0, chart.layers), decade_ticks(axis), "layer");
    const double slot = 1.0 / static_cast<double>(std::max<int64_t>(1, chart.layers));
    const auto x = [&](const CurvePoint& point) { return x_of((point.layer + 0.5) * slot); };
    for (const size_t line : {0, 1, 2}) {  // the two shares are drawn over the broad line of the whole
        std::string path, dots;
        for (const CurvePoint& point : chart.points) {
            const double value = point.values[line], y = y_of(axis.place(value));
            path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(point), y);
            if (std::isfinite(value) && chart.layers > 12) continue;
            dots += fmt::format("<circle class=\"{}{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"/>", kLines[line],
                                std::isfinite(value) ? "" : " bad", x(point), y, std::isfinite(value) ? "2.5" : "4");
        }
        svg += fmt::format("<path class=\"line {}\" d=\"{}\"/>{}", kLines[line], path, dots);
    }
    for (const CurvePoint& point : chart.points) {
        svg += fmt::format(
            "<g class=\"t\"><rect class=\"hit\" x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\"/><title>layer {}: "
            "distance {}, quantisation {}, rounding {}</title></g>",
            x_of(point.layer * slot), kTop, slot * (kRight - kLeft), kBottom - kTop, point.layer,
            scientific(point.values[0]), scientific(point.values[1]), scientific(point.values[2]));
    }
    return svg + "</svg>";
}

}  // namespace invar
