// Reads the documents and cuts models to their first layers: see shape_document.h. The documents are part of the
// program, so one that cannot be read is a fault of ours.
#include "make/shape_document.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace invar {
namespace {

// Lists with an entry for each layer.
constexpr const char* kListsOfLayers[] = {"layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers"};

std::vector<NamedShape> named_shapes(const Json& object) {
    std::vector<NamedShape> all;
    for (const auto& [name, shape] : object.items()) all.emplace_back(name, shape.get<std::vector<int64_t>>());
    return all;
}

std::vector<std::string> texts(const Json& object, const char* key) {
    return object.value(key, std::vector<std::string>());
}

ShapeDocument read_document(const ShapeText& text) {
    const Json json = Json::parse(text.json, nullptr, false);
    CHECK(json.is_object() && json.contains("config"), "a shape's document has a config");
    ShapeDocument shape{.name = std::string(text.name), .about = json.at("about"), .config = json.at("config")};
    shape.embedding = json.value("embedding", shape.embedding);
    shape.last_layer = json.value("last_layer", "");
    shape.fused_plain_experts = json.value("plain_experts", "") == "fused";
    if (json.contains("present")) shape.present = named_shapes(json.at("present"));
    const Json quantized = json.value("quantized", Json::object()), beside = json.value("beside", Json::array());
    for (const Json& one : beside) {
        shape.beside.push_back({.layers = one.value("layers", 0), .tensors = named_shapes(one.at("tensors"))});
    }
    for (const auto& [dialect, rules] : quantized.items()) {
        shape.quantized.emplace_back(dialect, DialectRules{texts(rules, "plain"), texts(rules, "attention"),
                                                           texts(rules, "mlp"), rules.value("listed", true)});
    }
    return shape;
}

// Sets a number that is at least so large to the most that so few layers can have.
void lower(Json& config, const char* key, int most) {
    const auto found = config.find(key);
    if (found != config.end() && found->is_number_integer() && found->get<int64_t>() > most) *found = most;
}

}  // namespace

const Json& ShapeDocument::text() const {
    const auto found = config.find("text_config");
    return found == config.end() ? config : *found;
}

Json& ShapeDocument::text() {
    const auto found = config.find("text_config");
    return found == config.end() ? config : *found;
}

DialectRules ShapeDocument::rules(std::string_view dialect) const {
    const auto found =
        std::find_if(quantized.begin(), quantized.end(), [&](const auto& one) { return one.first == dialect; });
    return found == quantized.end() ? DialectRules() : found->second;
}

Result<ShapeDocument> find_shape(std::string_view name) {
    std::string names;
    for (const ShapeText& text : shape_texts()) {
        if (text.name == name) return read_document(text);
        names += fmt::format("{}{}", names.empty() ? "" : ", ", text.name);
    }
    return fail("shape '{}' is not known; choose one of {}", name, names);
}

Result<ShapeDocument> with_layers(ShapeDocument shape, int layers) {
    const int all = shape.layers();
    if (layers < 0 || layers > all) {
        return fail("--layers is {}, but {} has {} layers; give at most that", layers, shape.name, all);
    }
    if (layers == 0 || layers == all) return shape;
    const auto count = static_cast<size_t>(layers);
    Json& text = shape.text();
    text["num_hidden_layers"] = layers;
    for (const char* key : kListsOfLayers) {
        const auto list = text.find(key);
        if (list == text.end() || !list->is_array()) continue;
        list->erase(list->begin() + layers, list->end());
        if (!shape.last_layer.empty()) list->back() = shape.last_layer;
    }
    if (text.contains("hybrid_override_pattern")) {
        text["hybrid_override_pattern"] = text.at("hybrid_override_pattern").get<std::string>().substr(0, count);
    }
    if (text.contains("num_kv_shared_layers")) {  // the last ones
        text["num_kv_shared_layers"] = std::max(0, text.at("num_kv_shared_layers").get<int>() - (all - layers));
    }
    lower(text, "max_window_layers", layers);
    lower(text, "first_k_dense_replace", layers - 1);  // one mixture is left, whose experts a GGUF file must state
    if (shape.config.contains("vision_config")) lower(shape.config["vision_config"], "num_hidden_layers", layers);
    for (TensorsBeside& beside : shape.beside) beside.layers = std::min(beside.layers, layers);
    return shape;
}

}  // namespace invar
