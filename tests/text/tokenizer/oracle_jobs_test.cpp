// Strings by the hundred thousand against ids and texts that independent code gave them. Jobs are folders that
// tools/tokenizer_oracle writes (jobs.py describes them); INVAR_TOKENIZER_JOBS names one, or the folder they lie in.
// Without it, the jobs among the test data are run.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "files/gguf.h"
#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/tokenizer_files.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;
namespace fs = std::filesystem;

std::vector<fs::path> jobs() {
    const char* folder = std::getenv("INVAR_TOKENIZER_JOBS");
    const fs::path root = folder != nullptr ? folder : INVAR_TEST_DATA "/tokenizer/jobs";
    std::vector<fs::path> found;
    if (!fs::exists(root)) return found;
    if (fs::exists(root / "job.json")) return {root};
    for (const auto& entry : fs::directory_iterator(root)) {
        if (fs::exists(entry.path() / "job.json")) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

// A file of records: u32 length, then so many bytes.
class Records {
  public:
    explicit Records(const fs::path& path) : bytes_(read_file(path.string())) {}
    bool done() const { return at_ + 4 > bytes_.size(); }
    std::string_view next() {
        uint32_t size = 0;
        std::memcpy(&size, bytes_.data() + at_, 4);
        const std::string_view record = std::string_view(bytes_).substr(at_ + 4, size);
        at_ += 4 + size;
        return record;
    }

  private:
    std::string bytes_;
    size_t at_ = 0;
};

std::vector<int32_t> ids_of(std::string_view record) {
    std::vector<int32_t> ids(record.size() / 4);
    if (!ids.empty()) std::memcpy(ids.data(), record.data(), ids.size() * 4);
    return ids;
}

Result<Tokenizer> tokenizer_of_job(const fs::path& job) {
    if (!fs::exists(job / "vocab.gguf")) {
        TRY_ASSIGN(const TokenizerFiles files, TokenizerFiles::in_directory(job.string()));
        return read_tokenizer(files);
    }
    TRY_ASSIGN(const GgufFile file, GgufFile::open((job / "vocab.gguf").string()));
    return tokenizer_from_gguf(file.metadata());
}

std::string shown(const std::vector<int32_t>& ids) {
    std::string text;
    for (size_t i = 0; i < ids.size() && i < 60; ++i) text += fmt::format("{} ", ids[i]);
    return text;
}

struct Found {
    size_t texts = 0, ids = 0, bytes = 0, ids_differ = 0, texts_differ = 0, broken = 0, broken_taken = 0;
};

// The strings of a job; the first three that differ are shown.
void compare_texts(const fs::path& job, const Json& about, const Tokenizer& tokenizer, Found& found) {
    const auto specials = about.value("specials", "parse") == "parse" ? Specials::parse : Specials::as_text;
    const auto ends = about.value("ends", false) ? Tokenizer::Ends::add : Tokenizer::Ends::none;
    const auto first_decoded = about.value("decoded_from", size_t{0});
    Records strings(job / "strings.bin"), expected(job / "ids.bin"), decoded(job / "texts.bin");
    while (!strings.done()) {
        const std::string_view text = strings.next();
        const std::vector<int32_t> wanted = ids_of(expected.next());
        const std::string_view wanted_text = decoded.next();
        const auto tokens = tokenizer.encode(text, specials, ends);
        ++found.texts;
        found.bytes += text.size();
        const std::vector<int32_t> got = tokens.value_or(std::vector<int32_t>());
        found.ids += got.size();
        if (got != wanted && found.ids_differ++ < 3) {
            ADD_FAILURE() << job.filename() << " text " << found.texts << ": '" << text << "'\n got    " << shown(got)
                          << "\n wanted " << shown(wanted) << (tokens ? "" : tokens.error().message);
        }
        if (wanted_text == "\x01skip") continue;
        const std::string back = streamed_at_once(tokenizer.decode(std::span(wanted).subspan(first_decoded), true));
        if (back != wanted_text && found.texts_differ++ < 3) {
            ADD_FAILURE() << job.filename() << " text " << found.texts << " decoded: '" << back << "' instead of '"
                          << wanted_text << "' from " << shown(wanted);
        }
    }
    EXPECT_TRUE(expected.done() && decoded.done()) << job << ": more ids or texts than strings";
}

void give_broken_texts(const fs::path& job, const Tokenizer& tokenizer, Found& found) {
    Records broken(job / "broken.bin");
    for (; !broken.done(); ++found.broken) {
        const std::string_view text = broken.next();
        const auto tokens = tokenizer.encode(text, Specials::parse, Tokenizer::Ends::none);
        const bool refused = !tokens && tokens.error().message.find("UTF-8") != std::string::npos;
        if (!refused && found.broken_taken++ < 3) ADD_FAILURE() << job << ": no UTF-8, but taken: '" << text << "'";
    }
}

TEST(TokenizerOracle, GivesTheIdsAndTextsOfOtherImplementations) {
    const std::vector<fs::path> all = jobs();
    size_t texts_in_all = 0, differ_in_all = 0;
    for (const fs::path& job : all) {
        const Result<Json> about = parse_json(read_file((job / "job.json").string()));
        ASSERT_TRUE(about) << job;
        const auto start = std::chrono::steady_clock::now();
        const Result<Tokenizer> tokenizer = tokenizer_of_job(job);
        ASSERT_TRUE(tokenizer) << job << ": " << tokenizer.error().message;
        const auto read = std::chrono::steady_clock::now();
        Found found;
        compare_texts(job, *about, *tokenizer, found);
        const auto done = std::chrono::steady_clock::now();
        give_broken_texts(job, *tokenizer, found);
        using Seconds = std::chrono::duration<double>;
        std::printf(
            "[oracle] %s: %zu texts, %zu ids, %zu differ in ids, %zu in text; %zu not UTF-8, %zu taken; read %.3f s, "
            "%.1f MB/s\n",
            job.filename().c_str(), found.texts, found.ids, found.ids_differ, found.texts_differ, found.broken,
            found.broken_taken, Seconds(read - start).count(),
            static_cast<double>(found.bytes) / 1e6 / Seconds(done - read).count());
        EXPECT_GT(found.texts, 0u) << job;
        EXPECT_GT(found.broken, 0u) << job;
        EXPECT_EQ(found.ids_differ, 0u) << job;
        EXPECT_EQ(found.texts_differ, 0u) << job;
        EXPECT_EQ(found.broken_taken, 0u) << job;
        for (const std::string& note : tokenizer->notes()) std::printf("[oracle]   note: %s\n", note.c_str());
        texts_in_all += found.texts;
        differ_in_all += found.ids_differ + found.texts_differ;
    }
    std::printf("[oracle] %zu jobs, %zu texts, %zu differ\n", all.size(), texts_in_all, differ_in_all);
    EXPECT_FALSE(all.empty());
}

}  // namespace
}  // namespace invar
