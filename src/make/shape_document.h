// The shapes that synth knows, each a JSON document in src/make/shapes whose name is the shape's: the config.json of a
// published model, and what a config does not say of its tensors. Which tensors there are follows from the config by
// the architecture's own reader and list of weights (synth_layers.h).
//
// Keys of a document:
//   about          where the numbers are from, and which are not known for sure
//   config         config.json
//   embedding      the full name of the embedding's tensor, from which the names of all others follow;
//                  "model.embed_tokens.weight" if absent
//   present        {name behind "layers.N.": shape} of tensors that an architecture takes only where they are
//   last_layer     the kind of the last layer however many there are
//   plain_experts  "fused": experts that are not quantised are one tensor of each layer
//   quantized      {dialect: {"plain" | "attention" | "mlp": [parts of modules' names]}}: which modules stay plain, or
//                  are stored as attention or as feed-forward parts are, against what their role says;
//                  {dialect: {"listed": false}}: the dialect's config does not list what stays
//   beside         [{layers, tensors: {name: shape}}]: tensors that are no part of the text model; "{}" is a layer
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace invar {

using NamedShape = std::pair<std::string, std::vector<int64_t>>;  // outermost first

struct TensorsBeside {
    int layers = 0;  // 0: the names have no layer
    std::vector<NamedShape> tensors;
};

// What a document says of one dialect of quantisation.
struct DialectRules {
    std::vector<std::string> plain, attention, mlp;
    bool listed = true;
};

struct ShapeDocument {
    std::string name, about;
    Json config;
    std::string embedding = "model.embed_tokens.weight";
    std::vector<NamedShape> present;
    std::string last_layer;
    bool fused_plain_experts = false;
    std::vector<std::pair<std::string, DialectRules>> quantized;
    std::vector<TensorsBeside> beside;

    const Json& text() const;  // the config of the text model
    Json& text();
    int layers() const { return text().at("num_hidden_layers").get<int>(); }
    int64_t vocabulary() const { return text().at("vocab_size").get<int64_t>(); }
    int64_t context() const { return text().at("max_position_embeddings").get<int64_t>(); }
    std::string model_type() const { return text().at("model_type").get<std::string>(); }  // of the text model
    DialectRules rules(std::string_view dialect) const;  // those of no document if it has none for the dialect
};

struct ShapeText {
    std::string_view name, json;
};
std::span<const ShapeText> shape_texts();

// Errors list the shapes there are.
Result<ShapeDocument> find_shape(std::string_view name);
// The same model with its first layers only; 0: all. Layers keep their kinds. Fails if that is more than there are.
Result<ShapeDocument> with_layers(ShapeDocument shape, int layers);

}  // namespace invar
