// Verification of the demonstration models: every path equal, every stage of every path counted; and a path that is
// wrong in one ulp of one element is found at that element, with float64 on the other side.
#include "proof/verify/verify.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>

#include "base/json.h"
#include "files/gguf.h"
#include "make/quantize.h"
#include "proof/faults/faults.h"
#include "proof/report/html_report.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

const std::string kDenseBf16 = std::string(INVAR_MODELS) + "/demo-dense.gguf";

// The demonstration models in q4_k_m, which most users run: scalar products of bf16 would take most of the time.
class Verify : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        for (const char* name : {"demo-moe", "demo-dense"}) {
            const std::filesystem::path out =
                std::filesystem::temp_directory_path() / fmt::format("invar_verify_{}_{}.gguf", name, getpid());
            const Result<GgufFile> in = GgufFile::open(fmt::format("{}/{}.gguf", INVAR_MODELS, name));
            ASSERT_TRUE(in) << in.error().message;
            const Result<QuantizeReport> made = quantize(*in, {.mix = "q4_k_m"}, out);
            ASSERT_TRUE(made) << made.error().message;
            models_.push_back(out.string());
        }
    }
    static void TearDownTestSuite() {
        for (const std::string& model : models_) std::filesystem::remove(model);
        models_.clear();
    }
    static const std::string& moe() { return models_[0]; }
    static const std::string& dense() { return models_[1]; }

    static inline std::vector<std::string> models_;
};

VerifySettings settings_for(const std::string& model) {
    VerifySettings settings;
    settings.engine.model = model;
    settings.engine.threads = 2;
    settings.accuracy = false;
    return settings;
}

// Adds `ulps` to one element of one stage at one position.
class Nudge final : public VerbHook {
  public:
    Nudge(StageKey key, int64_t position, int64_t element, int ulps)
        : key_(std::move(key)), position_(position), element_(element), ulps_(ulps) {}
    void after(const VerbCall& call) override {
        if (call.stage.layer != key_.layer || call.stage.name != key_.name) return;
        for (int64_t i = 0; i < call.rows(); ++i) {
            if (call.row(i).position != position_) continue;
            float& value = call.out.host_row(i * call.slots_of_row())[element_];
            for (int step = 0; step < ulps_; ++step) value = std::nextafter(value, INFINITY);
        }
    }

  private:
    const StageKey key_;
    const int64_t position_, element_;
    const int ulps_;
};

TEST_F(Verify, EveryPathOfTheDemonstrationModelsIsEqual) {
    for (const std::string& model : {moe(), dense()}) {
        const Result<VerifyReport> report = verify(settings_for(model));
        ASSERT_TRUE(report) << report.error().message;
        EXPECT_TRUE(report->all_equal()) << verify_as_text(*report, true);
        EXPECT_EQ(report->totals().differing_values, 0);
        EXPECT_GT(report->totals().stages, 20000);
        EXPECT_EQ(report->probes.size(), 3u);
        EXPECT_TRUE(report->skipped_probes.empty());
        // What is skipped is named.
        for (const PathResult& path : report->paths) {
            EXPECT_EQ(path.status == PathStatus::skipped, !path.reason.empty()) << path.name;
            if (path.status == PathStatus::equal) EXPECT_GT(path.counts.stages, 0) << path.name;
        }
        printf("%s: %ld paths equal, %ld skipped, %ld stages, %ld values, %ld differ\n", report->model.c_str(),
               report->count(PathStatus::equal), report->count(PathStatus::skipped), report->totals().stages,
               report->totals().values, report->totals().differing_values);
    }
}

TEST_F(Verify, APathThatIsOutOfTimeRunsOneScheduleAndNamesTheOthers) {
    VerifySettings settings = settings_for(moe());
    settings.only = "avx2, 2 threads, repacked";
    settings.seconds_of_path = 1e-6;
    const Result<VerifyReport> report = verify(settings);
    ASSERT_TRUE(report) << report.error().message;
    int64_t equal = 0, late = 0;
    for (const PathResult& path : report->paths) {
        if (path.name != settings.only) continue;
        equal += path.status == PathStatus::equal && path.counts.values > 0 && path.positions == 6 ? 1 : 0;
        late += path.status == PathStatus::skipped && path.reason.starts_with("the schedules before took ") ? 1 : 0;
    }
    EXPECT_EQ(equal, 1);
    EXPECT_EQ(late, static_cast<int64_t>(schedules().size()) - 2);  // the first is what the others are compared with
    EXPECT_NE(verify_as_text(*report, false).find("(4 of 5 ways skipped: the schedules before took "),
              std::string::npos);
}

TEST_F(Verify, TheHashOfAllStagesIsOfTheComputedBitsAndOfNothingElse) {
    const auto hash_of = [&](const std::string& only, int threads) -> std::string {
        VerifySettings settings = settings_for(moe());
        settings.only = only;
        settings.engine.threads = threads;
        const Result<VerifyReport> report = verify(settings);
        EXPECT_TRUE(report) << report.error().message;
        if (!report) return "";
        EXPECT_NE(verify_as_text(*report, false).find("hash of all these stages: " + report->stages_hash + "\n"),
                  std::string::npos);
        EXPECT_EQ(verify_as_json(*report)["stages_hash"], report->stages_hash);
        EXPECT_NE(verify_as_html(*report).find("<code>" + report->stages_hash + "</code>"), std::string::npos);
        return report->stages_hash;
    };
    const std::string hash = hash_of("scalar*", 2);
    EXPECT_EQ(hash.size(), 37u);
    EXPECT_EQ(hash_of("avx2*", 1), hash);
}

// What of one row of a stage is changed, each alone, changes the hash of a book that has that row.
TEST(StageBookHash, DependsOnEveryBitOfAStageAndOnItsPlace) {
    const VerbCall call;
    std::vector<float> values = {1.0f, -0.0f, 3.5f};
    const auto hash_of = [&](StageKey key, int64_t position, const std::string& probe) {
        StageBook book;
        book.put(0, {.key = std::move(key), .call = &call, .position = position, .width = 3, .f32 = values.data()}, "");
        return book.hash({probe});
    };
    const StageKey key{2, "query", 1};
    const std::string hash = hash_of(key, 7, "chat");
    EXPECT_EQ(hash_of(key, 7, "chat"), hash);
    EXPECT_NE(hash_of(key, 8, "chat"), hash);
    EXPECT_NE(hash_of(key, 7, "chats"), hash);
    EXPECT_NE(hash_of({3, "query", 1}, 7, "chat"), hash);
    EXPECT_NE(hash_of({2, "queries", 1}, 7, "chat"), hash);
    EXPECT_NE(hash_of({2, "query", 2}, 7, "chat"), hash);
    for (size_t element = 0; element < values.size(); ++element) {
        for (uint32_t bit = 0; bit < 32; ++bit) {
            const float kept = values[element];
            values[element] = std::bit_cast<float>(std::bit_cast<uint32_t>(kept) ^ (uint32_t{1} << bit));
            EXPECT_NE(hash_of(key, 7, "chat"), hash) << element << ' ' << bit;
            values[element] = kept;
        }
    }
    EXPECT_EQ(hash_of(key, 7, "chat"), hash);
}

TEST_F(Verify, AnUlpIsFoundAtItsElementAndFloat64SupportsTheOtherSide) {
    int found = 0, supported = 0, cases = 0;
    for (const char* name : {"attention_norm", "query", "key_rope", "attention", "expert_gate", "expert_down",
                             "expert_sum", "residual_after_ffn"}) {
        for (const int layer : {cases % 2 == 0 ? 0 : 3}) {
            const StageKey key{layer, name, 1};
            const int64_t position = 20 + cases, element = 5 + cases;
            VerifySettings settings = settings_for(moe());
            settings.only = "avx2, 2 threads, as stored";
            settings.make_fault = [&](Engine&) -> Result<std::unique_ptr<VerbHook>> {
                return std::make_unique<Nudge>(key, position, element, 2000);
            };
            const Result<VerifyReport> report = verify(settings);
            ASSERT_TRUE(report) << report.error().message;
            ++cases;
            const PathResult* path = report->first_difference();
            ASSERT_NE(path, nullptr) << to_string(key);
            ASSERT_TRUE(path->first.has_value());
            EXPECT_EQ(path->first->key, key);
            EXPECT_EQ(path->first->position, position);
            EXPECT_EQ(path->first->element, element);
            EXPECT_EQ(path->first->differing, 1);
            found += path->first->key == key && path->first->element == element ? 1 : 0;
            ASSERT_TRUE(path->first->float64.has_value()) << to_string(key);
            // 2000 ulps are 1.2e-4 to 2.4e-4 of the value, more than binary32 sums of the same products lose.
            supported += supported_side(*path->first) == "expected" ? 1 : 0;
            EXPECT_NE(verify_as_text(*report, false).find(to_string(key)), std::string::npos);
        }
    }
    printf("found %d of %d, float64 supported the path that was right in %d\n", found, cases, supported);
    EXPECT_EQ(supported, cases);
}

TEST_F(Verify, AFaultWithoutAPlaceInTheModelIsAnErrorAndNoDifference) {
    const auto error_of = [&](const std::string& model, const std::string& fault) -> std::string {
        VerifySettings settings = settings_for(model);
        settings.only = "scalar, 2 threads, repacked";
        settings.make_fault = [&](Engine& engine) -> Result<std::unique_ptr<VerbHook>> {
            TRY_ASSIGN(std::unique_ptr<FaultHook> hook, make_fault(fault, engine.config(), engine.plan()));
            return hook;
        };
        const Result<VerifyReport> report = verify(settings);
        return report ? "no error" : report.error().message;
    };
    EXPECT_EQ(error_of(dense(), "lost_branch@layer=99"),
              "fault lost_branch: there is no layer 99; the model has layers 0 to 4");
    EXPECT_EQ(error_of(dense(), "wrong_expert").find("fault wrong_expert fits nowhere in this model; "), 0u);
}

TEST_F(Verify, ANaNIsADifferenceEvenWhereTheEngineStops) {
    class LateNaN final : public VerbHook {
      public:
        void after(const VerbCall& call) override {
            if (call.stage.layer == 2 && call.stage.name == "residual_after_ffn") {
                call.out.host_row(call.out.rows() - 1)[3] = NAN;
            }
        }
    };
    VerifySettings settings = settings_for(dense());
    settings.only = "scalar, 2 threads, repacked";
    settings.make_fault = [](Engine&) -> Result<std::unique_ptr<VerbHook>> { return std::make_unique<LateNaN>(); };
    const Result<VerifyReport> report = verify(settings);
    ASSERT_TRUE(report) << report.error().message;
    const PathResult* path = report->first_difference();
    ASSERT_NE(path, nullptr);
    ASSERT_TRUE(path->first.has_value());
    EXPECT_EQ(to_string(path->first->key), "layer.2.residual_after_ffn");
    EXPECT_EQ(path->first->element, 3);
    EXPECT_EQ(supported_side(*path->first), "expected");
}

TEST_F(Verify, AccuracyTellsTheShareOfQuantization) {
    VerifySettings settings = settings_for(kDenseBf16);  // bf16: no activation is quantised
    settings.accuracy = true;
    settings.only = "scalar, 2 threads, repacked";
    const Result<VerifyReport> report = verify(settings);
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_TRUE(report->accuracy.has_value());
    const AccuracyReport& accuracy = *report->accuracy;
    EXPECT_EQ(accuracy.covered_positions, accuracy.all_positions);
    EXPECT_EQ(accuracy.positions.size(), static_cast<size_t>(accuracy.all_positions));
    EXPECT_GT(accuracy.stages.size(), 50u);
    for (const StageAccuracy& stage : accuracy.stages) {
        EXPECT_EQ(stage.quantization, 0) << to_string(stage.key);
        EXPECT_LT(stage.relative_rms, 5e-3) << to_string(stage.key);  // an f16 cache rounds to 5e-4
    }
    EXPECT_LT(accuracy.mean_kl(), 1e-5);
    EXPECT_GE(accuracy.mean_kl(), 0);
}

}  // namespace
}  // namespace invar
