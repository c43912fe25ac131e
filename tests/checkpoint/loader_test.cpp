// What loading leaves in memory: the file's pages of repacked weights go, those that stay as stored stay.
#include "checkpoint/loader.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/resident_memory.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

int64_t resident(const GgufFile& file, const std::function<bool(const PlanEntry&)>& wanted, const WeightPlan& plan) {
    std::vector<std::span<const std::byte>> ranges;
    for (const PlanEntry& entry : plan.entries) {
        const TensorInfo* tensor = entry.alias_of ? nullptr : file.find(entry.tensor);
        if (tensor != nullptr && wanted(entry)) ranges.emplace_back(tensor->data, tensor->bytes);
    }
    return resident_bytes(ranges).value();
}

TEST(Loader, LetsGoOfTheFilesPagesThatItRepacked) {
    TinyModel model = tiny("llama");
    model.matrix_format = FormatId::q8_0;
    model.vocabulary = 2000;
    const std::filesystem::path path = model.write("loader.gguf");
    const GgufFile file = GgufFile::open(path).value();
    const Architecture* architecture = find_architecture(file).value();
    const ModelConfig config = architecture->read_config(file).value();
    const WeightPlan plan = make_weight_plan(config, architecture->declare(config, file), file, {}).value();
    const ParallelRanges one_thread = [](int64_t count, const auto& work) { work(0, count); };
    const WeightRegistry weights = load_weights(plan, file, one_thread, nullptr).value();

    const auto repacked = [](const PlanEntry& entry) { return entry.form != StoredForm::as_stored; };
    int64_t file_bytes = 0;
    for (const PlanEntry& entry : plan.entries) file_bytes += repacked(entry) ? entry.file_bytes : 0;
    const int64_t left = resident(file, repacked, plan);
    std::printf("[loader] %lld bytes of file were repacked, %lld of their pages are in memory\n",
                static_cast<long long>(file_bytes), static_cast<long long>(left));
    EXPECT_GT(file_bytes, 1'500'000);
    EXPECT_LE(left, 2 * 4096);  // at most a page on either side of what stays as stored
    // They can still be read: dropping is no loss.
    const TensorInfo& query = *file.find("blk.0.attn_q.weight");
    EXPECT_NE(query.format->weight(query.data, 0), 0.0f);
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace invar
