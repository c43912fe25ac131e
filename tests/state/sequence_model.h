// A plain model of SequenceState for random tests. Each sequence is its list of tokens, and every position of a page
// has a number that depends on all tokens up to it. The state is right if every number that a next row would read is
// the model's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "state/sequence_state.h"

namespace invar {

// Of a position: a number of all tokens up to it.
inline float content_of(std::span<const int32_t> tokens, int64_t position, std::string_view salt) {
    uint32_t state = 2166136261u;
    for (const char c : salt) state = (state ^ static_cast<uint8_t>(c)) * 16777619u;
    for (int64_t i = 0; i <= position; ++i)
        state = (state ^ static_cast<uint32_t>(tokens[static_cast<size_t>(i)] + 1)) * 16777619u;
    return static_cast<float>(state >> 8);
}

// The same of all positions at once.
inline std::vector<float> contents_of(std::span<const int32_t> tokens, std::string_view salt) {
    std::vector<float> contents;
    uint32_t state = 2166136261u;
    for (const char c : salt) state = (state ^ static_cast<uint8_t>(c)) * 16777619u;
    for (const int32_t token : tokens) {
        state = (state ^ static_cast<uint32_t>(token + 1)) * 16777619u;
        contents.push_back(static_cast<float>(state >> 8));
    }
    return contents;
}

struct ModelSequence {
    std::string salt;
    std::vector<int32_t> tokens;
};

class StateModel {
  public:
    explicit StateModel(SequenceState& state) : state_(state) {}

    std::map<int32_t, ModelSequence>& sequences() { return sequences_; }

    void add(const std::string& salt) {
        const int32_t added = state_.add_sequence(salt);
        ASSERT_FALSE(sequences_.contains(added)) << "a slot in use was given out again";
        sequences_[added] = {.salt = salt, .tokens = {}};
    }

    // Reserves, writes what a pass would write, advances. false: there was no room, and nothing changed.
    bool append(int32_t sequence, std::span<const int32_t> tokens) {
        ModelSequence& model = sequences_[sequence];
        const auto start = std::ssize(model.tokens);
        std::vector<std::vector<int32_t>> before;
        for (int group = 0; group < std::ssize(state_.groups()); ++group)
            before.emplace_back(state_.table(sequence, group).begin(), state_.table(sequence, group).end());
        const Result<void> room = state_.reserve(sequence, start + std::ssize(tokens));
        if (!room) {
            EXPECT_EQ(room.error().kind, ErrorKind::busy);
            for (int group = 0; group < std::ssize(state_.groups()); ++group) {
                const auto now = state_.table(sequence, group);
                EXPECT_TRUE(std::ranges::equal(now, before[static_cast<size_t>(group)])) << "a refusal changed pages";
            }
            return false;
        }
        model.tokens.insert(model.tokens.end(), tokens.begin(), tokens.end());
        const std::vector<float> contents = contents_of(model.tokens, model.salt);
        for (int64_t position = start; position < std::ssize(model.tokens); ++position)
            write(sequence, position, contents[static_cast<size_t>(position)]);
        state_.advance(sequence, tokens);
        return true;
    }

    void write(int32_t sequence, int64_t position, float content) {
        for (int layer = 0; layer < std::ssize(state_.layers()); ++layer) {
            if (float* place = element(sequence, layer, position)) *place = content + static_cast<float>(layer);
        }
    }

    // Everything that the row at the sequence's next position would read.
    void check(int32_t sequence) {
        const ModelSequence& model = sequences_[sequence];
        const auto length = std::ssize(model.tokens);
        ASSERT_EQ(state_.length(sequence), length);
        ASSERT_TRUE(std::ranges::equal(state_.tokens(sequence), model.tokens));
        const std::vector<float> contents = contents_of(model.tokens, model.salt);
        for (int layer = 0; layer < std::ssize(state_.layers()); ++layer) {
            const KvGeometry& geometry = state_.layers()[static_cast<size_t>(layer)];
            const int64_t window = geometry.window;
            const bool recurrent =
                state_.groups()[static_cast<size_t>(state_.group_of(layer))].kind == GroupKind::recurrence;
            int64_t first = window > 0 ? std::max<int64_t>(0, length + 1 - window) : 0;
            if (geometry.reach == Reach::in_blocks) first = length / window * window;
            if (recurrent) first = std::max<int64_t>(0, length - 1);
            for (int64_t position = first; position < length; ++position) {
                const float* place = element(sequence, layer, position);
                ASSERT_NE(place, nullptr) << "layer " << layer << ", position " << position << " of " << length;
                ASSERT_EQ(*place, contents[static_cast<size_t>(position)] + static_cast<float>(layer))
                    << "layer " << layer << ", position " << position << " of " << length;
            }
        }
    }

    // Every unit is held as often as tables name it, and no unit is lost.
    void check_accounts() {
        for (int group = 0; group < std::ssize(state_.groups()); ++group) {
            std::map<int32_t, int> named;
            for (const auto& [sequence, model] : sequences_)
                for (const int32_t unit : state_.table(sequence, group))
                    if (unit != kNoUnit) ++named[unit];
            int64_t held = 0;
            for (int32_t unit = 0; unit < state_.units(group); ++unit) {
                const int holders = state_.holders(group, unit);
                const auto found = named.find(unit);
                const int expected = found == named.end() ? 0 : found->second;
                const bool is_slot = state_.groups()[static_cast<size_t>(group)].kind == GroupKind::recurrence;
                if (is_slot) {
                    ASSERT_GE(holders, expected);  // private snapshots hold some too
                } else {
                    ASSERT_EQ(holders, expected) << "page " << unit << " of group " << group;
                }
                held += holders > 0 ? 1 : 0;
            }
            ASSERT_EQ(held + state_.available(group), state_.units(group)) << "a unit of group " << group << " is lost";
        }
    }

  private:
    float* element(int32_t sequence, int layer, int64_t position) {
        const int group = state_.group_of(layer);
        if (state_.groups()[static_cast<size_t>(group)].kind == GroupKind::recurrence)
            return state_.recurrence(sequence, layer).data();
        const auto pages = state_.pages_of(sequence, layer);
        const int64_t page = position / kPagePositions;
        if (page >= std::ssize(pages) || pages[static_cast<size_t>(page)] == kNoUnit) return nullptr;
        return reinterpret_cast<float*>(state_.keys(layer, pages[static_cast<size_t>(page)], 0)) +
               position % kPagePositions;
    }

    SequenceState& state_;
    std::map<int32_t, ModelSequence> sequences_;
};

}  // namespace invar
