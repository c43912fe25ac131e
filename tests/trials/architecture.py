"""A new architecture that needs what Gemma 3 needs beyond Qwen3: a norm behind each branch, a window in two layers of three, a rope of
their own for those, scores scaled by a number of their own, and an embedding that is scaled. The model that it runs: architecture_model.py."""
import numpy as np

import architecture_model
from trials import Failure, insert, new_file

SAYS = "an architecture: toyar, with norms behind the branches, a window pattern, two ropes and a scaled embedding"
LIMIT = 2
FARTHEST = 2e-5  # from float64, in units of the logits' root mean square

EDITS = [
    new_file("src/models/toyar.cpp", """// Architecture "toyar": a toy with what Gemma 3 has beyond Qwen3. A norm stands behind each branch; of three layers two
// see a window and turn by a rope of their own; the embedding is scaled by the root of the width.
#include <cmath>

#include "base/json.h"
#include "models/architectures.h"
#include "models/read_config.h"
#include "models/weight_visitors.h"

namespace invar {
namespace {

struct ToyWeights {
    DecoderWeights decoder;
    std::vector<WeightVector> after_attention, after_ffn;  // of each layer
};

template <class Visitor>
void visit_toy(Visitor& visit, const ModelConfig& config, ToyWeights& weights) {
    visit_decoder(visit, config, {.head_norms = true}, weights.decoder);
    weights.after_attention.resize(config.layers.size());
    weights.after_ffn.resize(config.layers.size());
    for (size_t i = 0; i < config.layers.size(); ++i) {
        visit.layer(static_cast<int>(i));
        visit.vector(weights.after_attention[i],
                     {"after_attention_norm", "post_attention_norm.weight", "after_attention_norm.weight"},
                     config.width, {});
        visit.vector(weights.after_ffn[i], {"after_ffn_norm", "post_ffw_norm.weight", "after_ffn_norm.weight"},
                     config.width, {});
    }
}

class ToyModel final : public Model {
  public:
    ToyModel(ModelConfig config, ToyWeights weights) : config_(std::move(config)), weights_(std::move(weights)) {
        for (const RopeSpec& rope : config_.ropes) ropes_.emplace_back(rope);
        weights_.decoder.embedding.scale *= std::sqrt(static_cast<float>(config_.width));
    }

    Tensor forward(Ops& ops, const Batch& batch, SequenceState& cache) const override {
        const int64_t wanted = static_cast<int64_t>(batch.logits_rows.size());
        const Tensor residual = ops.scratch(batch.size(), config_.width);
        const DecoderScratch scratch = take_scratch(ops, config_, batch.size());
        const Tensor last = ops.scratch(wanted, config_.width);
        const Tensor logits = ops.scratch(wanted, config_.vocabulary);
        ops.embed({-1, "embedding"}, weights_.decoder.embedding, batch, residual);
        for (int layer = 0; layer < static_cast<int>(config_.layers.size()); ++layer) {
            const auto i = static_cast<size_t>(layer);
            const float epsilon = config_.layers[i].norm_epsilon;
            const LayerCall call{ops, config_, ropes_, layer, batch, cache, scratch};
            mixer_branch(call, weights_.decoder.layers[i], residual);
            ops.rms_norm({layer, "after_attention_norm"}, scratch.branch, weights_.after_attention[i], epsilon,
                         scratch.branch);
            ops.add({layer, "residual_after_attention"}, residual, scratch.branch);
            ffn_branch(call, weights_.decoder.layers[i], residual);
            ops.rms_norm({layer, "after_ffn_norm"}, scratch.branch, weights_.after_ffn[i], epsilon, scratch.branch);
            ops.add({layer, "residual_after_ffn"}, residual, scratch.branch);
        }
        if (wanted == 0) return logits;
        ops.gather_rows({-1, "final_rows"}, residual, batch.logits_rows, last);
        ops.rms_norm({-1, "output_norm"}, last, *weights_.decoder.output_norm.weight, config_.norm_epsilon, last);
        ops.linear({-1, "logits"}, weights_.decoder.head, last, logits);
        return logits;
    }

  private:
    ModelConfig config_;
    ToyWeights weights_;
    std::vector<RopeTable> ropes_;
};

// A key that no other architecture has.
Result<double> local_rope_base(const Checkpoint& checkpoint) {
    if (checkpoint.dialect() == Dialect::gguf) return checkpoint.metadata().number("toyar.rope.local_freq_base");
    const auto found = checkpoint.config().find("rope_local_base_freq");
    if (found != checkpoint.config().end() && found->is_number()) return found->get<double>();
    return fail("{}: the key 'rope_local_base_freq' is missing in the config, but is needed", checkpoint.name());
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "toyar"}));
    config.ropes.push_back(config.ropes[0]);
    TRY_ASSIGN(config.ropes[1].base, local_rope_base(checkpoint));
    TRY(validate(config.ropes[1]));
    for (size_t i = 0; i < config.layers.size(); ++i) {
        AttentionGeometry& attention = std::get<AttentionGeometry>(config.layers[i].mixer);
        const bool sees_all = i % 3 == 2;
        attention.scale = 0.25f;
        attention.rope = sees_all ? 0 : 1;
        if (sees_all) attention.window = 0;
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    Declaration declaration(checkpoint);
    ToyWeights places;
    visit_toy(declaration, config, places);
    return declaration.take();
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    ToyWeights parts;
    Filling filling(weights);
    visit_toy(filling, config, parts);
    return std::make_unique<ToyModel>(config, std::move(parts));
}

}  // namespace

const Architecture kToyArchitecture{.name = "toyar",
                                    .summary = "a toy",
                                    .model_types = {"toyar"},
                                    .read_config = read_config,
                                    .declare = declare,
                                    .build = build};

}  // namespace invar
"""),
    insert("src/models/architectures.h", "    EACH(kToyArchitecture)        \\\n", before="    EACH(kQwen3MoeArchitecture)"),
]


def logits(copy, model):
    out = copy.root / "build" / "logits.npy"
    copy.run("invar", "logits", model, "--tokens", ",".join(map(str, architecture_model.TOKENS)), "--cache", "f32", "--out", out)
    return np.load(out)


def check_containers(copy, models):
    """Loads from both, with equal bits; a program without the toy refuses both."""
    for model in models:
        copy.refused(copy.before / "invar", "plan", model, naming=("toyar",))
    ours, twin = (logits(copy, model) for model in models)
    if not np.array_equal(ours.view(np.uint32), twin.view(np.uint32)):
        raise Failure("the GGUF file and the directory do not give the same logits")
    copy.compared(ours.size, "logits of the GGUF file with those of the directory, bit for bit")
    return ours


def check_mathematics(copy, weights, ours):
    """Near what numpy computes in float64; far from what it computes where one of the toy's features is left out."""
    wanted = architecture_model.reference_logits(weights)
    unit = np.sqrt(np.mean(wanted ** 2))
    distance = np.abs(ours - wanted).max() / unit
    if distance > FARTHEST:
        raise Failure(f"logits are {distance:.1e} from numpy's, and {FARTHEST:.0e} is the most")
    copy.compared(ours.size, f"logits with numpy's in float64, {distance:.1e} at most apart (limit {FARTHEST:.0e})")
    for feature in architecture_model.FEATURES:
        without = architecture_model.reference_logits(weights, leave_out=feature)
        if np.abs(without - wanted).max() / unit < 1000 * FARTHEST:
            raise Failure(f"without its {feature} numpy computes nearly the same: the comparison would not see it")


def check(copy):
    copy.build("invar", "invar_emulated")
    weights = architecture_model.draw_weights()
    models = (architecture_model.write_gguf(copy.root / "build" / "toyar.gguf", weights),
              architecture_model.write_directory(copy.root / "build" / "toyar", weights))
    check_mathematics(copy, weights, check_containers(copy, models))
    copy.verify(models[0], "--seconds", "0.3")
    shown = copy.json("invar", "inspect", models[1])["model"]["numbers"]
    for name, value in (("layer 1's window", "5"), ("layer 2's window", "0"), ("layer 1's rope", "1"), ("rope 1's base", "500")):
        if shown[name] != value:
            raise Failure(f"invar inspect shows {shown[name]} as {name}, and not {value}")
