// A value that no law is known for is refused by its key and its value, in every family: each golden directory
// (tests/data/goldens_hf) with an unknown activation, kind of rope or kind of router in its config.json.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "models/edited_golden.h"

namespace invar {
namespace {

constexpr const char* kUnknown = "made_up";

// The object that describes the text model.
const Json& text_config(const Json& config) { return config.contains("text_config") ? config["text_config"] : config; }

// A change of the text model's config as one of the whole config.
Json change_of(const Json& config, Json change) {
    return config.contains("text_config") ? Json{{"text_config", std::move(change)}} : change;
}

// An object of a rope with the kind unknown; where there is one rope for each kind of layer, in each of them.
Json with_unknown_rope(const Json& rope, const std::string& key) {
    Json changed = rope;
    bool nested = false;
    for (auto& [name, inner] : changed.items()) {
        if (!inner.is_object()) continue;
        inner[key] = kUnknown;
        nested = true;
    }
    if (!nested) changed[key] = kUnknown;
    return changed;
}

// Every change of one key to an unknown value that this config offers, by the key's name.
std::map<std::string, Json> changes_of(const Json& config, bool rotates) {
    std::map<std::string, Json> changes;
    const Json& text = text_config(config);
    for (const char* key : {"hidden_act", "hidden_activation", "activation_function", "activation", "mlp_hidden_act",
                            "mamba_hidden_act", "scoring_func", "topk_method"}) {
        if (text.contains(key) && text[key].is_string()) changes[key] = {{key, kUnknown}};
    }
    if (!rotates) return changes;  // a rope is then of no effect
    for (const char* key : {"rope_parameters", "rope_scaling"}) {
        if (!text.contains(key) || !text[key].is_object()) continue;
        const std::string kind = text[key].contains("type") ? "type" : "rope_type";
        changes[kind] = {{key, with_unknown_rope(text[key], kind)}};
    }
    if (!changes.contains("type") && !changes.contains("rope_type") && text.contains("rope_theta"))
        changes["rope_type"] = {{"rope_scaling", {{"rope_type", kUnknown}, {"factor", 2.0}}}};
    return changes;
}

TEST(UnknownValues, AreRefusedByKeyAndValueInEveryFamily) {
    std::set<std::string> families;
    std::map<std::string, int> refused;
    for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
        if (!std::filesystem::exists(entry.path() / "config.json")) continue;
        const auto original = config_at(entry.path());
        if (!original) continue;  // of a family that is not supported
        const Checkpoint checkpoint = Checkpoint::open(entry.path()).value();
        const Json& config = checkpoint.directory()->config();
        const std::string name = entry.path().filename();
        for (const auto& [key, change] : changes_of(config, !original->ropes.empty())) {
            const auto read = config_with(name, change_of(config, change).dump().c_str());
            const std::string error = read ? "no error" : read.error().message;
            EXPECT_NE(error.find(key + "'"), std::string::npos) << name << ", " << key << ": " << error;
            EXPECT_NE(error.find(kUnknown), std::string::npos) << name << ", " << key << ": " << error;
            ++refused[key];
            families.insert(original->architecture);
        }
    }
    EXPECT_GE(families.size(), 30u);
    EXPECT_GE(refused["hidden_act"], 30);
    EXPECT_GE(refused["rope_type"] + refused["type"], 30);
    EXPECT_GE(refused["scoring_func"], 3);
    EXPECT_GE(refused["topk_method"], 2);
}

}  // namespace
}  // namespace invar
