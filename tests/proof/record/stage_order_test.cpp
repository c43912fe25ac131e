// Recordings whose order is guessed from names get the order in which the passes of all architectures call their verbs.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "proof/faults/verb_sites.h"
#include "proof/record/recording.h"

namespace invar {
namespace {

TEST(StageOrder, IsThatOfThePassOfEveryArchitecture) {
    int64_t models = 0, stages = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf")) {
        if (entry.path().extension() != ".gguf") continue;
        const Result<Checkpoint> file = Checkpoint::open(entry.path());
        ASSERT_TRUE(file) << file.error().message;
        const auto planned = plan_model(*file, {.model = entry.path(), .threads = 1, .context = 32, .chunk = 16});
        if (!planned) continue;  // no architecture of this name here
        const auto sites = survey_verbs(planned->config, planned->plan);
        ASSERT_TRUE(sites) << sites.error().message;
        const bool latent =
            std::any_of(sites->begin(), sites->end(), [](const VerbSite& site) { return site.key.name == "latent"; });
        // Latent attention turns its queries behind what it stores, and may project them before its latent vector.
        const std::set<std::string> moved = {"query", "query_absorbed", "query_plain_rope", "query_rope"};
        // Hunyuan and Llama 4 normalise queries and keys behind rope.
        const std::string model = entry.path().filename().string();
        const bool late_norms = model.starts_with("hunyuan") || model.starts_with("llama4");
        // GPT-NeoX and Falcon take the norm of the feed-forward part before the sum of attention.
        const bool early_ffn_norm = model.starts_with("gpt-neox") || model.starts_with("falcon");
        const std::set<std::string> norms = {"query_norm", "key_norm"};
        std::vector<std::string> expected;
        std::vector<StageRecord> records;
        for (const VerbSite& site : *sites) {
            if (site.verb == Verb::store_kv || site.verb == Verb::route || (latent && moved.contains(site.key.name)) ||
                (late_norms && norms.contains(site.key.name)) || (early_ffn_norm && site.key.name == "ffn_norm"))
                continue;
            expected.push_back(to_string(site.key));
            records.push_back({.key = site.key});
        }
        std::reverse(records.begin(), records.end());
        sort_by_names(records);
        for (size_t i = 0; i < records.size(); ++i)
            if (to_string(records[i].key) != expected[i]) {
                ADD_FAILURE() << to_string(records[i].key) << " in place of " << expected[i] << " in "
                              << entry.path().filename();
                break;
            }
        ++models;
        stages += std::ssize(records);
    }
    EXPECT_GT(models, 30);
    EXPECT_GT(stages, 1000);
}

}  // namespace
}  // namespace invar
