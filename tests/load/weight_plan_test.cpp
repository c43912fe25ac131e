// The plan counts every byte once, explains itself, refuses what does not fit, and equals what the loader makes of it.
#include "checkpoint/weight_plan.h"

#include <gtest/gtest.h>

#include <cstring>

#include "layout/rows4.h"
#include "load/loader.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

struct Planned {
    std::vector<std::byte> bytes;
    Checkpoint file;
    ModelConfig config;
    WeightPlan plan;
};

Planned plan_model(const TinyModel& model, const PlanRequest& request) {
    std::vector<std::byte> bytes = model.bytes();
    Checkpoint file = Checkpoint::from_bytes(bytes, "tiny.gguf").value();
    const Architecture* architecture = find_architecture(file).value();
    ModelConfig config = architecture->read_config(file).value();
    WeightPlan plan = make_weight_plan(config, architecture->declare(config, file), file, request).value();
    return {.bytes = std::move(bytes), .file = std::move(file), .config = std::move(config), .plan = std::move(plan)};
}

const std::unique_ptr<ThreadPool> kOneThread = ThreadPool::create({}).value();

TEST(WeightPlan, ChargesTiedEmbeddingsOnce) {
    TinyModel model = tiny("qwen3");
    model.matrix_format = FormatId::q8_0;
    const Planned planned = plan_model(model, {});
    const PlanEntry* embedding = nullptr;
    const PlanEntry* head = nullptr;
    for (const PlanEntry& entry : planned.plan.entries) {
        if (entry.id.role == "token_embedding") embedding = &entry;
        if (entry.id.role == "output_head") head = &entry;
    }
    ASSERT_NE(embedding, nullptr);
    ASSERT_NE(head, nullptr);
    EXPECT_EQ(head->bytes, 0);
    EXPECT_EQ(head->alias_of, embedding->id);
    EXPECT_EQ(embedding->bytes, rows4_bytes(format(FormatId::q8_0), model.vocabulary, model.width));
}

TEST(WeightPlan, TakesAllBytesOfTheFileWhenEverythingStaysAsStored) {
    TinyModel model = tiny("qwen3moe");
    model.matrix_format = FormatId::q4_k;
    const Planned planned = plan_model(model, {.form = FormRequest::as_stored});
    EXPECT_EQ(planned.plan.weight_bytes(), static_cast<int64_t>(planned.file.tensor_bytes()));
}

TEST(WeightPlan, CountsTheCachePageByPage) {
    const Planned planned = plan_model(tiny("llama"), {.cache_type = CacheType::f32, .context = 130});
    // 3 pages of 64 positions; 2 layers x 2 heads x (64 + 64) elements of 4 bytes a position.
    EXPECT_EQ(planned.plan.cache_units, std::vector<int64_t>{3});
    EXPECT_EQ(planned.plan.reserve_bytes(Place::host), 3 * 64 * 2 * 2 * 128 * 4);
}

TEST(WeightPlan, RefusesWhatDoesNotFitAndShowsTheSum) {
    PlanRequest request{.memory_bytes = 1 << 20, .memory_source = "--memory"};
    Planned planned = plan_model(tiny("llama"), request);
    const auto refused = finish_plan(planned.plan, request, {.host = 1 << 20});
    ASSERT_FALSE(refused);
    const std::string& error = refused.error().message;
    for (const char* part :
         {"does not fit", "weights ", " + kv_cache ", " + scratch 1.0 MiB", "but --memory is 1.0 MiB"}) {
        EXPECT_NE(error.find(part), std::string::npos) << part << " in: " << error;
    }
    request.memory_bytes = 1 << 10;
    const auto tiny_budget = finish_plan(planned.plan, request, {.host = 1 << 20});
    ASSERT_FALSE(tiny_budget);
    EXPECT_NE(tiny_budget.error().message.find("but --memory is 1024 bytes;"), std::string::npos)
        << tiny_budget.error().message;
}

TEST(WeightPlan, RefusesAContextTheModelWasNotTrainedFor) {
    const std::vector<std::byte> bytes = tiny("llama").bytes();
    const Checkpoint file = Checkpoint::from_bytes(bytes, "tiny.gguf").value();
    const Architecture* architecture = find_architecture(file).value();
    const ModelConfig config = architecture->read_config(file).value();
    const auto plan = make_weight_plan(config, architecture->declare(config, file), file, {.context = 257});
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().message,
              "tiny.gguf: --context 257 is more than the 256 tokens the model was trained for; ask for at most that");
}

TEST(Loader, ExecutesThePlanEntryByEntryForEveryFormatAndForm) {
    int entries = 0;
    for (const Format* matrix_format : formats()) {
        if (!matrix_format->in_gguf()) continue;  // the model is a GGUF file
        for (const FormRequest form : {FormRequest::automatic, FormRequest::as_stored}) {
            TinyModel model = tiny("qwen3moe");
            model.matrix_format = matrix_format->id;
            const Planned planned = plan_model(model, {.form = form});
            const auto registry = load_weights(planned.plan, planned.file, *kOneThread, nullptr);
            ASSERT_TRUE(registry) << registry.error().message;
            EXPECT_TRUE(registry->compare_with(planned.plan));
            EXPECT_EQ(registry->bytes(), planned.plan.weight_bytes());
            entries += static_cast<int>(planned.plan.entries.size());
        }
    }
    std::printf("[plan] %d entries of every format x 2 forms: plan and registry agree\n", entries);
}

TEST(Loader, RepacksTheBytesOfTheFileAndNothingElse) {
    TinyModel model = tiny("qwen3moe");
    model.matrix_format = FormatId::q6_k;
    const Planned planned = plan_model(model, {});
    const WeightRegistry registry = load_weights(planned.plan, planned.file, *kOneThread, nullptr).value();
    const WeightStack stack = registry.stack({1, "expert_down"});
    const TensorInfo* tensor = planned.file.find("blk.1.ffn_down_exps.weight");
    ASSERT_EQ(stack.first.form, StoredForm::rows4);
    const int64_t row_bytes = stack.first.format->row_bytes(stack.first.columns);
    std::vector<std::byte> row(static_cast<size_t>(row_bytes));
    for (int64_t expert = 0; expert < stack.count; ++expert) {
        for (int64_t r = 0; r < stack.first.rows; r += 37) {
            unpack_row(*stack.first.format, stack.at(expert).data, stack.first.rows, stack.first.columns, r,
                       row.data());
            const std::byte* stored = tensor->data + (expert * stack.first.rows + r) * row_bytes;
            ASSERT_EQ(std::memcmp(row.data(), stored, row.size()), 0) << "expert " << expert << " row " << r;
        }
    }
}

TEST(Registry, NamesTheFirstDifferenceFromThePlan) {
    const Planned planned = plan_model(tiny("llama"), {});
    const WeightRegistry registry = load_weights(planned.plan, planned.file, *kOneThread, nullptr).value();
    const auto difference_after = [&](const std::function<void(WeightPlan&)>& change) {
        WeightPlan changed = planned.plan;
        change(changed);
        const auto equal = registry.compare_with(changed);
        return equal ? std::string("equal") : equal.error().message;
    };
    EXPECT_EQ(difference_after([](WeightPlan&) {}), "equal");
    EXPECT_EQ(
        difference_after([](WeightPlan& plan) { plan.entries[5].bytes += 1; }).find("layer 0 key was planned with"),
        0u);
    EXPECT_NE(difference_after([](WeightPlan& plan) { plan.entries[5].form = StoredForm::as_stored; }).find("rows4"),
              std::string::npos);
    EXPECT_NE(difference_after([](WeightPlan& plan) {
                  plan.entries.pop_back();
              }).find("weights are loaded, but the plan has"),
              std::string::npos);
    EXPECT_NE(difference_after([](WeightPlan& plan) { plan.entries[5].shape[0] += 1; }).find("with shape"),
              std::string::npos);
}

}  // namespace
}  // namespace invar
