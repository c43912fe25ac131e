// The hyper-parameters of a checkpoint under our own words, however its dialect spells them. One table per dialect maps
// words to keys (hyperparameter_tables.cpp). It reads numbers and refuses those out of range. read_config.h knows what
// an architecture needs and how numbers follow from each other.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

// Collects the words that readers ask for in this thread while it lives, whether there is a value or not. Those that
// live at the same time are destroyed in the reverse order, and each collects.
class AskedWords {
  public:
    AskedWords();
    ~AskedWords();
    AskedWords(const AskedWords&) = delete;
    AskedWords& operator=(const AskedWords&) = delete;

    bool has(std::string_view word) const { return words_.contains(word); }
    bool as_number(std::string_view word) const { return numbers_.contains(word); }  // one that need not be an integer

  private:
    friend class Hyperparameters;
    static void note_word(std::string_view word);
    static void note_number(std::string_view word);

    std::set<std::string, std::less<>> words_, numbers_;
    AskedWords* outer_;
};

class Hyperparameters {
  public:
    explicit Hyperparameters(const Checkpoint& checkpoint);

    const Checkpoint& checkpoint() const { return checkpoint_; }
    const std::string& file() const { return checkpoint_.name(); }
    // The place of a word as messages call it: "metadata key 'llama.block_count'".
    std::string spell(std::string_view word) const;
    bool has(std::string_view word) const;
    // The value as the config of a directory has it, or as the code of its kind of model takes it; null if there is
    // none, and for a GGUF file.
    const Json* stated(std::string_view word) const;

    // Errors: missing, of another type, out of [low, high].
    Result<int64_t> integer(std::string_view word, int64_t low, int64_t high) const;
    // Reads one number for all layers, or an array with one number per layer.
    Result<std::vector<int64_t>> for_each_layer(std::string_view word, size_t layers, int64_t low, int64_t high) const;
    Result<double> number(std::string_view word) const;
    // Also fails if the number is not finite, positive and normal as binary32, in which most of them are used.
    Result<double> positive(std::string_view word) const;
    Result<double> positive_or(std::string_view word, double otherwise) const;
    Result<std::string> text(std::string_view word) const;
    // Of a directory's config only.
    Result<std::vector<std::string>> texts(std::string_view word) const;
    // The same with one text for each layer, which names its kind.
    Result<std::vector<std::string>> kinds_of_layers(std::string_view word, size_t layers) const;
    Result<bool> boolean_or(std::string_view word, bool otherwise) const;
    bool is_list(std::string_view word) const;
    Result<std::vector<bool>> booleans(std::string_view word) const;  // of a GGUF file only
    // The same as boolean_or() of config.json itself, where the text model is described by its text_config.
    Result<bool> boolean_at_top(std::string_view word, bool otherwise) const;
    Result<std::vector<int64_t>> integers(std::string_view word, int64_t low, int64_t high) const;
    // Of a directory's config only.
    Result<std::vector<double>> numbers(std::string_view word) const;

    // general.architecture of GGUF, or model_type of config.json: what an architecture is found by. "mistral" in
    // Mistral's own layout, or "ministral3" if queries are scaled there.
    static Result<std::string> architecture(const Checkpoint& checkpoint);
    // Fails if config.json has one word under several of its keys with values that differ.
    Result<void> check_spellings() const;
    // Words whose number is not in the checkpoint and was taken from the code of its kind of model.
    std::vector<std::string> defaults_taken() const;

  private:
    std::string key(std::string_view word) const;
    // How a config that says nothing of the word would spell it: in the object that it has for such numbers, else as
    // models of its type do.
    std::string_view absent_key(std::string_view word) const;
    const std::vector<std::string_view>& paths(std::string_view word) const;  // of a directory's config
    const Json* find(std::string_view word) const;

    const Checkpoint& checkpoint_;
    std::string kind_;  // as architecture(), but "transformer" in Mistral's own layout
};

}  // namespace invar
