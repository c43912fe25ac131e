// Names and layouts of another engine's recording, as a JSON file:
//   {"stages": [{"theirs": "attn_norm-{layer}", "ours": "layer.{layer}.attention_norm"},
//               {"theirs": "Qcur-{layer}", "ours": "layer.{layer}.query_rope",
//                "layout": "adjacent_to_halves", "head_width": 64, "rotary_width": 64},
//               {"theirs": "kqv-{layer}", "ours": "layer.{layer}.attention", "transpose": [64, 8]},
//               {"theirs": "debug_{layer}", "drop": "why it is not compared"}]}
// {layer} stands for digits; the first entry whose "theirs" is the whole name counts; names without one stay. Layouts
// move the elements of each position: "adjacent_to_halves" and "halves_to_adjacent" regroup the pairs of the rotary
// embedding in every head, "transpose" [rows, columns] turns theirs, so shaped, around, "shape" states ours afterwards.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proof/record/recording.h"

namespace invar {

class StageMap {
  public:
    // Errors name the file and the entry: an unknown field, a pattern without name, a layout that makes no sense.
    static Result<StageMap> parse(std::string_view json, const std::string& file);
    static Result<StageMap> load(const std::filesystem::path& path);

    // Renames, rearranges and drops stages. Where the recording does not state its forward order, it then follows from
    // the new names. Errors: a layout that does not fit a stage, two stages of one name.
    Result<void> apply(Recording& recording) const;
    bool empty() const { return entries_.empty(); }

  private:
    struct Entry {
        std::string theirs, ours, drop;
        enum class Layout : uint8_t { same, adjacent_to_halves, halves_to_adjacent, transpose } layout = Layout::same;
        int64_t head_width = 0, rotary_width = 0;
        int64_t rows = 0, columns = 0;
        std::vector<int64_t> shape;
    };

    static Result<Entry> read_entry(const Json& entry, const std::string& place);
    static Result<void> rearrange(const Entry& entry, StageRecord& stage);

    std::vector<Entry> entries_;
};

}  // namespace invar
