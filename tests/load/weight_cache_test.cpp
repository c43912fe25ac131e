// Caches of packed weights. Mapped bytes equal repacked ones; stale, foreign, cut and changed files are refused in one
// sentence and written anew; nothing of them is ever used unverified.
#include "load/weight_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "models/tiny_model.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

const std::unique_ptr<ThreadPool> kOneThread = ThreadPool::create({}).value();

struct Opened {
    Checkpoint file;
    WeightPlan plan;

    explicit Opened(const std::filesystem::path& path, FormRequest form = FormRequest::automatic)
        : file(Checkpoint::open(path).value()) {
        const Architecture* architecture = find_architecture(file).value();
        const ModelConfig config = architecture->read_config(file).value();
        plan = make_weight_plan(config, architecture->declare(config, file), file, {.form = form}).value();
    }
};

class WeightCacheTest : public ::testing::Test {
  protected:
    WeightCacheTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "invar_cache_XXXXXX").string();
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        TinyModel model = tiny("qwen3moe");
        model.matrix_format = FormatId::q4_k;
        model.width = model.expert_width = 256;
        model.layers = 1;
        const std::filesystem::path made = model.write("cached.gguf");
        model_ = folder_ / "model.gguf";
        std::filesystem::copy_file(made, model_);
        std::filesystem::remove(made);
        request_ = {.folder = folder_, .notice = [this](const std::string& note) { notes_.push_back(note); }};
    }
    ~WeightCacheTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    std::vector<std::byte> read(const std::filesystem::path& path) {
        std::vector<std::byte> bytes(std::filesystem::file_size(path));
        std::ifstream(path, std::ios::binary)
            .read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        return bytes;
    }
    void write(const std::filesystem::path& path, std::span<const std::byte> bytes) {
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    // At a multiple of 64 bytes, as a mapped file is.
    AlignedBytes read_aligned(const std::filesystem::path& path) {
        const std::vector<std::byte> bytes = read(path);
        AlignedBytes aligned = AlignedBytes::allocate(static_cast<int64_t>(bytes.size())).value();
        std::memcpy(aligned.data(), bytes.data(), bytes.size());
        return aligned;
    }
    // One start; the notes of it are in notes_. Bytes equal to those of repacking; returns whether they were mapped.
    bool start(FormRequest form = FormRequest::automatic) {
        notes_.clear();
        Opened opened(model_, form);
        const WeightRegistry expected = load_weights(opened.plan, opened.file, *kOneThread, nullptr).value();
        const CachedWeights loaded = load_with_cache(opened.plan, opened.file, request_, *kOneThread, nullptr).value();
        for (const PlanEntry& entry : opened.plan.entries) {
            if (entry.alias_of) continue;
            const auto *a = expected.find(entry.id), *b = loaded.weights.find(entry.id);
            EXPECT_EQ(std::memcmp(a->data, b->data, static_cast<size_t>(entry.bytes)), 0) << to_string(entry.id);
            compared_ += entry.bytes;
        }
        EXPECT_EQ(loaded.cache != nullptr, !opened.plan.cache_file.empty());
        return loaded.cache != nullptr;
    }
    std::filesystem::path cache() {
        const Opened opened(model_);
        return cache_path(folder_, opened.file, opened.plan);
    }

    std::filesystem::path folder_, model_;
    CacheRequest request_;
    std::vector<std::string> notes_;
    int64_t compared_ = 0;
};

TEST_F(WeightCacheTest, TheSecondStartMapsWhatTheFirstRepacked) {
    EXPECT_FALSE(start());
    ASSERT_EQ(notes_.size(), 1u);
    EXPECT_EQ(notes_[0], cache().string() + ": the repacked weights are kept here for the next start");
    EXPECT_TRUE(start());
    EXPECT_TRUE(notes_.empty());
    Opened opened(model_);
    plan_with_cache(opened.plan, opened.file, folder_);
    EXPECT_EQ(opened.plan.cache_file, cache().string());
    int64_t from_cache = 0;
    for (const PlanEntry& entry : opened.plan.entries) {
        from_cache += entry.reason.ends_with(", from cache " + cache().string()) ? 1 : 0;
    }
    EXPECT_GT(from_cache, 10);
    EXPECT_FALSE(start(FormRequest::as_stored) && notes_.empty());  // vectors alone: a cache of its own
    EXPECT_TRUE(start());
    std::printf("[equality] weights from a cache: %lld bytes compared, 0 differ\n", static_cast<long long>(compared_));
    EXPECT_GT(compared_, 1'000'000);
}

TEST_F(WeightCacheTest, AChangedModelOverwritesItsOldCache) {
    start();
    const std::filesystem::path path = cache();
    const auto stale = read(path);
    const auto later = std::filesystem::last_write_time(model_) + std::chrono::seconds(1);
    std::filesystem::last_write_time(model_, later);
    EXPECT_FALSE(start());
    ASSERT_EQ(notes_.size(), 2u);
    EXPECT_EQ(notes_[0], path.string() +
                             ": was written for another model file or other settings; the cache is not used "
                             "and written anew");
    EXPECT_NE(read(path), stale);
    EXPECT_TRUE(start());
    // The same time and size, other weights at the end of a tensor.
    std::vector<std::byte> bytes = read(model_);
    bytes.back() ^= std::byte{1};
    write(model_, bytes);
    std::filesystem::last_write_time(model_, later);
    EXPECT_FALSE(start());
    EXPECT_NE(notes_[0].find("another model file"), std::string::npos);
}

TEST_F(WeightCacheTest, EveryCutOfTheFileIsRefused) {
    start();
    const AlignedBytes aligned = read_aligned(cache());
    const std::span<const std::byte> whole(aligned.data(), static_cast<size_t>(aligned.size()));
    const Opened opened(model_);
    const std::string key = cache_key(opened.file, opened.plan).value();
    ASSERT_TRUE(WeightCache::from_bytes(whole, key, opened.plan));
    int64_t cuts = 0;
    const auto refuse = [&](size_t size) {
        const auto cache = WeightCache::from_bytes(whole.first(size), key, opened.plan);
        ASSERT_FALSE(cache) << size;
        EXPECT_EQ(cache.error().message.find('\n'), std::string::npos);
        ++cuts;
    };
    uint64_t header = 0;
    std::memcpy(&header, whole.data(), 8);
    for (size_t size = 0; size < header + 8 + 200; ++size) refuse(size);
    for (size_t size = header + 208; size < whole.size(); size += 997) refuse(size);
    refuse(whole.size() - 1);
    std::printf("[hostile] %lld cuts of a cache refused\n", static_cast<long long>(cuts));
    EXPECT_GT(cuts, 3000);
}

TEST_F(WeightCacheTest, EveryChangedByteOfTheHeaderIsRefusedOrHarmless) {
    start();
    const AlignedBytes aligned = read_aligned(cache());
    const std::span<std::byte> bytes(aligned.data(), static_cast<size_t>(aligned.size()));
    const Opened opened(model_);
    const std::string key = cache_key(opened.file, opened.plan).value();
    const WeightRegistry expected = load_weights(opened.plan, opened.file, *kOneThread, nullptr).value();
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    int64_t refused = 0, unverified = 0, harmless = 0;
    for (size_t at = 0; at < header + 8; ++at) {
        const std::byte before = std::exchange(bytes[at], bytes[at] ^ std::byte{1});
        const auto cache = WeightCache::from_bytes(bytes, key, opened.plan);
        if (!cache) {
            ++refused;
        } else if (!cache->verify(opened.plan, *kOneThread, nullptr)) {
            ++unverified;
        } else {  // a space of the padding, say: then the weights must be the right ones
            ++harmless;
            for (const PlanEntry& entry : opened.plan.entries) {
                if (!entry.has_own_bytes()) continue;
                ASSERT_EQ(
                    std::memcmp(cache->find(entry), expected.find(entry.id)->data, static_cast<size_t>(entry.bytes)),
                    0);
            }
        }
        bytes[at] = before;
    }
    std::printf("[hostile] %lld changed bytes of a header: %lld refused, %lld fail the hash, %lld change nothing\n",
                static_cast<long long>(header + 8), static_cast<long long>(refused), static_cast<long long>(unverified),
                static_cast<long long>(harmless));
    EXPECT_GT(refused, static_cast<int64_t>(header) / 2);
    EXPECT_GT(unverified, 100);  // a digit of a hash, and offsets that stay tiled
}

TEST_F(WeightCacheTest, AChangedBitOfAWeightIsFoundNamedAndRepaired) {
    start();
    const std::filesystem::path path = cache();
    const std::vector<std::byte> good = read(path);
    int64_t found = 0;
    for (const size_t from_end : {size_t{1}, size_t{64}, size_t{5000}, good.size() / 3}) {
        std::vector<std::byte> bytes = good;
        bytes[bytes.size() - from_end] ^= std::byte{0x10};
        write(path, bytes);
        EXPECT_FALSE(start());
        ASSERT_EQ(notes_.size(), 2u);
        EXPECT_TRUE(notes_[0].starts_with(path.string() + ": weight '")) << notes_[0];
        EXPECT_NE(notes_[0].find("' is damaged: its hash is "), std::string::npos) << notes_[0];
        EXPECT_EQ(read(path), good);  // written anew
        EXPECT_TRUE(start());
        ++found;
    }
    EXPECT_EQ(found, 4);
}

TEST_F(WeightCacheTest, OtherFilesAndVersionsAreRefusedAndAFolderThatIsMissingIsANote) {
    start();
    const std::filesystem::path path = cache();
    std::string text(reinterpret_cast<const char*>(read(path).data()), std::filesystem::file_size(path));
    const size_t at = text.find("layout 1, arithmetic 2");
    ASSERT_NE(at, std::string::npos);
    text[at + 7] = '7';
    write(path, std::as_bytes(std::span(text)));
    EXPECT_FALSE(start());
    EXPECT_EQ(notes_[0], path.string() +
                             ": was written for layout 7, arithmetic 2, this program has layout 1, arithmetic "
                             "2; the cache is not used and written anew");
    write(path, std::as_bytes(std::span("not a cache at all")));
    EXPECT_FALSE(start());
    EXPECT_NE(notes_[0].find("is not a SafeTensors file"), std::string::npos) << notes_[0];
    EXPECT_TRUE(start());
    request_.folder = folder_ / "absent";
    EXPECT_FALSE(start());
    ASSERT_EQ(notes_.size(), 1u);
    EXPECT_TRUE(notes_[0].starts_with("the repacked weights are not kept: ")) << notes_[0];
    EXPECT_NE(notes_[0].find("does not exist"), std::string::npos) << notes_[0];
}

}  // namespace
}  // namespace invar
