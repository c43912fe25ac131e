#include "proof/recording.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>

namespace invar {
namespace {

constexpr std::string_view kLayerPrefix = "layer.";

Result<int> parse_number(std::string_view digits, std::string_view whole) {
    int number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() || number < 0) {
        return fail("'{}' is no stage name: '{}' is no number; stages are named like layer.3.attention_norm", whole,
                    digits);
    }
    return number;
}

}  // namespace

int64_t element_bytes(ElementType type) { return type == ElementType::f64 ? 8 : 4; }

std::string to_string(const StageKey& key) {
    std::string text = key.layer < 0 ? key.name : fmt::format("{}{}.{}", kLayerPrefix, key.layer, key.name);
    if (key.occurrence != 1) text += fmt::format("#{}", key.occurrence);
    return text;
}

Result<StageKey> parse_stage_key(std::string_view text) {
    StageKey key;
    std::string_view rest = text;
    if (const size_t hash = rest.rfind('#'); hash != std::string_view::npos) {
        TRY_ASSIGN(key.occurrence, parse_number(rest.substr(hash + 1), text));
        rest = rest.substr(0, hash);
    }
    if (rest.starts_with(kLayerPrefix)) {
        rest.remove_prefix(kLayerPrefix.size());
        const size_t dot = rest.find('.');
        if (dot == std::string_view::npos) {
            return fail("'{}' is no stage name: after the layer a name is missing, as in layer.3.attention_norm", text);
        }
        TRY_ASSIGN(key.layer, parse_number(rest.substr(0, dot), text));
        rest = rest.substr(dot + 1);
    }
    if (rest.empty()) return fail("'{}' is no stage name: it is empty", text);
    key.name = std::string(rest);
    return key;
}

int64_t StageRecord::width() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

double StageRecord::value(int64_t index, int64_t element) const {
    const std::byte* place = at(index) + element * element_bytes(type);
    if (type == ElementType::f64) {
        double number;
        std::memcpy(&number, place, sizeof number);
        return number;
    }
    if (type == ElementType::i32) {
        int32_t number;
        std::memcpy(&number, place, sizeof number);
        return number;
    }
    float number;
    std::memcpy(&number, place, sizeof number);
    return number;
}

const StageRecord* Recording::find(const StageKey& key) const {
    const auto found = std::find_if(stages.begin(), stages.end(), [&](const StageRecord& s) { return s.key == key; });
    return found == stages.end() ? nullptr : &*found;
}

}  // namespace invar
