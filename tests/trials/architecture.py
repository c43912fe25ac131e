"""A new architecture whose layers differ: every other one has a window and a rope of its own."""
from trials import Failure, insert, new_file

SAYS = "an architecture: qwen3 with a window and a slower rope in every other layer"
LIMIT = 2

EDITS = [
    new_file("src/models/toyar.cpp", """// Architecture "toyar": a toy. As qwen3, but every other layer sees three positions and turns slower.
#include "models/architectures.h"
#include "models/blocks.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, "toyar"));
    config.ropes.push_back(config.ropes[0]);
    config.ropes[1].base *= 4;
    for (size_t i = 1; i < config.layers.size(); i += 2) {
        AttentionGeometry& attention = std::get<AttentionGeometry>(config.layers[i].mixer);
        attention.window = 3;
        attention.rope = 1;
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.head_norms = true});
}

}  // namespace

const Architecture kToyArchitecture{.name = "toyar",
                                    .summary = "a toy",
                                    .model_types = {"toyar"},
                                    .read_config = read_config,
                                    .declare = declare,
                                    .build = build_decoder};

}  // namespace invar
"""),
    insert("src/models/architectures.h", "    EACH(kToyArchitecture) \\\n", before="    EACH(kLlamaArchitecture)"),
]


def logits(copy, model):
    text = copy.run(copy.root / "build/invar", "logits", model, "--tokens", "1,2,3,4,5,6,7,8", "--top", "41")
    return [line.split() for line in text.strip().split("\n")]


def check(copy):
    copy.build("invar")
    invar = copy.root / "build/invar"
    if "toyar" not in copy.run(invar, "models"):
        raise Failure("invar models does not list the toy")
    original = copy.root / "tests/data/goldens/qwen3.gguf"
    toy = copy.root / "toyar.gguf"
    toy.write_bytes(original.read_bytes().replace(b"qwen3", b"toyar"))  # of the same length, so that nothing moves
    difference = copy.run(invar, "inspect", toy, "--json")
    if '"layer 1\'s window": "3"' not in difference or '"layer 0\'s window": "0"' not in difference:
        raise Failure("invar inspect does not show the window of the layers that have one")
    ours, theirs = logits(copy, toy), logits(copy, original)
    if ours[0] != theirs[0]:
        raise Failure("the first position sees itself alone, and its logits changed all the same")
    if any(a == b for a, b in zip(ours[1:], theirs[1:])):
        raise Failure("later positions have the logits of the original")
