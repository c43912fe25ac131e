// The table of the audit's checks: name, severity, meaning and advice. An error is a state that nobody can have
// intended, a warning one that hardly anybody intends, a note one that is harmless.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "proof/audit/audit.h"

namespace invar {
namespace {

using enum Severity;

constexpr std::string_view kMakeAgain =
    "Download the file again and compare its checksum; if it is as published, convert it again from the original.";
constexpr std::string_view kLookAtOriginal =
    "Look at the same tensor in the original checkpoint (invar diff); if it differs there, the conversion went wrong.";
constexpr std::string_view kConvertTokenizer =
    "Convert again with the tokenizer files of the original model beside its weights.";
constexpr std::string_view kGiveTemplate =
    "Give a template that works with --chat-template, and report the file to whoever made it.";

constexpr AuditCheck kChecks[] = {
    // The file as a whole.
    {"refused", error, "The engine does not run this file as it is.", kMakeAgain},
    {"architecture", note, "Which tensors the model needs, and their shapes, could not be checked.",
     "See invar models for the architectures supported."},

    // Weights.
    {"non-finite-scale", error,
     "Every weight of the block is a NaN or infinite, and so is all that is computed from it.", kMakeAgain},
    {"reserved-scale", error,
     "The scale byte is no number in the format's definition; engines read it differently, so that answers differ.",
     kMakeAgain},
    {"non-finite-weight", error, "A NaN or an infinity spreads to everything that is computed from it.", kMakeAgain},
    {"huge-weight", error,
     "No trained weight is above 65504, the largest binary16; engines that compute in it get infinities.", kMakeAgain},
    {"dead-tensor", error, "Every weight is zero: the tensor was never written, or was lost on the way.", kMakeAgain},
    {"dead-expert", warning, "All weights of an expert are zero: tokens sent to it lose that share of their result.",
     kLookAtOriginal},
    {"dead-rows", warning,
     "Whole rows are zero: these outputs are always zero. Pruned models have such rows on purpose.", kLookAtOriginal},
    {"unused-tokens", note,
     "The rows of these tokens are zero: they were never trained. Common in padded vocabularies.",
     "Nothing, unless one of them is a token that you use."},
    {"dead-blocks", warning, "Whole blocks are zero in rows that are not: a piece of the tensor was lost or pruned.",
     kLookAtOriginal},
    {"constant-blocks", warning, "All weights of a block are the same number, which training does not produce.",
     kMakeAgain},
    {"scale-outlier", warning, "A scale is far above those of the same tensor: one flipped exponent bit does that.",
     kMakeAgain},
    {"faint-blocks", note,
     "Scales are far below those of the same tensor: these weights hardly matter. Usual in rows of rare tokens.",
     "Nothing, unless the tensor is no token table; then look at it in the original checkpoint (invar diff)."},
    {"coarse-scales", note,
     "Scales are so small that binary16 holds them in few steps: the weights are off by up to the share given.",
     "Quantise from the original again with another format if the tensor matters."},
    {"off-centre", warning,
     "The mean is far from zero: codes read without their offset, or a minimum that was lost, look like this.",
     kLookAtOriginal},
    {"constant-norm", warning, "All weights of a norm are one: it was filled in, not read.", kLookAtOriginal},
    {"zero-bias", note, "A bias that is all zero does nothing.", "Nothing."},
    {"duplicated-blocks", warning,
     "The same bytes stand at several places, far beyond chance: a buffer was written twice.", kMakeAgain},
    {"duplicated-rows", warning, "Rows are equal, which training does not produce: a piece was copied over another.",
     kLookAtOriginal},
    {"equal-tokens", note, "Tokens share one row: they were never told apart in training. Common for reserved tokens.",
     "Nothing, unless one of them is a token that you use."},
    {"duplicated-experts", warning,
     "Experts hold the same weights: one was copied over another, or the model was made from copies and not trained.",
     kLookAtOriginal},
    {"equal-router-rows", warning, "Experts get the same score for every token: the router cannot tell them apart.",
     kLookAtOriginal},
    {"duplicated-tensor", warning,
     "Two tensors hold the same bytes: one was written over the other, or a merged model repeats its layers.",
     kLookAtOriginal},
    {"head-stored-twice", note, "The output head is the embedding, stored a second time.",
     "Leave the head out when converting: it is then shared, and the file and the memory become smaller."},
    {"odd-layer", warning,
     "A tensor's size differs much from the same tensor of the other layers: wrongly scaled or another one.",
     kLookAtOriginal},
    {"tensor-scale", error,
     "The weights are of a size that no trained model has: the scale of the whole tensor is inverted or missing.",
     kLookAtOriginal},
    {"block-scale", error,
     "Scales are negative, infinite or no numbers, which no writer makes: the file is damaged, and it is not run.",
     kLookAtOriginal},
    {"dead-scale", warning,
     "The scale of a whole tensor is zero, and so are its weights: no calibration text reached this expert.",
     kLookAtOriginal},
    {"quantised-router", warning,
     "The router is quantised: small errors there send tokens to other experts, which answers do not survive.",
     "Convert again from the original with the router left as it was."},
    {"ignore-matches-nothing", note,
     "An entry of the config's ignore list names no module of the file. Modules of other parts, and parents of "
     "modules, "
     "do that.",
     "Nothing, unless it was meant to name one."},
    {"odd-expert", warning,
     "An expert's size differs much from the others of its layer: wrongly scaled or not trained.", kLookAtOriginal},

    // Tokenizer.
    {"tokenizer-missing", warning, "The file has no tokenizer: it can be run on token ids only.", kConvertTokenizer},
    {"tokenizer-refused", error, "No text can be turned into tokens.", kConvertTokenizer},
    {"duplicate-tokens", error, "One text has several tokens: which of them a text becomes is not defined.",
     kConvertTokenizer},
    {"tokens-without-rows", error, "A text can become a token that the embedding has no row for.", kConvertTokenizer},
    {"rows-without-tokens", note,
     "The embedding has rows that no token belongs to: padding. They are never chosen in training.", "Nothing."},
    {"special-token-range", error, "A special token's number is no token of the vocabulary.", kConvertTokenizer},
    {"special-token-kind", warning,
     "A special token is not marked as control: it is printed in answers and read from users' text.",
     kConvertTokenizer},
    {"bos-missing", error, "A beginning-of-sequence token is to be added, but the file names none.", kConvertTokenizer},
    {"no-end-token", warning, "No token ends an answer: generation stops at the length limit only.", kConvertTokenizer},
    {"merges-of-unknown", warning,
     "Merges name texts that are no tokens: they are never applied, so texts are cut differently.", kConvertTokenizer},
    {"bytes-missing", warning, "Some bytes have no token: texts with these bytes cannot be encoded.",
     kConvertTokenizer},
    {"round-trip", error, "A text does not come back from its tokens.", kConvertTokenizer},

    // Chat template.
    {"template-missing", note, "There is no chat template: a conversation cannot be turned into a prompt.",
     "Use --raw for a base model, or give the template with --chat-template."},
    {"template-syntax", error, "The chat template is no valid program.", kGiveTemplate},
    {"template-fails", error, "The chat template does not render a conversation of two turns.", kGiveTemplate},
    {"template-no-system", note, "The chat template refuses a system message.",
     "Put instructions into the first user message."},
    {"marker-unknown", error,
     "A mark in every prompt is no token: the model reads it letter by letter, which it never did in training.",
     kConvertTokenizer},
    {"marker-unknown-elsewhere", warning, "A mark that the template may write is no token.", kConvertTokenizer},
    {"turn-end", error, "What ends an answer in the template does not end generation: the model talks on as the user.",
     kConvertTokenizer},
    {"double-bos", note, "The template writes the beginning-of-sequence token and the tokenizer adds it, too.",
     "Nothing here: prompts get one. Other engines may give two."},
};

}  // namespace

std::string_view severity_name(Severity severity) {
    constexpr std::array<std::string_view, 3> kNames = {"note", "warning", "error"};
    return kNames[static_cast<size_t>(severity)];
}

std::span<const AuditCheck> audit_checks() { return kChecks; }

const AuditCheck& audit_check(std::string_view name) {
    const auto* found = std::find_if(std::begin(kChecks), std::end(kChecks),
                                     [&](const AuditCheck& check) { return check.name == name; });
    CHECK(found != std::end(kChecks), "a finding belongs to a check of the table");
    return *found;
}

}  // namespace invar
