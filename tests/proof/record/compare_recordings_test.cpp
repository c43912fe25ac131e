// Every class of failure, each on a recording in which exactly one thing was changed; and what may be waived.
#include "proof/record/compare_recordings.h"

#include <bit>
#include <cmath>

#include "proof/record/stage_map.h"
#include "proof/record/statistics_recorder.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

using test::TinyEngine;
using Outcome = StageOutcome;

const Recording& recorded() {
    static const Recording recording = [] {
        TinyEngine engine("qwen3moe");
        StageSelection selection;
        selection.attention_scores = true;
        return test::record(engine.runner(), test::some_tokens(9), 9, selection);
    }();
    return recording;
}

StageRecord& stage_of(Recording& recording, StageKey key) {
    for (StageRecord& stage : recording.stages) {
        if (stage.key == key) return stage;
    }
    ADD_FAILURE() << to_string(key) << " is not there";
    return recording.stages.front();
}

template <class Value>
Value get(const StageRecord& stage, int64_t index, int64_t element) {
    Value value;
    std::memcpy(&value, stage.at(index) + element * static_cast<int64_t>(sizeof value), sizeof value);
    return value;
}

template <class Value>
void set(StageRecord& stage, int64_t index, int64_t element, Value value) {
    const auto place = static_cast<size_t>((index * stage.width() + element) * static_cast<int64_t>(sizeof value));
    std::memcpy(stage.data.data() + place, &value, sizeof value);
}

RecordingComparison compared(const Recording& a, const Recording& b, const char* tolerances = nullptr) {
    Tolerances parsed;
    if (tolerances != nullptr) {
        auto result = Tolerances::parse(tolerances, "t.json");
        EXPECT_TRUE(result) << result.error().message;
        if (result) parsed = *result;
    }
    auto result = compare_recordings(a, b, parsed);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : RecordingComparison();
}

TEST(CompareRecordings, EqualOnesAreEqualInEveryValue) {
    const RecordingComparison result = compared(recorded(), recorded());
    EXPECT_EQ(result.count(Outcome::equal), static_cast<int64_t>(recorded().stages.size()));
    EXPECT_EQ(result.stages.size(), 26u * 2 + 4);
    EXPECT_EQ(result.values, 107046);  // recording_file_test.cpp counts them
    EXPECT_EQ(result.differing, 0);
    EXPECT_EQ(result.failures(), 0);
    EXPECT_EQ(result.first_failure(), nullptr);
    EXPECT_TRUE(result.complete());
}

TEST(CompareRecordings, FindsOneFlippedBitAndSaysWhere) {
    Recording other = recorded();
    StageRecord& query = stage_of(other, {1, "query"});
    const auto bits = get<uint32_t>(query, 4, 17);
    set(query, 4, 17, bits ^ 1u);
    set(stage_of(other, {1, "attention"}), 0, 3, 1e9f);
    const RecordingComparison result = compared(recorded(), other);
    EXPECT_EQ(result.count(Outcome::different), 2);
    EXPECT_EQ(result.differing, 2);
    const StageComparison* first = result.first_failure();
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(to_string(first->key), "layer.1.query");
    EXPECT_EQ(first->verb, "linear");
    EXPECT_EQ(first->figures.differing, 1);
    EXPECT_EQ(first->figures.values, 9 * 256);
    ASSERT_TRUE(first->figures.first);
    EXPECT_EQ(first->figures.first->position, 4);
    EXPECT_EQ(first->figures.first->element, 17);
    EXPECT_EQ(first->figures.first->a_bits, fmt::format("0x{:08x}", bits));
    EXPECT_EQ(first->figures.first->b_bits, fmt::format("0x{:08x}", bits ^ 1u));
    EXPECT_EQ(first->figures.first->b, std::bit_cast<float>(bits ^ 1u));
}

TEST(CompareRecordings, ACosineWouldHavePassedWhatItFinds) {
    Recording other = recorded();
    StageRecord& stage = stage_of(other, {0, "residual_after_ffn"});
    set(stage, 2, 100, get<float>(stage, 2, 100) + 2.5f);
    const RecordingComparison result = compared(recorded(), other);
    const StageComparison* first = result.first_failure();
    ASSERT_NE(first, nullptr);
    EXPECT_GT(first->figures.cosine, 0.99);  // the rule of thumb
    EXPECT_EQ(first->figures.differing, 1);
    EXPECT_NEAR(first->figures.greatest, 2.5, 1e-6);
    EXPECT_EQ(first->figures.worst->element, 100);
    // sqrt(2.5^2 / sum of squares), independently.
    double squares = 0;
    const StageRecord& original = *recorded().find({0, "residual_after_ffn"});
    for (int64_t p = 0; p < 9; ++p)
        for (int64_t e = 0; e < 256; ++e) squares += original.value(p, e) * original.value(p, e);
    EXPECT_NEAR(first->figures.relative_rms, 2.5 / std::sqrt(squares), 1e-6);
    EXPECT_NEAR(first->figures.rms, std::sqrt(squares / (9 * 256)), 1e-9);
}

TEST(CompareRecordings, NonFiniteAndOtherShapesFailWhateverIsTolerated) {
    constexpr const char* kEverything =
        R"({"tolerances": [{"stage": "*", "relative_rms": 1e300, "set": true, "missing": true, "reason": "all"}]})";
    Recording a = recorded(), b = recorded();
    set(stage_of(a, {0, "expert_up"}), 1, 2, NAN);
    set(stage_of(b, {0, "expert_up"}), 1, 2, NAN);  // the same NaN on both sides
    set(stage_of(b, {1, "value"}), 0, 0, -INFINITY);
    StageRecord& turned = stage_of(b, {1, "expert_gate"});
    EXPECT_EQ(turned.shape, (std::vector<int64_t>{2, 256}));
    turned.shape = {256, 2};
    StageRecord& kind = stage_of(b, {1, "expert_weights"});
    kind.type = ElementType::i32;
    const RecordingComparison result = compared(a, b, kEverything);
    EXPECT_EQ(result.count(Outcome::non_finite), 2);
    EXPECT_EQ(result.count(Outcome::mismatch), 2);
    EXPECT_EQ(result.failures(), 4);
    const auto find = [&](StageKey key) {
        return *std::find_if(result.stages.begin(), result.stages.end(), [&](const auto& s) { return s.key == key; });
    };
    EXPECT_EQ(find({0, "expert_up"}).figures.first_non_finite->element, 2);
    EXPECT_EQ(find({1, "value"}).figures.non_finite, 1);
    EXPECT_EQ(find({1, "expert_gate"}).note, "shape [2, 256] against [256, 2]");
    EXPECT_EQ(find({1, "expert_weights"}).note, "floating-point numbers against whole numbers");
    // The same numbers as one row are the same layout.
    turned.shape = {512};
    EXPECT_EQ(compared(a, b, kEverything).count(Outcome::mismatch), 1);
}

TEST(CompareRecordings, MissingStagesAndPositionsAreNamedAndNoPass) {
    Recording other = recorded();
    std::erase_if(other.stages, [](const StageRecord& stage) { return stage.key.name == "query_norm"; });
    StageRecord extra = other.stages.back();
    extra.key = {-1, "something"};
    other.stages.push_back(extra);
    const RecordingComparison result = compared(recorded(), other);
    EXPECT_EQ(result.failures(), 0);
    EXPECT_FALSE(result.complete());
    EXPECT_EQ(result.count(Outcome::skipped), 3);
    EXPECT_EQ(result.stages.back().note, "missing in A");
    const RecordingComparison waived = compared(recorded(), other, R"({"tolerances": [
        {"stage": "layer.*.query_norm", "missing": true, "reason": "they fuse it"},
        {"stage": "something", "missing": true, "reason": "ours has no such thing"}]})");
    EXPECT_TRUE(waived.complete());
    EXPECT_EQ(waived.count(Outcome::skipped), 3);  // still named
    Recording shorter = recorded();
    StageRecord& logits = stage_of(shorter, {-1, "logits"});
    logits.data.erase(logits.data.begin(), logits.data.end() - 260 * 4);
    logits.positions = {8};
    const RecordingComparison part = compared(recorded(), shorter);
    EXPECT_EQ(part.skipped_positions, 8);
    EXPECT_EQ(part.values, 107046 - 8 * 260);
    EXPECT_FALSE(part.complete());
}

TEST(CompareRecordings, IntegersAreSetsAndOrders) {
    Recording swapped = recorded();
    StageRecord& ids = stage_of(swapped, {0, "expert_ids"});
    const auto first = get<int32_t>(ids, 5, 0), second = get<int32_t>(ids, 5, 1);
    set(ids, 5, 0, second);
    set(ids, 5, 1, first);
    const double margin = recorded().find({0, "routing_margin"})->value(5, 0);
    const RecordingComparison order = compared(recorded(), swapped);
    const StageComparison* found = order.first_failure();
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->figures.differing_orders, 1);
    EXPECT_EQ(found->figures.differing_sets, 0);
    EXPECT_EQ(found->figures.margin, margin);
    constexpr const char* kSet = R"({"tolerances": [{"stage": "*.expert_ids", "set": true, "reason": "other ties"}]})";
    EXPECT_EQ(compared(recorded(), swapped, kSet).failures(), 0);
    EXPECT_EQ(compared(recorded(), swapped, kSet).count(Outcome::tolerated), 1);

    int32_t third = 0;
    while (third == first || third == second) ++third;
    set(ids, 5, 0, third);
    const RecordingComparison other_set = compared(recorded(), swapped, kSet);
    EXPECT_EQ(other_set.failures(), 1);
    EXPECT_EQ(other_set.first_failure()->figures.differing_sets, 1);
    const auto with_margin = [&](double bound) {
        return compared(recorded(), swapped,
                        fmt::format(R"({{"tolerances": [{{"stage": "*.expert_ids", "routing_margin": {}, )"
                                    R"("reason": "near ties"}}]}})",
                                    bound)
                            .c_str())
            .failures();
    };
    EXPECT_EQ(with_margin(margin * 1.01), 0);
    EXPECT_EQ(with_margin(margin * 0.99), 1);
    std::erase_if(swapped.stages, [](const StageRecord& stage) { return stage.key.name == "routing_margin"; });
    Recording without = recorded();
    std::erase_if(without.stages, [](const StageRecord& stage) { return stage.key.name == "routing_margin"; });
    EXPECT_EQ(
        compared(without, swapped, R"({"tolerances": [{"stage": "*.expert_ids", "routing_margin": 1, "reason": "x"}]})")
            .failures(),
        1)
        << "a margin that is not known is no small one";
}

TEST(CompareRecordings, TolerancesBoundWhatTheySay) {
    Recording other = recorded();
    StageRecord& stage = stage_of(other, {0, "attention"});
    set(stage, 3, 9, get<float>(stage, 3, 9) + 0.5f);
    const StageFigures figures = compared(recorded(), other).first_failure()->figures;
    const auto failures = [&](const char* field, double bound) {
        return compared(recorded(), other,
                        fmt::format(R"({{"tolerances": [{{"stage": "layer.0.*", "{}": {:.17g}, "reason": "test"}}]}})",
                                    field, bound)
                            .c_str())
            .failures();
    };
    EXPECT_EQ(failures("relative_rms", figures.relative_rms * 1.0001), 0);
    EXPECT_EQ(failures("relative_rms", figures.relative_rms * 0.9999), 1);
    EXPECT_EQ(failures("absolute", figures.greatest * 1.0001), 0);
    EXPECT_EQ(failures("absolute", figures.greatest * 0.9999), 1);
    EXPECT_EQ(failures("worst", figures.greatest / figures.rms * 1.0001), 0);
    EXPECT_EQ(failures("worst", figures.greatest / figures.rms * 0.9999), 1);
    EXPECT_EQ(failures("routing_margin", 1e9), 1);
    EXPECT_NEAR(figures.greatest, 0.5, 1e-6);
}

TEST(CompareRecordings, RefusesToleranceFilesWithoutReasonsOrWithOtherFields) {
    const auto refusal = [](const char* text) {
        const auto parsed = Tolerances::parse(text, "t.json");
        return parsed ? std::string() : parsed.error().message;
    };
    EXPECT_EQ(refusal(R"({"tolerances": [{"stage": "a", "absolute": 1}]})"),
              "t.json: entry 0: the bound for 'a' has no reason; say why these bits cannot be equal");
    EXPECT_EQ(refusal(R"({"tolerances": [{"stage": "a", "absolute": 1, "reason": "  "}]})"),
              "t.json: entry 0: the bound for 'a' has no reason; say why these bits cannot be equal");
    EXPECT_EQ(refusal(R"({"tolerances": [{"stage": "a", "reason": "x"}]})"),
              "t.json: entry 0: the entry for 'a' has no bound");
    EXPECT_EQ(refusal(R"({"tolerances": [{"stage": "a", "reason": "x", "cosine": 0.99}]})"),
              "t.json: entry 0: has a field 'cosine'; known are stage, reason, relative_rms, worst, absolute, "
              "routing_margin, set and missing");
    EXPECT_EQ(refusal(R"({"tolerances": [{"stage": "a", "reason": "x", "absolute": -1}]})"),
              "t.json: entry 0: 'absolute' is -1, but a number of 0 or more is needed");
    EXPECT_EQ(refusal(R"([1])"), "t.json: must be {\"tolerances\": [...]}");
}

TEST(CompareRecordings, NumbersOfOtherTypesAreComparedExactly) {
    Recording wide = recorded();
    StageRecord& stage = stage_of(wide, {0, "ffn_norm"});
    std::vector<double> doubles;
    for (int64_t p = 0; p < 9; ++p)
        for (int64_t e = 0; e < 256; ++e) doubles.push_back(stage.value(p, e));
    stage.type = ElementType::f64;
    const auto bytes = std::as_bytes(std::span(doubles));
    stage.data.assign(bytes.begin(), bytes.end());
    EXPECT_EQ(compared(recorded(), wide).failures(), 0);
    set(stage, 0, 1, std::nextafter(stage.value(0, 1), 1e9));
    const RecordingComparison result = compared(recorded(), wide);
    EXPECT_EQ(result.failures(), 1);
    EXPECT_EQ(result.first_failure()->figures.first->b_bits.size(), 18u);
    EXPECT_LT(result.first_failure()->figures.relative_rms, 1e-15);
}

TEST(CompareRecordings, ComparesUpToTheFirstTokenThatDiffers) {
    Recording other = recorded();
    other.tokens[6] = 1;
    set(stage_of(other, {0, "query"}), 7, 0, 5.0f);
    const RecordingComparison behind = compared(recorded(), other);
    EXPECT_EQ(behind.tokens_differ_at, 6);
    EXPECT_EQ(behind.failures(), 0);
    set(stage_of(other, {0, "query"}), 5, 0, 5.0f);
    EXPECT_EQ(compared(recorded(), other).failures(), 1);
    other.tokens[0] = 1;
    EXPECT_EQ(compare_recordings(recorded(), other, {}).error().message,
              "the recordings are of other tokens: the first one is 31 in A and 1 in B; record the same prompt "
              "(--tokens)");
    other.tokens.clear();
    for (StageRecord& stage : other.stages) stage.key.name += "_";
    EXPECT_EQ(compare_recordings(recorded(), other, {}).error().message,
              "the recordings have no stage in common (56 in A, 56 in B, for example 'embedding' and 'embedding_'); a "
              "map of names may be missing (--map)");
}

TEST(CompareRecordings, AttentionScoresOfALongerPromptCompareOverWhatBothSaw) {
    TinyEngine engine("qwen3moe");
    StageSelection selection;
    selection.attention_scores = true;
    Recording longer = test::record(engine.runner(), test::some_tokens(12), 12, selection);
    EXPECT_EQ(stage_of(longer, {0, "attention_scores"}).shape, (std::vector<int64_t>{4, 12}));
    const RecordingComparison result = compared(recorded(), longer);
    EXPECT_EQ(result.failures(), 0);
    EXPECT_EQ(result.count(Outcome::equal), 56);
    EXPECT_EQ(result.skipped_positions, 3 * 56);
    set(stage_of(longer, {1, "attention_scores"}), 2, 11, 0.5f);  // where position 2 does not look
    EXPECT_EQ(compared(recorded(), longer).count(Outcome::non_finite), 1);
}

TEST(CompareRecordings, StatisticsCompareByTheirHashes) {
    Recording statistics = recorded(), other = recorded();
    set(stage_of(other, {1, "expert_down"}), 8, 0, 3.0f);
    for (Recording* recording : {&statistics, &other}) {
        for (StageRecord& stage : recording->stages) keep_statistics_only(stage);
    }
    EXPECT_EQ(compared(recorded(), statistics).count(Outcome::equal), 56);
    const RecordingComparison result = compared(statistics, other);
    EXPECT_EQ(result.failures(), 1);
    const StageComparison* first = result.first_failure();
    EXPECT_EQ(to_string(first->key), "layer.1.expert_down");
    EXPECT_TRUE(first->figures.by_hash);
    EXPECT_EQ(first->figures.differing, 1);
    EXPECT_EQ(first->figures.first->position, 8);
    constexpr const char* kLoose = R"({"tolerances": [{"stage": "*", "relative_rms": 1e9, "reason": "x"}]})";
    EXPECT_EQ(compared(statistics, other, kLoose).failures(), 1) << "hashes have no distance";
}

TEST(CompareRecordings, RecordedStatisticsAreThoseOfTheValues) {
    TinyEngine engine("qwen3moe");
    StageSelection selection;
    selection.attention_scores = true;
    const int32_t sequence = engine.runner().cache().add_sequence();
    StatisticsRecorder recorder(engine.runner(), sequence, selection);
    VerbHook* hooks[] = {&recorder};
    test::feed_all(engine.runner(), test::some_tokens(9), 4, hooks, sequence);
    Recording statistics = recorder.take();
    ASSERT_TRUE(statistics.statistics_only());
    // The scores of a row are hashed as they were computed, those of the recording without their filling.
    const RecordingComparison result = compared(recorded(), statistics);
    EXPECT_EQ(result.count(Outcome::equal), 56);
    EXPECT_EQ(result.failures(), 0);
    EXPECT_TRUE(result.complete());
    const StageStatistics &a = statistics.stages[20].statistics[3], b = statistics_at(recorded().stages[20], 3);
    EXPECT_EQ(a.rms, b.rms);
    EXPECT_EQ(a.hash, b.hash);
}

TEST(CompareRecordings, PartsOfAPositionCompareWhereBothHaveThem) {
    Recording part = recorded();
    StageRecord& stage = stage_of(part, {0, "query"});
    const StageRecord original = stage;
    stage.elements = {0, 1, 100, 255};
    stage.whole_shape = stage.shape;
    stage.shape = {4};
    stage.data.clear();
    for (int64_t p = 0; p < 9; ++p) {
        for (const int64_t e : stage.elements) {
            const std::byte* place = original.at(p) + e * 4;
            stage.data.insert(stage.data.end(), place, place + 4);
        }
    }
    RecordingComparison result = compared(recorded(), part);
    EXPECT_EQ(result.failures(), 0);
    EXPECT_EQ(result.values, 107046 - 9 * 252);
    set(stage, 3, 2, 7.0f);
    result = compared(recorded(), part);
    ASSERT_EQ(result.failures(), 1);
    EXPECT_EQ(result.first_failure()->figures.first->element, 100);
    EXPECT_EQ(result.first_failure()->figures.first->position, 3);
}

TEST(StageMap, RenamesAndRearrangesRecordingsOfOthers) {
    const auto map = StageMap::parse(R"({"stages": [
        {"theirs": "Qcur-{layer}", "ours": "layer.{layer}.query_rope", "layout": "adjacent_to_halves", "head_width": 64},
        {"theirs": "kqv-{layer}", "ours": "layer.{layer}.attention", "transpose": [64, 4], "shape": [256]},
        {"theirs": "l_out-{layer}", "ours": "layer.{layer}.residual_after_ffn"},
        {"theirs": "noise", "drop": "no stage of ours"}]})",
                                     "m.json");
    ASSERT_TRUE(map) << map.error().message;
    // Their recording: ours with pairs beside each other and attention as [64, heads].
    Recording theirs;
    theirs.order_is_stated = false;
    const auto add = [&](StageKey key, const char* name, auto&& source_of) {
        StageRecord stage = *recorded().find(key);
        const StageRecord original = stage;
        stage.key = {-1, name};
        for (int64_t p = 0; p < 9; ++p)
            for (int64_t e = 0; e < 256; ++e) set(stage, p, e, get<float>(original, p, source_of(e)));
        theirs.stages.push_back(stage);
    };
    const auto same = [](int64_t e) { return e; };
    add({1, "residual_after_ffn"}, "l_out-1", same);
    add({1, "query"}, "noise", same);
    // Their (2i, 2i + 1) of a head of 64 is our (i, i + 32).
    add({1, "query_rope"}, "Qcur-1", [](int64_t e) { return e / 64 * 64 + e % 64 / 2 + e % 2 * 32; });
    add({1, "attention"}, "kqv-1", [](int64_t e) { return e % 4 * 64 + e / 4; });  // their [64][4] is our [4][64]
    ASSERT_TRUE(map->apply(theirs));
    std::vector<std::string> names;
    for (const StageRecord& stage : theirs.stages) names.push_back(to_string(stage.key));
    EXPECT_EQ(names,
              (std::vector<std::string>{"layer.1.query_rope", "layer.1.attention", "layer.1.residual_after_ffn"}));
    const RecordingComparison result = compared(theirs, recorded());
    EXPECT_EQ(result.count(Outcome::equal), 3);
    EXPECT_EQ(result.values, 3 * 9 * 256);
    EXPECT_EQ(result.failures(), 0);
}

TEST(StageMap, RearrangesPartsOfAPosition) {
    const auto map = StageMap::parse(
        R"({"stages": [{"theirs": "q", "ours": "query", "layout": "halves_to_adjacent", "head_width": 8}]})", "m.json");
    ASSERT_TRUE(map);
    StageRecord stage;
    stage.key = {-1, "q"};
    stage.positions = {0};
    stage.elements = {0, 2, 5, 13};  // halves (0, 4), (1, 5) ... of two heads of 8
    stage.whole_shape = {2, 8};
    stage.shape = {4};
    const float values[] = {10, 12, 15, 23};
    const auto bytes = std::as_bytes(std::span(values));
    stage.data.assign(bytes.begin(), bytes.end());
    Recording recording;
    recording.stages = {stage};
    ASSERT_TRUE(map->apply(recording));
    const StageRecord& ours = recording.stages[0];
    EXPECT_EQ(ours.elements, (std::vector<int64_t>{0, 3, 4, 11}));  // 0 -> 0, 5 -> 3, 2 -> 4, 13 -> 8 + 3
    EXPECT_EQ(ours.value(0, 0), 10);
    EXPECT_EQ(ours.value(0, 1), 15);
    EXPECT_EQ(ours.value(0, 2), 12);
    EXPECT_EQ(ours.value(0, 3), 23);
}

TEST(StageMap, RefusesWhatMakesNoSense) {
    const auto refusal = [](const char* text) {
        const auto parsed = StageMap::parse(text, "m.json");
        return parsed ? std::string() : parsed.error().message;
    };
    EXPECT_EQ(refusal(R"({"stages": [{"ours": "a"}]})"), "m.json: entry 0: has no 'theirs'");
    EXPECT_EQ(refusal(R"({"stages": [{"theirs": "a"}]})"),
              "m.json: entry 0: 'a' needs either 'ours' or 'drop' with a reason");
    EXPECT_EQ(refusal(R"({"stages": [{"theirs": "a", "ours": "b", "layout": "halves"}]})"),
              "m.json: entry 0: layout \"halves\" is not known; there are adjacent_to_halves and halves_to_adjacent");
    EXPECT_EQ(
        refusal(R"({"stages": [{"theirs": "a", "ours": "b", "layout": "halves_to_adjacent", "head_width": 7}]})"),
        "m.json: entry 0: the layout needs a head_width, and an even rotary_width of at most that; it has 7 and 7");
    EXPECT_EQ(refusal(R"({"stages": [{"theirs": "a", "ours": "b", "transpose": [4]}]})"),
              "m.json: entry 0: 'transpose' must be [rows, columns] of theirs");
    EXPECT_EQ(refusal(R"({"stages": [{"theirs": "a", "ours": "b", "transpose": [4, 0]}]})"),
              "m.json: entry 0: 'transpose' must be a list of whole numbers from 1");
    Recording recording = recorded();
    const auto map =
        StageMap::parse(R"({"stages": [{"theirs": "layer.{layer}.query", "ours": "layer.{layer}.key"}]})", "m");
    EXPECT_EQ(map->apply(recording).error().message,
              "two stages are called 'layer.0.key' after 'layer.0.key' was mapped; correct the map");
    Recording again = recorded();
    const auto wrong =
        StageMap::parse(R"({"stages": [{"theirs": "embedding", "ours": "e", "transpose": [3, 5]}]})", "m");
    EXPECT_EQ(
        wrong->apply(again).error().message,
        "stage 'embedding' has positions of [256], which the layout of 'embedding' with 15 elements does not fit");
}

}  // namespace
}  // namespace invar
