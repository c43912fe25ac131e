// Orders of rows and of columns: where a tensor has the rows of a weight. An order is a formula, so that a weight of
// any size has one of a few bytes. RowOrder and GroupOrder map a row as it is wanted to the row of the tensor that
// holds it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace invar {

// A tensor that stores group after group, each with the rows of all its sections, is wanted section after section, each
// with the rows of all groups. Two uses: the projections of each key head side by side, {q, k, v, z} head by head, are
// wanted as all q, all k, all v; and value heads that are stored in groups of one key head each are wanted so that
// neighbours belong to neighbouring key heads.
struct GroupOrder {
    int64_t count = 0;                     // of groups; 0: nothing moves
    int64_t rows = 0;                      // of the tensor, from the start of one group to that of the next
    std::array<int64_t, 3> sections = {};  // rows of each section in one group, from the group's start; the last one
                                           // that is not 0 repeats as long as rows are wanted
    int64_t unmoved = 0;                   // the groups are behind so many rows that stay where they are

    int64_t at(int64_t row) const {
        if (count == 0 || row < unmoved) return row;
        const Place place = find(row);
        return unmoved + place.group * rows + place.before + place.in_section;
    }
    // How many rows from this one on, `most` at most, are stored one behind the other.
    int64_t run(int64_t row, int64_t most) const {
        if (!moves()) return most;
        if (row < unmoved) return std::min(most, unmoved - row);
        const Place place = find(row);
        return std::min(most, place.width - place.in_section);
    }
    bool moves() const { return count > 1 && (sections[1] != 0 || rows != sections[0]); }
    // Whether blocks of so many rows stay together.
    bool keeps_blocks_of(int64_t size) const {
        return !moves() || (rows % size == 0 && unmoved % size == 0 &&
                            std::all_of(sections.begin(), sections.end(), [&](int64_t s) { return s % size == 0; }));
    }
    bool operator==(const GroupOrder&) const = default;

  private:
    struct Place {
        int64_t group, before, width, in_section;  // `before`: rows of the group in front of this section
    };
    Place find(int64_t row) const {
        int64_t rest = row - unmoved, before = 0;
        size_t section = 0;
        while (section + 1 < sections.size() && sections[section + 1] > 0 && rest >= count * sections[section]) {
            rest -= count * sections[section];
            before += sections[section++];
        }
        const int64_t width = sections[section], all = count * width;
        return {rest % all / width, before + rest / all * width, width, rest % width};
    }
};

// Maps row r of a matrix of the weight to the row first + step * order(r) of a tensor.
struct RowOrder {
    int64_t first = 0, step = 1;
    // The size of a head whose first `rotary_width` rows are stored as neighbouring pairs of rope but wanted as halves:
    // row i of the halves is stored as row 2 i, row i + rotary_width / 2 as row 2 i + 1. 0: the order is as wanted.
    int64_t head_width = 0, rotary_width = 0;
    GroupOrder groups = {};

    int64_t at(int64_t row) const {
        if (head_width > 0) {
            const int64_t in_head = row % head_width, half = rotary_width / 2;
            if (in_head < rotary_width) row += 2 * (in_head % half) + in_head / half - in_head;
        }
        return first + step * groups.at(row);
    }
    bool consecutive() const { return step == 1 && head_width == 0 && !groups.moves(); }
    // How many rows from this one on, `most` at most, are stored one behind the other.
    int64_t run(int64_t row, int64_t most) const {
        return step == 1 && head_width == 0 ? groups.run(row, most) : std::min<int64_t>(most, 1);
    }
    bool operator==(const RowOrder&) const = default;
};

}  // namespace invar
