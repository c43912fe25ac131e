// The sentences of a comparison: what is said first where several things differ, and how the verbs are listed.
#include "proof/diff/diff_verdict.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"

namespace invar {
namespace {

// Three weights that correspond, the first two equal to the bit. Not to be copied: distances point into the match.
struct Made {
    CheckpointDiff diff;

    Made() {
        for (const char* role : {"query", "key", "ffn_norm"}) {
            diff.match.pairs.push_back({.id = {1, role}});
            diff.match.pairs.back().b.name = fmt::format("blk.1.{}.weight", role);
        }
        for (const MatchedTensor& pair : diff.match.pairs)
            diff.tensors.push_back({.pair = &pair, .equal_bits = pair.id.role != "ffn_norm"});
    }
    Made(const Made&) = delete;
    Made& operator=(const Made&) = delete;

    std::string verdict() const { return verdict_of(diff); }
};

VerbDistance distance(StageKey stage, const char* verb, double relative_rms, double explained) {
    VerbDistance one;
    one.stage = std::move(stage);
    one.verb = verb;
    one.relative_rms = relative_rms;
    one.explained = explained;
    return one;
}

VerbReport verbs() {
    VerbReport report;
    report.positions = 7;
    report.verbs.push_back(distance({0, "query"}, "linear", 0.01, 0.02));
    report.verbs.push_back(distance({0, "attention"}, "attention", 0, 0));
    report.verbs.push_back(distance({1, "query"}, "linear", 0.03, 0.05));
    report.verbs.push_back(distance({1, "ffn_norm"}, "rms_norm", 0.5, 1e-5));
    report.verbs.back().suspicious = true;
    report.verbs.back().weight = WeightId{1, "ffn_norm"};
    return report;
}

TEST(DiffVerdict, OfTheSameModelSaysHowManyTensorsAreEqualToTheBit) {
    Made made;
    EXPECT_EQ(made.verdict(),
              "the same model: 3 tensors correspond, 2 of them to the bit, and the formats explain every distance");
    made.diff.verbs = verbs();
    made.diff.verbs->verbs.pop_back();
    EXPECT_EQ(made.verdict(),
              "the same model: 3 tensors correspond, 2 of them to the bit, and the formats explain every distance, "
              "also those of all 3 stages of a run");
}

TEST(DiffVerdict, NeedsEqualTensorsAndEqualRunsToCallTwoModelsEqualToTheBit) {
    Made made;
    made.diff.drift = DriftReport{.positions = {{.equal_bits = true}, {.equal_bits = true}}};
    const std::string some =
        "the same model: 3 tensors correspond, 2 of them to the bit, and the formats explain every distance";
    EXPECT_EQ(made.verdict(), some);
    made.diff.tensors[2].equal_bits = true;
    EXPECT_EQ(made.verdict(), "the same model: all 3 tensors and all logits of 2 tokens are equal to the bit");
    made.diff.drift->logits = false;
    EXPECT_EQ(made.verdict(),
              "the same model: all 3 tensors and all residual streams of 2 tokens are equal to the bit");
    made.diff.drift->positions[1].equal_bits = false;
    EXPECT_EQ(made.verdict(),
              "the same model: 3 tensors correspond, 3 of them to the bit, and the formats explain every distance");
    made.diff.drift.reset();
    EXPECT_EQ(made.verdict().find("equal to the bit"), std::string::npos);
}

TEST(DiffVerdict, NamesHyperparametersBeforeTensorsBeforeWeightsBeforeVerbs) {
    Made made;
    made.diff.verbs = verbs();
    made.diff.verbs->first = 3;
    const std::string verb =
        "not the same model: layer.1.ffn_norm (rms_norm) is the first verb that is wrong in B: on the inputs it had "
        "in A, its result is 0.5 off, where 1e-05 is explained";
    EXPECT_EQ(made.verdict(), verb);
    // A suspicious verb is no finding of its own beside others: its weight is the finding.
    made.diff.tensors[2].suspicions = {"A is B plus 1", "another"};
    EXPECT_EQ(made.verdict(), "not the same model: layer 1 ffn_norm (blk.1.ffn_norm.weight): A is B plus 1");
    made.diff.match.extra = {"an extra tensor"};
    EXPECT_EQ(made.verdict(), "not the same model: an extra tensor (the first of 2 findings)");
    made.diff.match.missing = {"a missing tensor", "another"};
    EXPECT_EQ(made.verdict(), "not the same model: a missing tensor (the first of 4 findings)");
    made.diff.match.hyperparameters = {"another base"};
    EXPECT_EQ(made.verdict(), "not the same model: another base (the first of 5 findings)");
}

TEST(DiffVerdict, NamesTheCauseOfAWrongVerbAndTheSideThatHasIt) {
    Made made;
    made.diff.verbs = verbs();
    VerbReport& report = *made.diff.verbs;
    report.first = 3;
    report.verbs[3].relative_rms = INFINITY;
    const std::string start =
        "not the same model: layer.1.ffn_norm (rms_norm) is the first verb that is wrong in B: on the inputs it had "
        "in A, its result is infinitely off, where 1e-05 is explained; likely cause: ";
    report.cause = LikelyCause{.fault = "norm_offset", .meaning = "1 is added", .exact = true};
    EXPECT_EQ(made.verdict(), start + "A computes as if 1 is added (fault norm_offset gives exactly these bits)");
    report.injected = "norm_offset@layer=1";
    report.cause->exact = false;
    report.cause->distance = 0.0123;
    EXPECT_EQ(made.verdict(), start + "B computes as if 1 is added (fault norm_offset comes within 0.012 of it)");
    report.weight_suspicion = "A is B plus 1";  // what the weight shows is no guess
    EXPECT_EQ(made.verdict(), start + "layer 1 ffn_norm: A is B plus 1");
    report.verbs[3].weight.reset();
    EXPECT_EQ(made.verdict(), start + "its weight: A is B plus 1");
}

TEST(DiffVerdict, ListsTheLayerThatIsFarthestBeyondWhatIsExplained) {
    VerbReport report = verbs();
    EXPECT_EQ(verbs_as_text(report),
              "\neach verb of B on the inputs it had in A, 7 tokens: rms(A - B) / rms(A)\n"
              "  farthest of each stage       layer   distance  explained\n"
              "  query                        0           0.01       0.02\n"
              "  ffn_norm                     1            0.5      1e-05   <- wrong\n"
              "  the other 1 stages of 4 are equal to the bit\n");
    // Layer 1 is now 0.001 beyond, layer 0 still 0.01 within.
    report.verbs[2].explained = 0.029;
    report.verbs[3].stage = {-1, "output_norm"};
    EXPECT_EQ(verbs_as_text(report),
              "\neach verb of B on the inputs it had in A, 7 tokens: rms(A - B) / rms(A)\n"
              "  farthest of each stage       layer   distance  explained\n"
              "  query                        1           0.03      0.029\n"
              "  output_norm                  -            0.5      1e-05   <- wrong\n"
              "  the other 1 stages of 4 are equal to the bit\n");
    for (VerbDistance& verb : report.verbs) verb.relative_rms = 0;
    EXPECT_EQ(verbs_as_text(report),
              "\neach verb of B on the inputs it had in A, 7 tokens: rms(A - B) / rms(A)\n"
              "  all 4 stages are equal to the bit\n");
}

TEST(DiffVerdict, WritesNoNumberThatJsonLacks) {
    VerbReport report = verbs();
    Json json = verbs_as_json(report);
    EXPECT_EQ(json["positions"], 7);
    EXPECT_EQ(json["stages"].size(), 4u);
    EXPECT_TRUE(json["first"].is_null());
    EXPECT_FALSE(json.contains("cause") || json.contains("injected"));
    EXPECT_EQ(json["stages"][2], (Json{{"stage", "layer.1.query"},
                                       {"verb", "linear"},
                                       {"relative_rms", 0.03},
                                       {"explained", 0.05},
                                       {"suspicious", false}}));
    report.first = 3;
    report.verbs[3].relative_rms = INFINITY;
    report.injected = "norm_offset";
    report.cause = LikelyCause{.fault = "norm_offset", .meaning = "1 is added", .distance = 0.25};
    json = verbs_as_json(report);
    EXPECT_EQ(json["first"], "layer.1.ffn_norm");
    EXPECT_TRUE(json["stages"][3]["relative_rms"].is_null());
    EXPECT_EQ(json["injected"], "norm_offset");
    EXPECT_EQ(json["cause"],
              (Json{{"fault", "norm_offset"}, {"meaning", "1 is added"}, {"exact", false}, {"distance", 0.25}}));
}

}  // namespace
}  // namespace invar
