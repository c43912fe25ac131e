// Drawings of the page as inline SVG: logarithmic axes, curves over layers, bars. Colours and type are classes of
// html_style.h. A drawing is 340 units wide and scales with its place, so that its letters stay legible on a phone.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace invar {

// Whole decades that hold the values seen, at most kMostDecades of them: one stage that is nearly exact must not press
// all others into a line. What is smaller, and zero, lies on the lower edge; tooltips have the numbers.
class LogAxis {
  public:
    static constexpr int kMostDecades = 5;
    void see(double value);
    int low() const;             // 10^low is the lower edge
    int high() const;            // at least low + 1
    double place(double) const;  // 0 lower edge .. 1 upper edge; not finite: 1; zero and less: 0
    bool empty() const { return most_ == 0; }

  private:
    double least_ = 0, most_ = 0;
};

struct Tick {
    double place = 0;   // 0 .. 1
    std::string label;  // SVG text content, "" for a line alone
};
// A tick for each decade; labels thin out where there are many.
std::vector<Tick> decade_ticks(const LogAxis& axis);
// 0, and two or more round numbers up to *most, which is rounded up.
std::vector<Tick> linear_ticks(double& most, std::string_view unit);
// Numbers first .. first + count - 1, centred on `count` equal slots.
std::vector<Tick> index_ticks(int64_t first, int64_t count);

struct Bar {
    double height = 0;  // 0 .. 1
    bool marked = false;
    std::string tip;  // escaped already
};
struct BarChart {
    std::string description;   // for who cannot see it; escaped already
    std::string_view x_title;  // what the horizontal axis counts
    std::vector<Bar> bars;
    std::vector<Tick> x, y;
};
std::string bar_chart(const BarChart& chart);

// Three lines over layers: distance to the reference, quantisation and rounding (verify_accuracy.h).
struct CurvePoint {
    int layer = 0;
    std::array<double, 3> values = {};
};
struct CurveChart {
    std::string description;  // escaped already
    std::vector<CurvePoint> points;
    int64_t layers = 0;
};
std::string curve_chart(const CurveChart& chart, const LogAxis& axis);

}  // namespace invar
