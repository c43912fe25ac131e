// A JSON file that maps the names and layouts of another engine's recording to ours:
//   {"stages": [{"theirs": "attn_norm-{layer}", "ours": "layer.{layer}.attention_norm"},
//               {"theirs": "Qcur-{layer}", "ours": "layer.{layer}.query_rope",
//                "layout": "adjacent_to_halves", "head_width": 64, "rotary_width": 64},
//               {"theirs": "kqv-{layer}", "ours": "layer.{layer}.attention", "transpose": [64, 8]},
//               {"theirs": "debug_{layer}", "drop": "why it is not compared"}]}
// {layer} stands for digits. A stage is mapped by the first entry whose "theirs" matches its whole name; without one it
// keeps its name. Layouts move the elements of each position: "adjacent_to_halves" and "halves_to_adjacent" regroup the
// pairs of the rotary embedding in every head, "transpose" [rows, columns] transposes theirs, which has that shape, and
// "shape" gives the shape in our recording.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proof/record/recording.h"

namespace invar {

class StageMap {
  public:
    // The error names the file and the entry: an unknown field, a pattern without a name, a layout that makes no sense.
    static Result<StageMap> parse(std::string_view json, const std::string& file);
    static Result<StageMap> load(const std::filesystem::path& path);

    // Renames, rearranges and drops stages. If the recording does not state its forward order, the new names give it.
    // Errors: a layout that does not fit a stage, two stages of one name.
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
