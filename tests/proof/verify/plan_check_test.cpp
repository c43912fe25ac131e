// The check of a plan holds for sound models and says what is different where something is: a plan that was changed, a
// loaded bit that was flipped, memory that nobody planned.
#include "proof/verify/plan_check.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/json.h"
#include "engine/engine_settings.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // the sanitizer's own memory is not the model's
#else
constexpr bool kSanitized = false;
#endif

std::unique_ptr<Engine> load(const TinyModel& model, FormRequest form) {
    const std::filesystem::path path = model.write("plan_check.gguf");
    std::unique_ptr<Engine> engine =
        Engine::open({.model = path, .threads = 1, .chunk = 16, .form = form}, nullptr).value();
    std::filesystem::remove(path);  // the mapping keeps its bytes
    return engine;
}

int64_t differing(const std::vector<EntryCheck>& checks) { return PlanCheck{.entries = checks}.differences(); }

TEST(PlanCheck, FindsEveryFormatLoadedAsPlanned) {
    size_t entries = 0;
    for (const Format* format : formats()) {
        if (!format->in_gguf()) continue;  // the model is a GGUF file
        for (const FormRequest form : {FormRequest::automatic, FormRequest::as_stored}) {
            TinyModel model = tiny("qwen3moe");
            model.layers = 1;
            model.experts = 2;
            model.matrix_format = format->id;
            const auto loaded = load(model, form);
            const Engine& engine = *loaded;
            const auto checks = check_entries(engine.plan(), engine.weights());
            EXPECT_EQ(checks.size(), engine.plan().entries.size());
            EXPECT_EQ(differing(checks), 0) << format->name;
            for (const EntryCheck& check : checks) EXPECT_EQ(check.source_hash.size(), 37u) << check.weight;
            entries += checks.size();
        }
    }
    std::printf("[plan check] %zu entries of every format in two forms equal their plan and their source\n", entries);
}

TEST(PlanCheck, NamesAChangedPlan) {
    TinyModel model = tiny("qwen3");
    model.matrix_format = FormatId::q8_0;
    const auto loaded = load(model, FormRequest::as_stored);
    const Engine& engine = *loaded;
    const auto changed = [&](auto&& change) {
        WeightPlan plan = engine.plan();
        change(plan.entries[5]);
        const auto checks = check_entries(plan, engine.weights());
        EXPECT_EQ(differing(checks), 1);
        EXPECT_EQ(checks[5].differences.size(), 1u);
        return checks[5].differences.empty() ? std::string() : checks[5].differences[0];
    };
    ASSERT_EQ(engine.plan().entries[5].form, StoredForm::as_stored);
    const int64_t bytes = engine.plan().entries[5].bytes;
    EXPECT_EQ(changed([](PlanEntry& entry) { entry.bytes += 1; }),
              fmt::format("bytes: {} is planned, {} is loaded", bytes + 1, bytes));
    EXPECT_EQ(changed([](PlanEntry& entry) { entry.source = &format(FormatId::q4_0); }),
              "format: q4_0 is planned, q8_0 is loaded");
    EXPECT_NE(changed([](PlanEntry& entry) { entry.shape[0] = 7; }).find("shape: [7, "), std::string::npos);
    EXPECT_EQ(changed([](PlanEntry& entry) { entry.id.layer = 99; }), "it is in the plan but was not loaded");
    // The tied head: an alias of the embedding in the plan and in the registry.
    const auto checks = check_entries(engine.plan(), engine.weights());
    const auto head = std::find_if(checks.begin(), checks.end(),
                                   [](const EntryCheck& check) { return check.weight == "output_head"; });
    ASSERT_NE(head, checks.end());
    EXPECT_EQ(head->owner, "token_embedding");
    EXPECT_TRUE(head->recovered);
}

TEST(PlanCheck, NoticesOneFlippedBitOfALoadedWeight) {
    for (const FormatId id : {FormatId::q4_k, FormatId::bf16}) {
        TinyModel model = tiny("llama");
        model.matrix_format = id;
        const auto loaded = load(model, FormRequest::automatic);
        const Engine& engine = *loaded;
        const WeightId query{1, "query"}, norm{0, "ffn_norm"};
        if (engine.weights().find(query)->form != StoredForm::rows4) GTEST_SKIP() << "no vector kernels here";
        for (const WeightId weight : {query, norm}) {
            std::byte& place = engine.weights().find(weight)->owned.data()[100];
            place ^= std::byte{4};
            const auto checks = check_entries(engine.plan(), engine.weights());
            EXPECT_EQ(differing(checks), 1);
            for (const EntryCheck& check : checks) EXPECT_EQ(check.recovered, check.weight != to_string(weight));
            place ^= std::byte{4};
        }
        EXPECT_EQ(differing(check_entries(engine.plan(), engine.weights())), 0);
    }
}

EngineSettings demonstration(FormRequest form) {
    return {.model = std::string(INVAR_MODELS) + "/demo-dense.gguf", .threads = 2, .chunk = 64, .form = form};
}

TEST(PlanCheck, SystemCountsWhatWasPlanned) {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's memory is not the model's";
    for (const FormRequest form : {FormRequest::automatic, FormRequest::as_stored}) {
        const auto check = check_plan(demonstration(form), nullptr);
        ASSERT_TRUE(check) << check.error().message;
        EXPECT_TRUE(check->holds()) << plan_check_as_text(*check, false);
        int64_t planned = 0;
        for (const MemoryCheck::Part& part : check->memory.parts) {
            planned += part.planned;
            EXPECT_GE(part.resident[3], part.planned) << part.name;
        }
        EXPECT_EQ(planned, check->memory.planned);
        std::printf("[plan check] %lld bytes in memory, %lld planned\n", static_cast<long long>(check->memory.measured),
                    static_cast<long long>(check->memory.planned));
    }
}

TEST(PlanCheck, NoticesMemoryThatNobodyPlanned) {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's memory is not the model's";
    std::vector<char> hidden;  // a second copy of some weights, as it were
    const auto check = check_plan(demonstration(FormRequest::automatic), [&](int64_t, int64_t) {
        if (hidden.empty()) hidden.assign(1 << 20, 'x');
    });
    ASSERT_TRUE(check) << check.error().message;
    EXPECT_EQ(check->differences(), 0);
    EXPECT_FALSE(check->memory.within()) << plan_check_as_text(*check, false);
    EXPECT_FALSE(check->holds());
    EXPECT_GE(check->memory.other[3], 900'000);  // part of it may be heap that was there
    EXPECT_NE(plan_check_as_text(*check, false).find("NOT within"), std::string::npos);
    EXPECT_EQ(plan_check_as_json(*check)["holds"], false);
}

TEST(PlanCheck, ToleratesThreePercentAndNoMore) {
    const auto within = [](int64_t planned, int64_t measured) {
        MemoryCheck check;
        check.planned = planned;
        check.measured = measured;
        return check.within();
    };
    constexpr int64_t kPlanned = 100'000'000;
    EXPECT_TRUE(within(kPlanned, 103'000'000));
    EXPECT_TRUE(within(kPlanned, 97'000'000));
    EXPECT_FALSE(within(kPlanned, 103'000'001));
    EXPECT_FALSE(within(kPlanned, 96'999'999));
    EXPECT_TRUE(within(1'000'000, 1'524'288));  // 512 KiB where 3 % are less
    EXPECT_FALSE(within(1'000'000, 1'524'289));
}

}  // namespace
}  // namespace invar
