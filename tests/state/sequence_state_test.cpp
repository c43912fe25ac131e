// Sequences against a plain model: whatever is added, forked, cut back, attached and removed, each reads exactly what
// its own tokens computed, and every page is accounted for.
#include "state/sequence_state.h"

#include <gtest/gtest.h>

#include <limits>

#include "state/sequence_model.h"

namespace invar {
namespace {

KvGeometry full() { return {.kv_heads = 1, .key_width = 1, .value_width = 1}; }
KvGeometry windowed(int window) { return {.kv_heads = 1, .key_width = 1, .value_width = 1, .window = window}; }

std::vector<int32_t> counted(int64_t count, int32_t first = 0) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = first + static_cast<int32_t>(i);
    return tokens;
}

std::unique_ptr<SequenceState> make_state(StateGeometry geometry, std::vector<int64_t> units,
                                          PrefixTree::KeyOf key_of = nullptr) {
    geometry.type = CacheType::f32;
    auto made = SequenceState::create({.geometry = std::move(geometry),
                                       .units = std::move(units),
                                       .digest = "model",
                                       .device = {},
                                       .key_of = std::move(key_of)});
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return std::move(*made);
}

TEST(SequenceState, AForkSharesPagesUntilOneOfTheTwoWritesIntoThem) {
    const auto state = make_state({.layers = {full()}}, {10});
    StateModel model(*state);
    model.add("");
    ASSERT_TRUE(model.append(0, counted(100)));
    EXPECT_EQ(state->available(), 8);
    const int32_t fork = state->fork(0);
    model.sequences()[fork] = model.sequences()[0];
    EXPECT_EQ(state->available(), 8);
    EXPECT_TRUE(std::ranges::equal(state->pages_of(0, 0), state->pages_of(fork, 0)));

    ASSERT_TRUE(model.append(fork, counted(1, 7)));
    EXPECT_EQ(state->available(), 7) << "the half-full page is copied, the full one is not";
    EXPECT_EQ(state->pages_of(0, 0)[0], state->pages_of(fork, 0)[0]);
    EXPECT_NE(state->pages_of(0, 0)[1], state->pages_of(fork, 0)[1]);
    ASSERT_TRUE(model.append(0, counted(1, 8)));
    EXPECT_EQ(state->available(), 7) << "the first one writes into its page, which it now has alone";
    model.check(0);
    model.check(fork);
    model.check_accounts();
}

TEST(SequenceState, PagesBehindAWindowAreGivenBackAndTheCacheFollowsTheWindow) {
    const auto state = make_state({.layers = {windowed(100), full()}}, {4, 100});
    StateModel model(*state);
    model.add("");
    for (int i = 0; i < 6000; ++i) ASSERT_TRUE(model.append(0, counted(1, i)));
    model.check(0);
    model.check_accounts();
    int64_t held = 0;
    for (const int32_t page : state->pages_of(0, 0)) held += page != kNoUnit ? 1 : 0;
    EXPECT_LE(held, 3) << "99 positions before the next one lie in at most 3 pages";
    EXPECT_EQ(state->pages_of(0, 0).size(), 94u);
    EXPECT_EQ(state->pages_of(0, 0)[0], kNoUnit);
    EXPECT_EQ(std::ranges::count(state->pages_of(0, 1), kNoUnit), 0);
}

TEST(SequenceState, PagesOfPastBlocksAreGivenBack) {
    const KvGeometry blocks{.kv_heads = 1, .key_width = 1, .value_width = 1, .reach = Reach::in_blocks, .window = 128};
    const auto state = make_state({.layers = {blocks, full()}}, {4, 100});
    StateModel model(*state);
    model.add("");
    for (int64_t length = 0; length < 1000; length += 50) {
        ASSERT_TRUE(model.append(0, counted(50, static_cast<int32_t>(length))));
        model.check(0);
        // What lies before the block of the first new position is not held.
        const std::span<const int32_t> pages = state->pages_of(0, 0);
        for (int64_t page = 0; page < length / 128 * 2; ++page) EXPECT_EQ(pages[static_cast<size_t>(page)], kNoUnit);
    }
    model.check_accounts();
}

TEST(SequenceState, WhatSeesBothWaysSharesNothingAndGoesBackToTheStartOnly) {
    KvGeometry layer = windowed(10);
    layer.reach = Reach::both_ways;
    const auto state = make_state({.layers = {layer, full()}}, {6});
    ASSERT_TRUE(state->sees_both_ways());
    EXPECT_FALSE(make_state({.layers = {windowed(10)}}, {1})->sees_both_ways());
    EXPECT_EQ(state->groups().size(), 1u) << "every page of a pass is needed, whatever the window";
    const std::vector<int32_t> text = counted(130);
    for (const int32_t sequence : {0, 1}) {
        ASSERT_EQ(state->add_sequence(), sequence);
        ASSERT_TRUE(state->reserve(sequence, 130).has_value());
        state->advance(sequence, text);
    }
    EXPECT_NE(state->pages_of(0, 0)[0], state->pages_of(1, 0)[0]) << "equal tokens, but they may go on differently";
    EXPECT_EQ(state->available(), 0);
    EXPECT_EQ(state->rewind(0, 130), 130);
    EXPECT_EQ(state->rewind(0, 129), 0);
    EXPECT_EQ(state->available(), 3);
    EXPECT_EQ(state->attach_prefix(0, text), 0);
}

TEST(SequenceState, AWindowSaysHowFarBackItKnows) {
    const auto state = make_state({.layers = {windowed(64)}}, {4});
    StateModel model(*state);
    model.add("");
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(model.append(0, counted(1, i)));
    EXPECT_EQ(state->rewind(0, 990), 990);
    EXPECT_EQ(state->length(0), 990);
    // Four pages hold the last 256 positions or fewer; a row at 300 would see the page of 256, which is long gone.
    EXPECT_EQ(state->rewind(0, 300), 0);
    EXPECT_EQ(state->length(0), 0);
    EXPECT_EQ(state->available(), 4);
}

TEST(SequenceState, AWindowReachesBackIntoPagesThatNobodyHasTakenYet) {
    const auto state = make_state({.layers = {windowed(64)}}, {20});
    StateModel model(*state);
    model.add("");
    ASSERT_TRUE(model.append(0, counted(640)));
    ASSERT_TRUE(model.append(0, counted(10, 5)));
    int64_t held = 0;
    for (const int32_t page : state->pages_of(0, 0)) held += page != kNoUnit ? 1 : 0;
    EXPECT_EQ(held, 2);
    EXPECT_EQ(state->rewind(0, 300), 300) << "its pages were given back, but are cached under their tokens";
    model.sequences()[0].tokens.resize(300);
    model.check(0);
}

TEST(SequenceState, AttachingTakesWholePagesOfEqualTokensOfTheSameSaltOnly) {
    const auto state = make_state({.layers = {full()}}, {20});
    StateModel model(*state);
    model.add("a");
    ASSERT_TRUE(model.append(0, counted(200)));
    state->remove_sequence(0);
    model.sequences().clear();
    EXPECT_EQ(state->cached(), 3);
    EXPECT_EQ(state->available(), 20);

    model.add("b");
    EXPECT_EQ(state->attach_prefix(0, counted(200)), 0) << "another salt";
    model.add("a");
    std::vector<int32_t> other = counted(200);
    other[70] = 1;
    EXPECT_EQ(state->attach_prefix(1, other), 64);
    EXPECT_EQ(state->rewind(1, 0), 0);
    EXPECT_EQ(state->attach_prefix(1, counted(191)), 128) << "the third page is not whole";
    model.sequences()[1].tokens = counted(128);
    model.check(1);
    model.check_accounts();
}

TEST(SequenceState, EqualHashesOfDifferentTokensShareNothing) {
    const auto state = make_state({.layers = {full()}}, {20}, [](auto) { return std::string("same"); });
    StateModel model(*state);
    model.add("");
    model.add("");
    ASSERT_TRUE(model.append(0, counted(128)));
    ASSERT_TRUE(model.append(1, counted(128, 50)));
    model.check(0);
    model.check(1);
    EXPECT_EQ(state->available(), 16);
    model.add("");
    EXPECT_EQ(state->attach_prefix(2, counted(128, 50)), 128);
    EXPECT_EQ(state->pages_of(2, 0)[0], state->pages_of(1, 0)[0]);
}

TEST(SequenceState, TwoThatComputeTheSameKeepOneCopy) {
    const auto state = make_state({.layers = {full()}}, {20});
    StateModel model(*state);
    model.add("");
    model.add("");
    ASSERT_TRUE(model.append(0, counted(130)));
    ASSERT_TRUE(model.append(1, counted(130)));
    EXPECT_EQ(state->available(), 20 - 2 - 2);
    EXPECT_EQ(state->pages_of(0, 0)[1], state->pages_of(1, 0)[1]);
    model.check(0);
    model.check(1);
    model.check_accounts();
}

TEST(SequenceState, AWindowNeedsNoMoreUnitsForALongerContext) {
    const auto layout = lay_out_state({.layers = {windowed(1000), full()}});
    ASSERT_TRUE(layout.has_value());
    StateDemand demand{.context = 100000, .chunk = 512, .sequences = 3};
    // 999 + 512 positions in a row lie in at most 25 pages.
    EXPECT_EQ(units_for(layout->groups[0], demand), 3 * 25);
    EXPECT_EQ(units_for(layout->groups[1], demand), 3 * 1563);
    demand.positions = 1000;
    EXPECT_EQ(units_for(layout->groups[1], demand), 16);
    demand.context = 64;
    EXPECT_EQ(units_for(layout->groups[0], demand), 3);
}

TEST(SequenceState, ValuesThatLieInTheirKeysTakeNoRoomOfTheirOwn) {
    const KvGeometry latent{.kv_heads = 1, .key_width = 576, .value_width = 512, .values_in_keys = true};
    const auto state = SequenceState::create({latent, latent}, CacheType::f16, 3);
    ASSERT_TRUE(state.has_value());
    EXPECT_EQ((*state)->bytes(), 3 * 2 * 576 * 64 * 2);
    EXPECT_EQ((*state)->values(1, 2, 0), (*state)->keys(1, 2, 0));
    EXPECT_FALSE(SequenceState::create({{.kv_heads = 1, .key_width = 8, .value_width = 9, .values_in_keys = true}},
                                       CacheType::f16, 1)
                     .has_value());
}

// ---- recurrences

StateGeometry hybrid() {
    return {.layers = {full(), {}}, .recurrences = {{}, {.state_elements = 5, .column_elements = 3}}};
}

TEST(SequenceState, ARecurrenceStartsWithZerosAndGoesBackToItsSnapshots) {
    const auto state = make_state(hybrid(), {50, 8});
    StateModel model(*state);
    model.add("");
    ASSERT_TRUE(state->reserve(0, 1).has_value());
    for (const float element : state->recurrence(0, 1)) EXPECT_EQ(element, 0.0f);
    EXPECT_EQ(state->recurrence(0, 1).size(), 8u);
    ASSERT_TRUE(model.append(0, counted(50)));
    ASSERT_TRUE(*state->snapshot(0));
    ASSERT_TRUE(model.append(0, counted(78)));
    ASSERT_TRUE(*state->snapshot(0));
    ASSERT_TRUE(model.append(0, counted(30)));
    EXPECT_EQ(state->rewind(0, 157), 128) << "a recurrence is not cut back: the nearest snapshot";
    model.sequences()[0].tokens.resize(128);
    model.check(0);
    EXPECT_EQ(state->rewind(0, 127), 50);
    model.sequences()[0].tokens.resize(50);
    model.check(0);
    ASSERT_TRUE(model.append(0, counted(20, 9)));
    model.check(0);
    EXPECT_EQ(state->rewind(0, 69), 50) << "going on from a snapshot does not spoil it";
    EXPECT_EQ(state->rewind(0, 49), 0);
    ASSERT_TRUE(state->reserve(0, 1).has_value());
    for (const float element : state->recurrence(0, 1)) EXPECT_EQ(element, 0.0f);
}

TEST(SequenceState, OthersAttachToARecurrenceWhereASnapshotWasTaken) {
    const auto state = make_state(hybrid(), {50, 8});
    StateModel model(*state);
    model.add("");
    ASSERT_TRUE(model.append(0, counted(128)));
    ASSERT_TRUE(*state->snapshot(0));
    ASSERT_TRUE(model.append(0, counted(128, 128)));
    model.add("");
    EXPECT_EQ(state->attach_prefix(1, counted(256)), 128) << "pages are known to 256, the recurrence to 128";
    model.sequences()[1].tokens = counted(128);
    model.check(1);
    ASSERT_TRUE(model.append(1, counted(64, 128)));
    model.check(0);
    model.check(1);
}

TEST(SequenceState, SnapshotsStayWithinTheirSlotsAndGiveWayToSequences) {
    const auto state = make_state(hybrid(), {50, 3});
    StateModel model(*state);
    model.add("");
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(model.append(0, counted(10, i)));
        ASSERT_TRUE(*state->snapshot(0));
    }
    ASSERT_TRUE(model.append(0, counted(10)));
    ASSERT_TRUE(*state->snapshot(0)) << "one state and two snapshots are three slots: the oldest gives way";
    const int32_t forked = state->fork(0);
    EXPECT_EQ(state->rewind(forked, 29), 20);
    EXPECT_EQ(state->rewind(forked, 19), 0) << "that of position 10 is gone";
    state->remove_sequence(forked);
    model.add("");
    ASSERT_TRUE(model.append(1, counted(5))) << "a snapshot gives way to a sequence";
    EXPECT_EQ(state->rewind(0, 29), 0);
    model.sequences()[0].tokens.clear();
    model.add("");
    ASSERT_TRUE(model.append(2, counted(5)));
    ASSERT_TRUE(model.append(0, counted(5)));
    model.add("");
    EXPECT_FALSE(model.append(3, counted(5)));
    for (const int32_t sequence : {0, 1, 2}) model.check(sequence);
}

TEST(SequenceState, AStateThatAFailedPassChangedIsGivenUp) {
    const auto state = make_state(hybrid(), {50, 4});
    StateModel model(*state);
    model.add("");
    ASSERT_TRUE(model.append(0, counted(50)));
    ASSERT_TRUE(*state->snapshot(0));
    ASSERT_TRUE(model.append(0, counted(20)));
    const auto spoil = [&] {
        ASSERT_TRUE(state->reserve(0, state->length(0) + 4));
        for (float& element : state->recurrence(0, 1)) element = std::numeric_limits<float>::quiet_NaN();
    };
    spoil();
    EXPECT_EQ(state->lose_state(0), 50);
    model.sequences()[0].tokens.resize(50);
    model.check(0);
    spoil();
    EXPECT_EQ(state->lose_state(0), 50) << "the snapshot itself was never written to";
    model.check(0);
    ASSERT_TRUE(model.append(0, counted(30, 7)));
    model.check(0);
    // Without a snapshot everything is given up, and without a recurrence nothing.
    model.add("");
    ASSERT_TRUE(model.append(1, counted(9)));
    EXPECT_EQ(state->lose_state(1), 0);
    const auto plain = make_state({.layers = {full()}}, {4});
    StateModel others(*plain);
    others.add("");
    ASSERT_TRUE(others.append(0, counted(9)));
    EXPECT_EQ(plain->lose_state(0), 9);
    others.check(0);
}

TEST(SequenceState, AReservationThatOneGroupRefusesChangesNoOther) {
    const auto state = make_state({.layers = {full(), windowed(10)}}, {10, 1});
    StateModel model(*state);
    model.add("");
    EXPECT_FALSE(model.append(0, counted(65)));
    EXPECT_EQ(state->available(0), 10);
    EXPECT_EQ(state->available(1), 1);
    EXPECT_TRUE(model.append(0, counted(64)));
}

// ---- random use

struct RandomCase {
    StateGeometry geometry;
    std::vector<int64_t> units;
    bool collisions = false;
};

void use_at_random(const RandomCase& c, uint32_t seed, int64_t operations, std::map<std::string, int64_t>& counts) {
    const auto state = make_state(c.geometry, c.units,
                                  c.collisions ? [](auto) { return std::string("same"); } : PrefixTree::KeyOf(nullptr));
    StateModel model(*state);
    std::mt19937 random(seed);
    const auto below = [&](int64_t count) { return static_cast<int64_t>(random() % static_cast<uint64_t>(count)); };
    // Few different prompts, so that prefixes meet.
    const auto prompt = [&] {
        std::vector<int32_t> tokens = counted(1 + below(300), 0);
        if (below(2) == 0) tokens[static_cast<size_t>(below(std::ssize(tokens)))] = -1;
        return tokens;
    };
    for (int64_t i = 0; i < operations; ++i) {
        auto& sequences = model.sequences();
        const int64_t action = below(20);
        if (sequences.empty() || (action < 3 && sequences.size() < 6)) {
            model.add(below(4) == 0 ? "salt" : "");
            if (::testing::Test::HasFatalFailure()) return;
            continue;
        }
        auto some = sequences.begin();
        std::advance(some, below(std::ssize(sequences)));
        const int32_t sequence = some->first;
        ModelSequence& tokens = some->second;
        if (action < 5) {
            state->remove_sequence(sequence);
            sequences.erase(some);
            ++counts["remove"];
        } else if (action < 7 && sequences.size() < 6) {
            const int32_t fork = state->fork(sequence);
            sequences[fork] = sequences[sequence];
            ++counts["fork"];
        } else if (action < 10) {
            const int64_t wanted = below(std::ssize(tokens.tokens) + 1);
            const int64_t got = state->rewind(sequence, wanted);
            ASSERT_LE(got, wanted);
            tokens.tokens.resize(static_cast<size_t>(got));
            ++counts[got == wanted ? "rewind" : "rewind short"];
        } else if (action < 12) {
            if (!tokens.tokens.empty()) continue;
            const std::vector<int32_t> wanted = prompt();
            const int64_t got = state->attach_prefix(sequence, wanted);
            ASSERT_LE(got, std::ssize(wanted));
            tokens.tokens.assign(wanted.begin(), wanted.begin() + got);
            ++counts[got > 0 ? "attach" : "attach nothing"];
        } else if (action < 13) {
            ASSERT_TRUE(state->snapshot(sequence).has_value());
        } else if (action < 14) {
            if (!state->has_recurrences() || !state->reserve(sequence, state->length(sequence) + 1)) continue;
            for (size_t layer = 0; layer < c.geometry.recurrences.size(); ++layer) {
                if (c.geometry.recurrences[layer].bytes() == 0) continue;
                for (float& element : state->recurrence(sequence, static_cast<int>(layer))) element = -1.0f;
            }
            tokens.tokens.resize(static_cast<size_t>(state->lose_state(sequence)));
            ++counts["lose state"];
        } else if (tokens.tokens.size() < 500) {
            std::vector<int32_t> wanted = prompt();
            const auto at = tokens.tokens.size();
            if (wanted.size() > at) wanted.erase(wanted.begin(), wanted.begin() + static_cast<int64_t>(at));
            const bool grew = model.append(sequence, wanted);
            ++counts[grew ? "append" : "refused"];
        }
        if (model.sequences().contains(sequence)) model.check(sequence);
        if (i % 16 == 0) {
            for (const auto& [each, unused] : model.sequences()) model.check(each);
            model.check_accounts();
        }
        if (::testing::Test::HasFatalFailure()) return;
    }
    while (!model.sequences().empty()) {
        state->remove_sequence(model.sequences().begin()->first);
        model.sequences().erase(model.sequences().begin());
    }
    for (int group = 0; group < std::ssize(state->groups()); ++group)
        ASSERT_EQ(state->available(group), state->units(group)) << "a unit leaked";
}

TEST(SequenceState, RandomUseReadsWhatItComputedAndLosesNoPage) {
    const std::vector<RandomCase> cases = {
        {.geometry = {.layers = {full(), full()}}, .units = {30}},
        {.geometry = {.layers = {full()}}, .units = {30}, .collisions = true},
        {.geometry = {.layers = {full(), windowed(70), full(), windowed(200)}}, .units = {40, 12, 20}},
        {.geometry =
             {.layers = {full(),
                         {.kv_heads = 1, .key_width = 1, .value_width = 1, .reach = Reach::in_blocks, .window = 100}}},
         .units = {40, 20}},
        {.geometry = {.layers = {full(), {}, windowed(100)}, .recurrences = {{}, {.state_elements = 2}, {}}},
         .units = {40, 8, 14}}};
    std::map<std::string, int64_t> counts;
    constexpr int64_t kOperations = 100000;
    for (size_t i = 0; i < cases.size(); ++i) {
        SCOPED_TRACE(i);
        use_at_random(cases[i], 20 + static_cast<uint32_t>(i), kOperations / std::ssize(cases), counts);
        if (HasFatalFailure()) return;
    }
    for (const auto& [name, count] : counts) printf("[state] %s: %lld\n", name.c_str(), static_cast<long long>(count));
    for (const char* name : {"remove", "fork", "rewind", "rewind short", "attach", "append", "refused", "lose state"})
        EXPECT_GT(counts[name], 100) << name;
}

}  // namespace
}  // namespace invar
