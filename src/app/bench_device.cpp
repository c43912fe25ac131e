#include "app/bench_device.h"

#include <fmt/format.h>

#include "base/json.h"

namespace invar::app {
namespace {

constexpr std::string_view kEmulated =
    "EMULATED: kernels run on the CPU, one thread of a block after the other; no time, speed or share here is a GPU's";

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

double gigabytes_per_second(const StepLine& line) { return static_cast<double>(line.bytes) / line.milliseconds / 1e6; }
double giga_multiply_adds(const StepLine& line) {
    return static_cast<double>(line.multiply_adds) / line.milliseconds / 1e6;
}

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, " ")); }

std::string_view rest_is(const DeviceReport& device) {
    return device.does_everything ? "launches, waiting and what comes back"
                                  : "launches, waiting, copies and what the CPU computes";
}

std::string step_as_table(const DeviceReport& device, const DeviceStep& step, const Ceilings& ceilings) {
    std::string text =
        fmt::format("one pass of {} ({} {}): {} kernels take {:.3f} ms\n", describe(step.work), step.rows,
                    step.rows == 1 ? "token" : "tokens", step.launches, 1e3 * step.kernel_seconds);
    const auto wall = [&](std::string_view how, double seconds, double gap) {
        return fmt::format("  {}: {:.3f} ms, of which {:.3f} ms ({:.1f} %) are in no kernel ({})\n", how, 1e3 * seconds,
                           1e3 * gap, 100 * gap / seconds, rest_is(device));
    };
    text += wall("as it runs", step.seconds_as_run, step.gap_as_run());
    text += wall("launched one by one", step.seconds_one_by_one, step.gap_one_by_one());
    text += fmt::format("  {:<32} {:>6} {:>8} {:>9} {:>7} {:>9} {:>8} {:>8} {:>9} {:>8}  {}\n", "verb and weights",
                        "calls", "launches", "ms", "of it", "MB", "GB/s", "of mem.", "GMA/s", "of int8", "kernels");
    for (const StepLine& line : step.lines) {
        const std::string int8 =
            line.on_tensor_cores
                ? fmt::format("{:>6.1f} %", 100 * giga_multiply_adds(line) / ceilings.int8_multiply_adds)
                : std::string();
        const std::string name = line.formats.empty() ? line.verb : fmt::format("{} {}", line.verb, line.formats);
        text +=
            fmt::format("  {:<32} {:>6} {:>8} {:>9.4f} {:>5.1f} % {:>9.3f} {:>8.1f} {:>6.1f} % {:>9.1f} {:>8}  {}\n",
                        name, line.calls, line.launches, line.milliseconds,
                        line.milliseconds / step.kernel_seconds / 10, static_cast<double>(line.bytes) / 1e6,
                        gigabytes_per_second(line), 100 * gigabytes_per_second(line) / ceilings.memory_gigabytes(),
                        giga_multiply_adds(line), int8, joined(line.kernels));
    }
    return text;
}

Json step_as_json(const DeviceStep& step, const Ceilings& ceilings) {
    Json lines = Json::array();
    for (const StepLine& line : step.lines) {
        Json one = {{"verb", line.verb},
                    {"formats", line.formats},
                    {"kernels", line.kernels},
                    {"calls", line.calls},
                    {"launches", line.launches},
                    {"milliseconds", line.milliseconds},
                    {"bytes", line.bytes},
                    {"multiply_adds", line.multiply_adds},
                    {"gigabytes_per_second", gigabytes_per_second(line)},
                    {"share_of_memory_probe", gigabytes_per_second(line) / ceilings.memory_gigabytes()},
                    {"giga_multiply_adds_per_second", giga_multiply_adds(line)}};
        if (line.on_tensor_cores) one["share_of_int8_probe"] = giga_multiply_adds(line) / ceilings.int8_multiply_adds;
        lines.push_back(std::move(one));
    }
    return {{"work", work_kind_name(step.work.kind)},
            {"depth", step.work.depth},
            {"rows", step.rows},
            {"launches", step.launches},
            {"kernel_milliseconds", 1e3 * step.kernel_seconds},
            {"as_run", {{"milliseconds", 1e3 * step.seconds_as_run}, {"gap_milliseconds", 1e3 * step.gap_as_run()}}},
            {"one_by_one",
             {{"milliseconds", 1e3 * step.seconds_one_by_one}, {"gap_milliseconds", 1e3 * step.gap_one_by_one()}}},
            {"lines", std::move(lines)}};
}

}  // namespace

std::string device_as_text(const DeviceReport& device) {
    const AcceleratorFacts& facts = device.facts;
    std::string text = facts.emulated ? fmt::format("{}\n", kEmulated) : std::string();
    text += fmt::format(
        "{} device {}: {}, compute capability {}, {:.0f} MiB ({:.0f} MiB free with the model loaded), {}\n", facts.kind,
        facts.index, facts.name, facts.capability, mib(facts.total_bytes), mib(facts.free_bytes), facts.driver);
    if (!device.does_everything)
        text += "a part of the model is on the CPU, so shares of one machine's ceilings are left out\n";
    return text;
}

Json device_as_json(const DeviceReport& device) {
    const AcceleratorFacts& facts = device.facts;
    Json json = {{"kind", facts.kind},
                 {"index", facts.index},
                 {"name", facts.name},
                 {"compute_capability", facts.capability},
                 {"total_bytes", facts.total_bytes},
                 {"free_bytes", facts.free_bytes},
                 {"overhead_bytes", facts.overhead_bytes},
                 {"driver", facts.driver},
                 {"emulated", facts.emulated},
                 {"does_everything", device.does_everything}};
    if (facts.emulated) json["note"] = kEmulated;
    return json;
}

std::string steps_as_table(const DeviceReport& device, const Ceilings& ceilings) {
    std::string text;
    for (const DeviceStep& step : device.steps) text += step_as_table(device, step, ceilings) + "\n";
    if (!device.steps.empty())
        text += "MB: what the verbs read and write at least; times between two events around each kernel\n";
    return text;
}

Json steps_as_json(const DeviceReport& device, const Ceilings& ceilings) {
    Json steps = Json::array();
    for (const DeviceStep& step : device.steps) steps.push_back(step_as_json(step, ceilings));
    return steps;
}

}  // namespace invar::app
