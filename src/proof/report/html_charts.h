// Draws the page's charts as inline SVG: logarithmic axes, curves over layers, bars. Colours and fonts are classes of
// html_style.h. A drawing is 340 units wide and scales with its place, so that its letters are legible on a phone.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace invar {

// An axis of whole decades that contains the given values, at most kMostDecades of them, so that one nearly exact stage
// does not squeeze all others. Smaller values and zero lie on the lower edge; tooltips show the numbers.
class LogAxis {
  public:
    static constexpr int kMostDecades = 5;
    void see(double value);
    int low() const;             // the lower edge is 10^low
    int high() const;            // at least low + 1
    double place(double) const;  // 0 lower edge .. 1 upper edge; not finite: 1; zero and below: 0
    bool empty() const { return most_ == 0; }

  private:
    double least_ = 0, most_ = 0;
};

struct Tick {
    double place = 0;   // 0 .. 1
    std::string label;  // text of an SVG element; "": only a line is drawn
};
// One tick per decade. If there are many, only some have labels.
std::vector<Tick> decade_ticks(const LogAxis& axis);
// 0 and two or more round numbers up to `most`, which is rounded up.
std::vector<Tick> linear_ticks(double& most, std::string_view unit);
// Ticks for first .. first + count - 1 at the centres of `count` equal slots.
std::vector<Tick> index_ticks(int64_t first, int64_t count);

struct Bar {
    double height = 0;  // 0 .. 1
    bool marked = false;
    std::string tip;  // already escaped
};
struct BarChart {
    std::string description;   // for readers who cannot see the drawing; already escaped
    std::string_view x_title;  // the title of the horizontal axis
    std::vector<Bar> bars;
    std::vector<Tick> x, y;
};
std::string bar_chart(const BarChart& chart);

// Three curves over layers: distance to the reference, and its parts quantisation and rounding (verify_accuracy.h).
struct CurvePoint {
    int layer = 0;
    std::array<double, 3> values = {};
};
struct CurveChart {
    std::string description;  // already escaped
    std::vector<CurvePoint> points;
    int64_t layers = 0;
};
std::string curve_chart(const CurveChart& chart, const LogAxis& axis);

}  // namespace invar
