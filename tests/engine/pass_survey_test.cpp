// The survey of a pass: what calls of every architecture have is what the verb table says, a survey follows the batch,
// and what a backend lacks is an error that names it.
#include "engine/pass_survey.h"

#include <gtest/gtest.h>

#include <set>

#include "cpu/cpu_ops.h"
#include "engine/engine.h"
#include "engine/engine_settings.h"

namespace invar {
namespace {

std::vector<std::filesystem::path> goldens() {
    std::vector<std::filesystem::path> paths;
    for (const char* folder : {"/goldens", "/goldens_hf"}) {
        for (const auto& entry : std::filesystem::directory_iterator(std::string(INVAR_TEST_DATA) + folder))
            if (entry.path().extension() == ".gguf") paths.push_back(entry.path());
    }
    return paths;
}

Result<PlannedModel> planned_of(const std::filesystem::path& path) {
    const Result<Checkpoint> file = Checkpoint::open(path);
    CHECK(file.has_value(), "goldens open");
    return plan_model(*file, {.model = path, .threads = 1, .context = 32, .chunk = 16});
}

TEST(PassSurvey, CallsOfEveryArchitectureHaveTheFieldsThatTheVerbTableSays) {
    std::set<Verb> met;
    int64_t calls = 0, models = 0;
    for (const std::filesystem::path& path : goldens()) {
        const Result<PlannedModel> planned = planned_of(path);
        if (!planned) {  // goldens_hf has models of architectures that this program does not have
            EXPECT_NE(path.parent_path().filename(), "goldens") << planned.error().message;
            continue;
        }
        ++models;
        const Result<PassSurvey> survey = PassSurvey::of(planned->config, planned->plan, batch_of(3, 4, 2));
        ASSERT_TRUE(survey) << survey.error().message;
        for (const VerbCall& call : survey->calls()) {
            const VerbRow& row = row_of(call.verb);
            const std::string what = path.filename().string() + ": " + describe(call);
            EXPECT_EQ(row.reads(verb_field::x), call.x.rows() > 0) << what;
            const bool optional = call.verb == Verb::activate;  // without a gate it has no second operand
            EXPECT_TRUE(optional || row.reads(verb_field::x2) == (call.x2.rows() > 0)) << what;
            EXPECT_EQ(row.makes(verb_field::out), call.out.rows() > 0) << what;
            EXPECT_EQ(row.reads(verb_field::cache) || row.makes(verb_field::cache), call.cache_read != nullptr) << what;
            EXPECT_EQ(row.makes(verb_field::cache), call.cache != nullptr) << what;
            const bool slots = row.reads(verb_field::experts) || row.reads(verb_field::weights);
            EXPECT_EQ(slots || row.makes(verb_field::slots), call.slots.rows > 0) << what;
            const bool weight = call.weights() != nullptr || call.vector != nullptr;
            // Norms may have no weight; sinks, biases of routers and numbers of recurrences do not place their verbs.
            const bool places = row.placed_by == PlacedBy::weight;
            EXPECT_TRUE(call.verb == Verb::rms_norm || weight || !places) << what;
            EXPECT_TRUE(places || call.weights() == nullptr) << what;
            EXPECT_EQ(row.placed_by == PlacedBy::cache, call.cache_read != nullptr) << what;
            EXPECT_EQ(row.stages == StagesOf::result, row.makes(verb_field::out)) << what;
            EXPECT_GT(row.cost(call).activation_bytes, 0) << what;
            met.insert(call.verb);
            ++calls;
        }
    }
    for (const VerbRow& row : verbs())
        EXPECT_TRUE(met.contains(row.verb)) << row.name << " is called by no golden model";
    EXPECT_GT(models, 40);
    EXPECT_GT(calls, 2000);
}

TEST(PassSurvey, CostsFollowTheBatch) {
    const Result<PlannedModel> planned = planned_of(std::string(INVAR_TEST_DATA) + "/goldens/llama.gguf");
    ASSERT_TRUE(planned) << planned.error().message;
    Result<PassSurvey> survey = PassSurvey::of(planned->config, planned->plan, batch_of(0, 1, 1));
    ASSERT_TRUE(survey);
    const auto cache_bytes = [&] {
        int64_t bytes = 0;
        for (const VerbCall& call : survey->calls())
            if (call.verb == Verb::attention) bytes += cost_of(call.verb, call).cache_bytes;
        return bytes;
    };
    const int64_t one = cache_bytes();
    EXPECT_GT(one, 0);
    survey->batch().rows[0].position = 40;
    EXPECT_EQ(cache_bytes(), 41 * one);
}

TEST(VerbTable, NamesAreThoseOfTheEnumAndEachIsThere) {
    std::set<std::string_view> names;
    for (const VerbRow& row : verbs()) {
        names.insert(row.name);
        EXPECT_FALSE(row.law.empty()) << row.name;
        EXPECT_NE(row.results, 0) << row.name;
        EXPECT_EQ(verb_name(row.verb), row.name);
        EXPECT_TRUE(!row.in_place() || (row.reads(verb_field::x) && row.makes(verb_field::out))) << row.name;
    }
    EXPECT_EQ(names.size(), kVerbs);
    EXPECT_EQ(verb_name(Verb::activate), "activate");
    EXPECT_EQ(verb_name(Verb::gather_rows), "gather_rows");
}

TEST(VerbCall, IsDescribedByVerbPlaceFormatAndShape) {
    const WeightMatrix matrix{.id = {3, "query"}, .format = &format(FormatId::q4_k), .rows = 512, .columns = 256};
    const Tensor x(nullptr, Place::host, 8, 256, 256), y(nullptr, Place::host, 8, 512, 512);
    EXPECT_EQ(describe({.verb = Verb::linear, .stage = {3, "query"}, .x = x, .out = y, .matrix = &matrix}),
              "linear of layer 3 query, q4_k [512, 256], for 8 rows");
    const WeightStack stack{.first = matrix, .count = 4, .stride_bytes = 0};
    EXPECT_EQ(describe({.verb = Verb::expert_linear, .stage = {0, "expert_up"}, .x = x, .out = y, .stack = &stack}),
              "expert_linear of layer 0 expert_up, q4_k [4, 512, 256], for 8 rows");
    const Tensor row(nullptr, Place::host, 1, 256, 256);
    EXPECT_EQ(describe({.verb = Verb::add, .stage = {-1, "sum"}, .x = row, .x2 = row, .out = row}),
              "add of sum, width 256, for 1 row");
}

}  // namespace
}  // namespace invar
