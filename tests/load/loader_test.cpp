// The pages of the file that loading leaves in memory: those of repacked weights go, those that stay as stored stay.
#include "load/loader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/resident_memory.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

int64_t resident(const Checkpoint& file, const std::function<bool(const PlanEntry&)>& wanted, const WeightPlan& plan) {
    std::vector<std::span<const std::byte>> ranges;
    for (const PlanEntry& entry : plan.entries) {
        const TensorInfo* tensor = entry.alias_of ? nullptr : file.find(entry.tensor);
        if (tensor != nullptr && wanted(entry)) ranges.emplace_back(tensor->data, tensor->bytes);
    }
    return resident_bytes(ranges).value();
}

struct Opened {
    Checkpoint file;
    WeightPlan plan;

    static Opened of(Checkpoint file) {
        const Architecture* architecture = find_architecture(file).value();
        const ModelConfig config = architecture->read_config(file).value();
        WeightPlan plan = make_weight_plan(config, architecture->declare(config, file), file, {}).value();
        return {std::move(file), std::move(plan)};
    }
};

// Bytes of weights that were compared; every one equal.
int64_t expect_equal(const WeightPlan& plan, const WeightRegistry& one, const WeightRegistry& other) {
    int64_t compared = 0;
    for (const PlanEntry& entry : plan.entries) {
        if (entry.alias_of) continue;
        const auto *a = one.find(entry.id), *b = other.find(entry.id);
        EXPECT_EQ(std::memcmp(a->data, b->data, static_cast<size_t>(entry.bytes)), 0) << to_string(entry.id);
        compared += entry.bytes;
    }
    return compared;
}

TEST(Loader, PiecesOnAnyNumberOfThreadsGiveTheSameWeightsFromDiskAndFromMemory) {
    int64_t compared = 0, pieces = 0;
    const auto one_thread = ThreadPool::create({}).value(), three_threads = ThreadPool::create({.threads = 3}).value();
    for (const FormatId id : {FormatId::q4_k, FormatId::q8_0, FormatId::bf16}) {
        TinyModel model = tiny("qwen3moe");
        model.matrix_format = id;
        model.vocabulary = 9001;  // more than one piece; not a multiple of four rows
        const std::filesystem::path path = model.write("pieces.gguf");
        const std::vector<std::byte> bytes = model.bytes();
        const Opened memory = Opened::of(Checkpoint::from_bytes(bytes, "memory").value());
        const Opened disk = Opened::of(Checkpoint::open(path).value());
        std::vector<int64_t> steps;
        const LoadProgress progress = [&](int64_t done, int64_t total) {
            EXPECT_LE(done, total);
            EXPECT_TRUE(steps.empty() || done >= steps.back());
            steps.push_back(done);
            ++pieces;
        };
        const WeightRegistry expected = load_weights(memory.plan, memory.file, *one_thread, nullptr).value();
        compared +=
            expect_equal(disk.plan, expected, load_weights(disk.plan, disk.file, *one_thread, progress).value());
        compared +=
            expect_equal(disk.plan, expected, load_weights(disk.plan, disk.file, *three_threads, nullptr).value());
        int64_t file_bytes = 0;
        for (const PlanEntry& entry : disk.plan.entries) {
            file_bytes += entry.form == StoredForm::as_stored ? 0 : entry.file_bytes;
        }
        EXPECT_EQ(steps.back(), file_bytes);
        std::filesystem::remove(path);
    }
    std::printf("[equality] loaded on one thread and on three: %lld bytes compared, 0 differ, %lld pieces\n",
                static_cast<long long>(compared), static_cast<long long>(pieces));
    EXPECT_GT(compared, 20'000'000);
    EXPECT_GT(pieces, 150);
}

TEST(Loader, SaysWhereAFileThatShrankMeanwhileEnds) {
    TinyModel model = tiny("llama");
    model.matrix_format = FormatId::q8_0;
    const std::filesystem::path path = model.write("shrunk.gguf");
    const Opened opened = Opened::of(Checkpoint::open(path).value());
    const auto size = static_cast<uint64_t>(std::filesystem::file_size(path));
    std::filesystem::resize_file(path, size - 1000);
    const auto one_thread = ThreadPool::create({}).value();
    const auto weights = load_weights(opened.plan, opened.file, *one_thread, nullptr);
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().message, fmt::format("{}: ends at byte {}, but had {} when it was opened; it is being "
                                                   "changed, try again",
                                                   path.string(), size - 1000, size));
    std::filesystem::remove(path);
}

TEST(Loader, LetsGoOfTheFilesPagesThatItRepacked) {
    TinyModel model = tiny("llama");
    model.matrix_format = FormatId::q8_0;
    model.vocabulary = 2000;
    const std::filesystem::path path = model.write("loader.gguf");
    const Checkpoint file = Checkpoint::open(path).value();
    const Architecture* architecture = find_architecture(file).value();
    const ModelConfig config = architecture->read_config(file).value();
    const WeightPlan plan = make_weight_plan(config, architecture->declare(config, file), file, {}).value();
    const auto one_thread = ThreadPool::create({}).value();
    const WeightRegistry weights = load_weights(plan, file, *one_thread, nullptr).value();

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
