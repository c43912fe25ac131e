#include "app/bench_report.h"

#include <algorithm>
#include <fstream>
#include <map>

#include "app/output.h"
#include "arithmetic/version.h"
#include "base/json.h"

namespace invar::app {
namespace {

Json as_json(const Spread& spread) { return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}}; }

std::string range_of(const Spread& spread, int decimals) {
    return fmt::format("{:.{}f} .. {:.{}f}", spread.low, decimals, spread.high, decimals);
}

double per_token(int64_t total, const Work& work) {
    return static_cast<double>(total) / static_cast<double>(work.computed());
}

Spread ceiling_spread(const std::vector<Measurement>& measurements, double Ceilings::*ceiling) {
    std::vector<double> values;
    for (const Measurement& one : measurements) {
        for (const Run& run : one.runs) values.push_back(run.ceilings.*ceiling);
    }
    return spread_of(std::move(values));
}

Json run_as_json(const Run& run, const Work& work) {
    Json json = {{"seconds", run.seconds}};
    if (work.kind == WorkKind::prompt) json["first_token_seconds"] = run.first_token_seconds;
    json["read_probe_gigabytes_per_second"] = run.ceilings.read_gigabytes;
    json["int8_probe_giga_multiply_adds_per_second"] = run.ceilings.int8_multiply_adds;
    if (run.ceilings.copy_gigabytes > 0) json["copy_probe_gigabytes_per_second"] = run.ceilings.copy_gigabytes;
    return json;
}

Json measurement_as_json(const Measurement& one, bool shares_are_known) {
    const Work& work = one.work;
    const Spread speed = one.tokens_per_second();
    Json json = {{"work", work_kind_name(work.kind)},
                 {"tokens", work.tokens},
                 {"sequences", work.sequences},
                 {"depth", work.depth},
                 {"tokens_per_second", speed.median},
                 {"low", speed.low},
                 {"high", speed.high}};
    if (work.kind == WorkKind::prompt) {
        json["first_token_seconds"] = as_json(one.first_token_seconds());
        json["first_token_seconds_of_first_run"] = one.first.first_token_seconds;
    }
    Json per = {{"weight_multiply_adds", per_token(one.cost.weight_multiply_adds, work)},
                {"attention_multiply_adds", per_token(one.cost.attention_multiply_adds, work)}};
    if (one.reads_are_known()) {
        per["weight_bytes"] = per_token(one.cost.weight_bytes, work);
        per["cache_bytes"] = per_token(one.cost.cache_bytes, work);
        json["gigabytes_per_second"] = as_json(one.gigabytes_per_second());
        if (shares_are_known) json["share_of_read_probe"] = as_json(one.share_of_read());
    }
    json["per_token"] = std::move(per);
    json["giga_multiply_adds_per_second"] = as_json(one.giga_multiply_adds_per_second());
    if (shares_are_known) json["share_of_int8_probe"] = as_json(one.share_of_int8());
    json["first_run"] = run_as_json(one.first, work);
    json["runs"] = Json::array();
    for (const Run& run : one.runs) json["runs"].push_back(run_as_json(run, work));
    return json;
}

std::string share_text(bool is_known, double share) {
    return is_known ? fmt::format("{:>6.1f} %", 100 * share) : fmt::format("{:>8}", "-");
}

std::string measurement_row(const Measurement& one, bool shares_are_known) {
    const Spread speed = one.tokens_per_second();
    const auto million = [&](int64_t total) { return per_token(total, one.work) / 1e6; };
    std::string reads = fmt::format("{:>9} {:>7} {:>8}", "", "", "");
    if (one.reads_are_known()) {
        reads =
            fmt::format("{:>9.1f} {:>7.2f} {}", million(one.cost.weight_bytes + one.cost.cache_bytes),
                        one.gigabytes_per_second().median, share_text(shares_are_known, one.share_of_read().median));
    }
    return fmt::format("{:<32} {:>9.2f} {:>20} {} {:>9.1f} {:>8.1f} {:>8.1f} {}\n", describe(one.work), speed.median,
                       range_of(speed, 2), reads, million(one.cost.weight_multiply_adds),
                       million(one.cost.attention_multiply_adds), one.giga_multiply_adds_per_second().median,
                       share_text(shares_are_known, one.share_of_int8().median));
}

// The size of the last-level cache; 0: the system does not say. (In a virtual machine sysconf() counts caches that
// belong to its neighbours.)
int64_t last_level_cache_bytes() {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    int64_t kib = 0;
    char unit = 0;
    return file >> kib >> unit && unit == 'K' ? kib * 1024 : 0;
}

// The probe reads a buffer larger than every cache, so its speed is no ceiling for weights that stay in a cache.
std::string cache_note(const std::vector<Measurement>& measurements) {
    const int64_t cache = last_level_cache_bytes();
    const auto fits = [&](const Measurement& one) {
        return one.reads_are_known() && one.cost.weight_bytes / one.work.tokens < cache;
    };
    if (std::none_of(measurements.begin(), measurements.end(), fits)) return "";
    return fmt::format("the weights of a step fit in {} MiB of last-level cache, so shares of the reads say little\n",
                       cache >> 20);
}

std::string first_token_lines(const std::vector<Measurement>& measurements) {
    std::string text;
    for (const Measurement& one : measurements) {
        if (one.work.kind != WorkKind::prompt) continue;
        const Spread seconds = one.first_token_seconds();
        text += fmt::format("first token {:.3f} s after the start of a {} ({}); ", seconds.median, describe(one.work),
                            range_of(seconds, 3));
        text += fmt::format("{:.3f} s in the first run{}\n", one.first.first_token_seconds,
                            &one == &measurements.front() ? ", right after loading" : "");
    }
    return text;
}

}  // namespace

namespace {

// The ceilings measured around the runs, of the CPU or of a device. A device's include a copy.
std::string ceilings_as_text(const BenchReport& report) {
    const auto spread = [&](double Ceilings::*member) { return ceiling_spread(report.measurements, member); };
    const Spread reads = spread(&Ceilings::read_gigabytes), int8 = spread(&Ceilings::int8_multiply_adds);
    std::string copies;
    if (report.device) {
        const Spread copied = spread(&Ceilings::copy_gigabytes);
        copies = fmt::format("copies {:.1f} GB/s ({}), ", copied.median, range_of(copied, 1));
    }
    return fmt::format("{}, around the runs: reads {:.1f} GB/s ({}), {}{} {:.0f} G multiply-adds/s ({})\n\n",
                       report.device ? "device" : "machine", reads.median, range_of(reads, 1), copies,
                       report.int8_instruction, int8.median, range_of(int8, 0));
}

Ceilings median_ceilings(const BenchReport& report) {
    const auto median = [&](double Ceilings::*member) { return ceiling_spread(report.measurements, member).median; };
    return {.read_gigabytes = median(&Ceilings::read_gigabytes),
            .int8_multiply_adds = median(&Ceilings::int8_multiply_adds),
            .copy_gigabytes = median(&Ceilings::copy_gigabytes)};
}

}  // namespace

std::string bench_as_table(const Engine& engine, const BenchReport& report) {
    const std::vector<Measurement>& measurements = report.measurements;
    std::string text = report.device ? device_as_text(*report.device) : std::string();
    text += fmt::format("{} ({}), {}, {}, arithmetic {}\n", engine.config().name, engine.config().architecture,
                        counted(engine.machine().threads, "thread", "threads"), isa_name(engine.machine().isa),
                        kArithmeticVersion);
    text += fmt::format("loaded in {:.3f} s: opened and planned {:.3f} s, weights {:.3f} s\n",
                        report.load.plan_seconds + report.load.weights_seconds, report.load.plan_seconds,
                        report.load.weights_seconds);
    text += ceilings_as_text(report);
    text += fmt::format("{:<32} {:>9} {:>20} {:>9} {:>7} {:>8} {:>9} {:>8} {:>8} {:>8}\n", "work", "tok/s",
                        "low .. high", "MB/tok", "GB/s", "of read", "MMA/tok", "+attn", "GMA/s", "of int8");
    for (const Measurement& one : measurements) text += measurement_row(one, report.shares_are_known());
    text += "\n";
    text += first_token_lines(measurements);
    if (report.device) {
        text += "\n" + steps_as_table(*report.device, median_ceilings(report));
    } else {
        text += cache_note(measurements);
    }
    text += kernels_as_text(engine.cpu_ops().kernels_used());
    return text;
}

Json bench_as_json(const Engine& engine, const BenchReport& report) {
    Json works = Json::array();
    for (const Measurement& one : report.measurements)
        works.push_back(measurement_as_json(one, report.shares_are_known()));
    const auto ceiling = [&](double Ceilings::*member) { return as_json(ceiling_spread(report.measurements, member)); };
    Json int8 = ceiling(&Ceilings::int8_multiply_adds);
    int8["instruction"] = report.int8_instruction;
    Json json = {
        {"model", engine.config().name},
        {"architecture", engine.config().architecture},
        {"threads", engine.machine().threads},
        {"isa", isa_name(engine.machine().isa)},
        {"arithmetic", kArithmeticVersion},
        {"device", engine.plan().device},
        {"load_seconds", report.load.plan_seconds + report.load.weights_seconds},
        {"load", {{"plan_seconds", report.load.plan_seconds}, {"weights_seconds", report.load.weights_seconds}}},
        {"machine",
         {{"read_gigabytes_per_second", ceiling(&Ceilings::read_gigabytes)},
          {"int8_giga_multiply_adds_per_second", std::move(int8)}}},
        {"measurements", std::move(works)},
        {"kernels", kernels_as_json(engine.cpu_ops().kernels_used())}};
    if (!report.device) return json;
    json["machine"]["copy_gigabytes_per_second"] = ceiling(&Ceilings::copy_gigabytes);
    json["accelerator"] = device_as_json(*report.device);
    json["steps"] = steps_as_json(*report.device, median_ceilings(report));
    return json;
}

std::string comparison_as_table(const CompareReport& report) {
    std::string text = fmt::format("a: {}\nb: {}\n\n{:<32} {:>10} {:>10} {:>8} {:>9} {:>18}\n", report.first,
                                   report.second, "work", "a tok/s", "b tok/s", "b / a", "of pairs", "low .. high");
    for (size_t i = 0; i < report.works.size(); ++i) {
        const PairedSpeeds& speeds = report.speeds[i];
        const Spread ratios = speeds.ratios();
        text += fmt::format("{:<32} {:>10.2f} {:>10.2f} {:>8.3f} {:>9.3f} {:>18}\n", describe(report.works[i]),
                            speeds.first_speed().median, speeds.second_speed().median, speeds.ratio_of_medians(),
                            ratios.median, range_of(ratios, 3));
    }
    return text;
}

Json comparison_as_json(const CompareReport& report) {
    Json works = Json::array();
    for (size_t i = 0; i < report.works.size(); ++i) {
        const Work& work = report.works[i];
        const PairedSpeeds& speeds = report.speeds[i];
        works.push_back({{"work", work_kind_name(work.kind)},
                         {"tokens", work.tokens},
                         {"sequences", work.sequences},
                         {"depth", work.depth},
                         {"a_tokens_per_second", as_json(speeds.first_speed())},
                         {"b_tokens_per_second", as_json(speeds.second_speed())},
                         {"ratio_of_medians", speeds.ratio_of_medians()},
                         {"ratio_of_pairs", as_json(speeds.ratios())},
                         {"a_runs", speeds.first},
                         {"b_runs", speeds.second}});
    }
    return {{"a", report.first}, {"b", report.second}, {"comparisons", std::move(works)}};
}

std::string kernels_as_text(std::span<const KernelUse> uses) {
    std::string text;
    for (const ShapeClass shape : {ShapeClass::many_tokens, ShapeClass::few_tokens, ShapeClass::one_token}) {
        // kernel -> verb -> formats
        std::map<std::string_view, std::map<std::string_view, std::string>> served;
        for (const KernelUse& use : uses) {
            if (use.shape != shape) continue;
            std::string& formats = served[use.kernel][use.verb];
            if (!use.format.empty()) formats += fmt::format(" {}", use.format);
        }
        if (served.empty()) continue;
        text += fmt::format("kernels, {} in a pass:\n", shape_class_name(shape));
        for (const auto& [kernel, verbs] : served) {
            std::string line;
            for (const auto& [verb, formats] : verbs)
                line += fmt::format("{}{}{}", line.empty() ? "" : ", ", verb, formats);
            text += fmt::format("  {:<16} {}\n", kernel, line);
        }
    }
    return text;
}

Json kernels_as_json(std::span<const KernelUse> uses) {
    Json kernels = Json::array();
    for (const KernelUse& use : uses) {
        kernels.push_back({{"verb", use.verb},
                           {"format", use.format},
                           {"shape", shape_class_name(use.shape)},
                           {"kernel", use.kernel}});
    }
    return kernels;
}

}  // namespace invar::app
