// The page of a verification: that it is well-formed, holds the numbers of the report, one cell for each path and
// schedule, nothing from a file unescaped, and nothing that would need a network. The reports are made up; the pages
// are left in the test's temporary folder for looking at.
#include "proof/report/html_report.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <regex>
#include <set>

#include "base/json.h"
#include "files/printable.h"
#include "proof/report/html_charts.h"
#include "proof/report/html_text.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

using std::string_literals::operator""s;

size_t occurrences(const std::string& text, std::string_view part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
    return count;
}

// Every tag closed, in order, attributes in double quotes, no stray '<'. What is wrong, or "".
std::string what_is_malformed(const std::string& html) {
    const std::set<std::string> lone = {"meta", "link", "br", "wbr"};
    const std::set<std::string> drawing = {"path", "rect", "circle"};
    std::vector<std::string> open;
    for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at)) {
        if (html.compare(at, 2, "<!") == 0) {
            at = html.find('>', at);
            continue;
        }
        std::smatch match;
        const std::string rest = html.substr(at, 4000);
        static const std::regex tag(R"re(<(/?)([a-z][a-z0-9]*)((?: [a-zA-Z:-]+(?:="[^"<]*")?)*)(/?)>)re");
        if (!std::regex_search(rest, match, tag, std::regex_constants::match_continuous)) {
            return "not a tag: " + rest.substr(0, 120);
        }
        at += static_cast<size_t>(match.length());
        const std::string name = match[2];
        if (match[1].length() > 0) {
            if (open.empty() || open.back() != name) {
                return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back()) + ": " + rest.substr(0, 80);
            }
            open.pop_back();
        } else if (match[4].length() > 0) {
            if (!drawing.contains(name)) return "<" + name + "/> is not closed by a slash in HTML";
        } else if (!lone.contains(name)) {
            open.push_back(name);
            if (name == "style" || name == "script") at = html.find("</" + name, at);
        }
    }
    return open.empty() ? "" : "never closed: " + open.back();
}

void expect_self_contained(const std::string& html) {
    for (const char* part : {"http:", "https:", "src=", "url(", "@import", "//", "<iframe", "<object"}) {
        EXPECT_EQ(occurrences(html, part), 0u) << part;
    }
    EXPECT_EQ(occurrences(html, "<link "), 1u);  // the empty icon, so that none is asked for
    EXPECT_EQ(occurrences(html, "href=\"data:,\""), 1u);
}

std::string page_of(const VerifyReport& report, const std::string& name) {
    std::string html = verify_as_html(report);
    EXPECT_EQ(what_is_malformed(html), "");
    EXPECT_TRUE(is_utf8(html));
    expect_self_contained(html);
    EXPECT_EQ(html, verify_as_html(report)) << "the same report, the same bytes";
    const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / ("invar_" + name + ".html");
    std::ofstream(file, std::ios::binary) << html;
    return html;
}

// ---- reports

struct Shape {
    int layers = 4;
    int experts = 0;  // 0: dense
    int64_t positions = 84;
};

const std::vector<std::string> kPaths = {"scalar, 1 thread, as stored",
                                         "scalar, 2 threads, as stored",
                                         "scalar, 2 threads, repacked",
                                         "avx2, 1 thread, repacked",
                                         "avx2, 2 threads, repacked",
                                         "avx2, 3 threads, repacked",
                                         "avx2, 2 threads, as stored",
                                         "avx512, 1 thread, repacked",
                                         "avx512, 2 threads, repacked",
                                         "avx512, 2 threads, repacked, kernel avx512_direct",
                                         "avx512, 2 threads, repacked, kernel avx512_tiles"};

StageAccuracy stage_accuracy(std::string name, int layer, double distance, std::mt19937& random) {
    std::uniform_real_distribution<double> noise(0.8, 1.25);
    StageAccuracy stage{.key = {.layer = layer, .name = std::move(name)}, .verb = "linear"};
    stage.relative_rms = distance * noise(random);
    stage.quantization = stage.relative_rms * 0.97;
    stage.rounding = stage.relative_rms * 2e-3 * noise(random);
    stage.worst = stage.relative_rms * 6 * noise(random);
    stage.worst_probe = "random tokens";
    stage.worst_position = static_cast<int64_t>(random() % 84);
    stage.worst_element = static_cast<int64_t>(random() % 4096);
    stage.worst_reference = noise(random) - 1;
    stage.worst_value = stage.worst_reference + stage.worst * 0.1;
    return stage;
}

AccuracyReport accuracy_of(const Shape& shape, std::mt19937& random) {
    AccuracyReport accuracy{.seconds = 12.5, .covered_positions = 150, .all_positions = 175};
    const auto add = [&](const char* name, int layer, double distance) {
        accuracy.stages.push_back(stage_accuracy(name, layer, distance, random));
    };
    add("embedding", -1, 0);
    for (int layer = 0; layer < shape.layers; ++layer) {
        const double grown = 2e-3 * std::sqrt(layer + 1.0);
        for (const char* name :
             {"attention_norm", "query", "key", "value", "query_norm", "key_norm", "query_rope", "key_rope",
              "key_stored", "value_stored", "attention", "attention_output", "residual_after_attention", "ffn_norm"}) {
            add(name, layer, grown * (std::string_view(name) == "attention_output" ? 2.5 : 1));
        }
        if (shape.experts > 0) {
            for (const char* name : {"router", "router_probabilities", "expert_weights", "routing_margin"}) {
                add(name, layer, grown * 0.7);
            }
            StageAccuracy ids = stage_accuracy("expert_ids", layer, 0, random);
            ids.integers = 1400;
            ids.integers_equal = 1400 - static_cast<int64_t>(random() % 40);
            accuracy.stages.push_back(ids);
            for (const char* name : {"expert_gate", "expert_up", "expert_activation", "expert_down", "expert_sum"}) {
                add(name, layer, grown * 3);
            }
        } else {
            for (const char* name : {"gate", "up", "activation", "down"}) add(name, layer, grown * 2);
        }
        add("residual_after_ffn", layer, grown * 1.1);
    }
    add("final_norm", -1, 0.02);
    add("logits", -1, 0.03);
    std::lognormal_distribution<double> divergence(-11, 2);
    for (const auto& [probe, positions] : {std::pair<const char*, int64_t>{"chat", 23},
                                           {"random tokens", shape.positions},
                                           {"decode across a page", 68}}) {
        for (int64_t position = 0; position < positions; ++position) {
            const double kl = divergence(random);
            accuracy.positions.push_back(
                {.probe = probe, .position = position, .kl = kl, .same_first = kl < 6e-4, .first_margin = 2e-5 / kl});
        }
    }
    std::lognormal_distribution<double> margins(-4, 1.6);
    for (int i = 0; i < (shape.experts > 0 ? 175 * shape.layers : 0); ++i) {
        accuracy.routing_margins.push_back(std::min(0.9, margins(random)));
    }
    return accuracy;
}

VerifyReport report_of(const Shape& shape) {
    std::mt19937 random(7);
    VerifyReport report{.model = shape.experts > 0 ? "Made-up 30B A3B" : "Made-up 0.6B",
                        .architecture = shape.experts > 0 ? "qwen3moe" : "qwen3",
                        .file_hash = "xxh3:a72ac520ffbc12cd994fbadc444529f1",
                        .file = "made-up-q4_k_m.gguf",
                        .file_bytes = 18556686912,
                        .layers = shape.layers,
                        .arithmetic_version = 1,
                        .cache_type = "f16",
                        .compared_with = "scalar, 1 thread, as stored, whole prompt",
                        .probes = {{"chat", 23}, {"random tokens", shape.positions}, {"decode across a page", 68}},
                        .probe_tokens = {{5, 6}, std::vector<int32_t>(84, 7), {}},
                        .reference_stages = 18200,
                        .seconds = 48.25};
    for (size_t i = 0; i < kPaths.size(); ++i) {
        const std::vector<Schedule> all = schedules();
        const size_t count = i < 2 || i == 4 || i == 8 ? all.size() : 3;
        for (size_t j = i == 0 ? 1 : 0; j < count; ++j) {
            report.paths.push_back({.name = kPaths[i],
                                    .schedule = all[j].name,
                                    .flags = fmt::format("--made-up {}", i),
                                    .positions = i < 2 ? 57 : 175,
                                    .all_positions = 175,
                                    .counts = {.stages = 17693, .values = 3824780},
                                    .seconds = 0.25});
        }
    }
    report.paths.push_back({.name = "cuda",
                            .status = PathStatus::skipped,
                            .reason = "this build has no CUDA backend",
                            .all_positions = 175});
    report.accuracy = accuracy_of(shape, random);
    const Json plan = {
        {"context", 4096},
        {"chunk", 512},
        {"totals",
         {{"alias", {{"entries", 1}, {"bytes", 0}}},
          {"f32 binary32", {{"entries", 97}, {"bytes", 811008}}},
          {"q4_k rows4", {{"entries", 211}, {"bytes", 342884352}}},
          {"q6_k as_stored", {{"entries", 29}, {"bytes", 127680512}}}}},
        {"reserves",
         {{{"name", "kv_cache"}, {"bytes", 117440512}, {"reason", "64 pages of 64 positions in f16"}},
          {{"name", "scratch"}, {"bytes", 38585344}, {"reason", "activations of a pass of 512 tokens"}}}},
        {"notes", {"rope.dimension_count is absent; the whole head of 128 rotates"}}};
    report.plan = std::make_shared<const Json>(plan);
    return report;
}

StageDifference difference() {
    return {.key = {.layer = 12, .name = "expert_down"},
            .verb = "expert_linear",
            .expected_kernel = "scalar",
            .kernel = "avx512_tiles",
            .probe = "random tokens",
            .position = 61,
            .element = 1733,
            .differing = 12,
            .expected_bits = std::bit_cast<uint32_t>(0.15625f),
            .bits = std::bit_cast<uint32_t>(0.15625f) + 3,
            .expected = 0.15625,
            .value = std::bit_cast<float>(std::bit_cast<uint32_t>(0.15625f) + 3),
            .float64 = 0.15625001};
}

void make_different(PathResult& path) {
    path.status = PathStatus::different;
    path.counts.differing_stages = 4321;
    path.counts.differing_values = 1234567;
    path.first = difference();
}

// ---- tests

TEST(HtmlReport, SaysEqualWithItsNumbers) {
    const VerifyReport report = report_of({.layers = 48, .experts = 128});
    const std::string html = page_of(report, "equal_moe_48");
    const BookCounts totals = report.totals();
    const size_t ran = report.paths.size() - 1;
    EXPECT_EQ(totals.stages, static_cast<int64_t>(17693 * ran));
    EXPECT_NE(html.find("</span>EQUAL</p>"), std::string::npos);
    EXPECT_NE(html.find(fmt::format("{} stage comparisons in {} runs of {} paths: not one of {} values",
                                    thousands(totals.stages), ran, kPaths.size(), thousands(totals.values))),
              std::string::npos);
    EXPECT_NE(html.find(report.file_hash), std::string::npos);
    EXPECT_NE(html.find("<b>cuda</b>: this build has no CUDA backend"), std::string::npos) << "skipped is named";
    EXPECT_EQ(html.find("id=\"first\""), std::string::npos);
    EXPECT_EQ(html.find("DIFFERENT"), std::string::npos);
}

TEST(HtmlReport, HasOneCellForEachPathAndSchedule) {
    VerifyReport report = report_of({});
    make_different(report.paths[20]);
    const std::string html = page_of(report, "matrix");
    const size_t begin = html.find("<table class=\"matrix\">"), end = html.find("</table>", begin);
    const std::string matrix = html.substr(begin, end - begin);
    const size_t columns = schedules().size();
    EXPECT_EQ(occurrences(matrix, "<tr>"), 1 + kPaths.size() + 1);
    EXPECT_EQ(occurrences(matrix, "<td "), kPaths.size() * columns + 1);
    const size_t ran = report.paths.size() - 1;  // all but cuda
    EXPECT_EQ(occurrences(matrix, "<td class=\"equal"), ran - 1);
    EXPECT_EQ(occurrences(matrix, "<td class=\"equal part\""), 5u + 6u) << "57 of 175 positions is not all";
    EXPECT_EQ(occurrences(matrix, "<td class=\"different\""), 1u);
    EXPECT_EQ(occurrences(matrix, "<td class=\"base\""), 1u);
    EXPECT_EQ(occurrences(matrix, "<td class=\"idle\""), kPaths.size() * columns - ran - 1);
    EXPECT_EQ(occurrences(matrix, "<td class=\"skipped whole\""), 1u);
    EXPECT_NE(matrix.find("175 of 175 positions, 17,693 stages, 3,824,780 values, 1,234,567 differing"),
              std::string::npos);
}

TEST(HtmlReport, ShowsTheFirstDifferenceWithBothValuesAndWhomFloat64Supports) {
    VerifyReport report = report_of({.layers = 48, .experts = 128});
    for (size_t i = report.paths.size() - 4; i + 1 < report.paths.size(); ++i) make_different(report.paths[i]);
    const std::string html = page_of(report, "different_moe_48");
    EXPECT_NE(html.find("</span>DIFFERENT</p>"), std::string::npos);
    const size_t begin = html.find("id=\"first\""), end = html.find("</section>", begin);
    ASSERT_NE(begin, std::string::npos);
    const std::string box = html.substr(begin, end - begin);
    for (const char* part :
         {"expert_down", "<dd>12</dd>", "expert_linear", "random tokens", "<dd>61</dd>", "<dd>1,733</dd>", "12 values",
          "0x3e200000", "0x3e200003", "0.15625<", "0.156250045", "<code>scalar</code>", "<code>avx512_tiles</code>",
          "0.15625001</b>: it supports <b>expected</b>", "3 steps of binary32 apart", "2 more runs are not equal",
          "invar trace record made-up-q4_k_m.gguf --out expected.safetensors --made-up 0 --tokens 7,7",
          "invar trace replay made-up-q4_k_m.gguf expected.safetensors --made-up 10 --chunk 512</pre>"}) {
        EXPECT_NE(box.find(part), std::string::npos) << part;
    }
    EXPECT_EQ(occurrences(box, "float64 supports this"), 1u);
    EXPECT_EQ(occurrences(box, "7,"), 61u) << "the tokens of positions 0 to 61";
    // Two bits differ; they are marked on both sides.
    EXPECT_EQ(occurrences(box, "<b>0</b>") + occurrences(box, "<b>1</b>"), 4u);
}

TEST(HtmlReport, SaysThatAFaultWasInjected) {
    VerifyReport report = report_of({});
    make_different(report.paths[9]);
    EXPECT_EQ(page_of(report, "not_injected").find("--inject"), std::string::npos);
    report.injected = "wrong_expert@layer=2";
    const std::string html = page_of(report, "injected");
    EXPECT_NE(html.find("A fault was injected on purpose: <code>--inject wrong_expert@layer=2</code>"),
              std::string::npos);
    EXPECT_NE(html.find("--inject wrong_expert@layer=2</pre>"), std::string::npos);
}

TEST(HtmlReport, CountsAFailedPathAsNotEqualAndNothingComparedAsNotPassed) {
    VerifyReport report = report_of({});
    report.paths[3].status = PathStatus::failed;
    report.paths[3].reason = "layer.2.query of probe 'chat' was never computed on this path";
    const std::string failed = page_of(report, "failed");
    EXPECT_NE(failed.find("</span>FAILED</p>"), std::string::npos);
    EXPECT_NE(failed.find("layer.2.query of probe &#39;chat&#39; was never computed"), std::string::npos);
    report.paths = {report.paths.back()};
    const std::string nothing = page_of(report, "nothing_compared");
    EXPECT_NE(nothing.find("</span>NOT COMPARED</p>"), std::string::npos);
    EXPECT_EQ(nothing.find("</span>EQUAL</p>"), std::string::npos);
}

TEST(HtmlReport, MapsEveryStageOfEveryLayer) {
    const Shape shape{.layers = 48, .experts = 128};
    const VerifyReport report = report_of(shape);
    const std::string html = page_of(report, "heat");
    size_t floats = 0, layered_names = 0;
    std::set<std::string> names;
    for (const StageAccuracy& stage : report.accuracy->stages) {
        if (stage.integers > 0) continue;
        ++floats;
        if (stage.key.layer >= 0) layered_names += names.insert(stage.key.name).second ? 1 : 0;
    }
    EXPECT_EQ(floats, 3 + 48 * 24u);
    EXPECT_EQ(occurrences(html, "data-steps="), floats);
    EXPECT_EQ(occurrences(html, "class=\"line total\""), layered_names);
    EXPECT_EQ(occurrences(html, "class=\"line quant\""), layered_names);
    EXPECT_EQ(occurrences(html, "class=\"line round\""), layered_names);
    EXPECT_NE(html.find(fmt::format("layer.17.attention_output: distance {}",
                                    scientific(report.accuracy->stages[1 + 17 * 25 + 11].relative_rms))),
              std::string::npos);
    EXPECT_EQ(report.accuracy->stages[1 + 17 * 25 + 11].key.name, "attention_output");
    for (int step = 0; step < 12; ++step) {
        EXPECT_GE(occurrences(html, fmt::format("<td class=\"h{}\"", step)), 1u) << "every colour is in use";
    }
}

TEST(HtmlReport, DrawsABarForEveryPositionAndMarksOtherFirstChoices) {
    VerifyReport report = report_of({});
    const std::string html = page_of(report, "dense_4");
    const auto others =
        static_cast<size_t>(std::count_if(report.accuracy->positions.begin(), report.accuracy->positions.end(),
                                          [](const auto& one) { return !one.same_first; }));
    ASSERT_GT(others, 0u);
    EXPECT_EQ(report.accuracy->positions.size(), 175u);
    EXPECT_EQ(occurrences(html, "class=\"bar"), 175u) << "dense: no other bars";
    EXPECT_EQ(occurrences(html, "class=\"bar mark\""), others);
    EXPECT_NE(html.find(fmt::format("{} of 175 positions", 175 - others)), std::string::npos);
    EXPECT_EQ(html.find("id=\"routing\""), std::string::npos);
    // A long probe has the worst of each few positions, none of them lost.
    report.accuracy->positions.assign(1000, {.probe = "long", .kl = 1e-6});
    report.accuracy->positions[701].kl = 0.5;
    report.accuracy->positions[701].position = 701;
    const std::string folded = page_of(report, "long_probe");
    EXPECT_EQ(occurrences(folded, "class=\"bar"), 143u);
    EXPECT_NE(folded.find("position 701: 5.0e-1 nats"), std::string::npos);
}

TEST(HtmlReport, CountsRoutingMarginsNearTiesAndAgreement) {
    VerifyReport report = report_of({.layers = 4, .experts = 8});
    report.accuracy->routing_margins = {0, 2e-4, 0.9e-3, 2e-3, 0.5, 0.5};
    int64_t all = 0, equal = 0;
    for (const StageAccuracy& stage : report.accuracy->stages) {
        all += stage.integers;
        equal += stage.integers_equal;
    }
    const std::string html = page_of(report, "moe_4");
    EXPECT_NE(html.find("6 routed rows, 3 near a tie"), std::string::npos);
    EXPECT_NE(html.find("margin 4.6e-1 to 1.0e0: 2 rows"), std::string::npos);
    EXPECT_NE(html.find(fmt::format("{} of {} agree", thousands(equal), thousands(all))), std::string::npos);
}

TEST(HtmlReport, ListsTheTenWorstElementsFarthestFirst) {
    VerifyReport report = report_of({.layers = 48});
    report.accuracy->stages[100].worst = 140;
    report.accuracy->stages[100].worst_value = -141.5;
    report.accuracy->stages[200].worst = std::numeric_limits<double>::quiet_NaN();
    report.accuracy->stages[200].relative_rms = std::numeric_limits<double>::quiet_NaN();
    const std::string html = page_of(report, "dense_48_nan");
    const std::string table = html.substr(html.find("id=\"worst\""));
    EXPECT_EQ(occurrences(table.substr(0, table.find("</section>")), "data-label=\"stage\""), 10u);
    EXPECT_LT(table.find("not a number"), table.find("-141.5")) << "what is not finite comes first";
    EXPECT_NE(table.find("-141.5"), std::string::npos);
    EXPECT_EQ(occurrences(html, "<td class=\"bad\""), 1u);
}

TEST(HtmlReport, ShowsThePlanInShares) {
    const std::string html = page_of(report_of({}), "plan");
    // 342884352 of 811008 + 342884352 + 127680512 + 117440512 + 38585344 = 627401728 bytes
    EXPECT_NE(html.find("weights, q4_k rows4</td><td class=\"n\" data-label=\"size\">327.00 MiB</td><td class=\"n\" "
                        "data-label=\"share\">54.7&nbsp;%"),
              std::string::npos);
    EXPECT_NE(html.find("598.34 MiB"), std::string::npos);
    EXPECT_EQ(occurrences(html, "style=\"flex-grow:"), 5u) << "the alias takes no room in the bar";
}

TEST(HtmlReport, EscapesWhatAFileCanSay) {
    const std::string script = "<script>alert(1)</script>", bytes = "\xff\xfe\x80 \" ' & \x1b[31m"s + '\0';
    VerifyReport report = report_of({.layers = 4, .experts = 8});
    report.model = script + bytes;
    report.architecture = report.file = report.file_hash = report.cache_type = report.compared_with = report.model;
    report.skipped_probes = {"chat probe: " + report.model};
    for (auto& [probe, positions] : report.probes) probe = report.model;
    for (PathResult& path : report.paths) {
        path.reason = report.model;
        path.name += script;
        path.schedule += path.status == PathStatus::skipped ? "" : script;
    }
    make_different(report.paths[2]);
    StageDifference& first = *report.paths[2].first;
    first.key.name = first.verb = first.kernel = first.expected_kernel = first.probe = report.model;
    for (StageAccuracy& stage : report.accuracy->stages) {
        stage.key.name += script;
        stage.worst_probe = report.model;
    }
    for (PositionAccuracy& position : report.accuracy->positions) position.probe += bytes + script;
    Json plan = *report.plan;
    plan["notes"] = {report.model};
    plan["reserves"] = {{{"name", report.model}, {"bytes", 5000000}, {"reason", report.model}}};
    plan["totals"][report.model] = {{"entries", 1}, {"bytes", 7000000}};
    report.plan = std::make_shared<const Json>(plan);
    const std::string html = page_of(report, "hostile");
    EXPECT_EQ(occurrences(html, "<script"), 1u) << "its own";
    EXPECT_GT(occurrences(html, "&lt;script&gt;alert(1)&lt;/script&gt;"), 300u);
    EXPECT_NE(html.find("\\xff\\xfe\\x80 &quot; &#39; &amp; \\x1b[31m\\x00"), std::string::npos);
    for (const char byte : {'\0', '\x1b', '\x7f'}) EXPECT_EQ(html.find(byte), std::string::npos);
    report.model = std::string(1 << 20, 'w');
    EXPECT_LT(verify_as_html(report).size(), html.size() + 1000) << "a name of a mebibyte is cut";
}

TEST(HtmlReport, IsWholeWithNothingToShow) {
    const std::string html = page_of(VerifyReport{}, "empty");
    EXPECT_NE(html.find("NOT COMPARED"), std::string::npos);
    VerifyReport report = report_of({});
    report.accuracy.reset();
    report.no_accuracy = "not asked for";
    report.plan = nullptr;
    EXPECT_NE(page_of(report, "no_accuracy").find("<b>distance to float64</b>: not asked for"), std::string::npos);
    report.accuracy = AccuracyReport{};
    page_of(report, "empty_accuracy");
}

TEST(HtmlText, WritesNumbersForReaders) {
    EXPECT_EQ(scientific(0.0021), "2.1e-3");
    EXPECT_EQ(scientific(9.96e-7), "1.0e-6");
    EXPECT_EQ(scientific(0), "0");
    EXPECT_EQ(scientific(std::numeric_limits<double>::quiet_NaN()), "not a number");
    EXPECT_EQ(scientific_html(2.1e-5), "2.1&nbsp;×&nbsp;10<sup>−5</sup>");
    EXPECT_EQ(scientific_html(140), "140");
    EXPECT_EQ(scientific_html(0.03), "0.0300");
    EXPECT_EQ(percent(0.99999), "99.99&nbsp;%");
    EXPECT_EQ(percent(1), "100&nbsp;%");
    EXPECT_EQ(mebibytes(3 << 19), "1.50 MiB");
}

TEST(HtmlText, QuotesForAShell) {
    EXPECT_EQ(shell_word("demo-moe.gguf"), "demo-moe.gguf");
    EXPECT_EQ(shell_word("my model.gguf"), "'my model.gguf'");
    EXPECT_EQ(shell_word("a'$(b)"), "'a'\\''$(b)'");
    EXPECT_EQ(shell_word("-rf"), "./-rf");
}

TEST(HtmlCharts, AxesHoldEveryValueBetweenWholeDecades) {
    LogAxis axis;
    for (const double value : {3e-5, 2e-2, 0.0, std::numeric_limits<double>::infinity()}) axis.see(value);
    EXPECT_EQ(axis.low(), -5);
    EXPECT_EQ(axis.high(), -1);
    EXPECT_DOUBLE_EQ(axis.place(1e-3), 0.5);
    EXPECT_EQ(axis.place(0), 0);
    EXPECT_EQ(axis.place(std::numeric_limits<double>::quiet_NaN()), 1);
    EXPECT_EQ(decade_ticks(axis).size(), 5u);
    axis.see(1e-11);
    EXPECT_EQ(axis.low(), -6) << "five decades at most";
    EXPECT_EQ(axis.place(1e-11), 0);
    double most = 37;
    const std::vector<Tick> ticks = linear_ticks(most, "");
    EXPECT_EQ(most, 40);
    EXPECT_EQ(ticks.back().label, "40");
    EXPECT_EQ(ticks.size(), 5u);
}

}  // namespace
}  // namespace invar
