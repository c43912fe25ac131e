#include "base/json.h"

namespace invar {

Result<Json> parse_json(std::string_view text) {
    constexpr int kMaximumDepth = 512;
    bool too_deep = false;
    auto limit_depth = [&](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > kMaximumDepth;
        return !too_deep;
    };
    try {
        Json value = Json::parse(text.begin(), text.end(), limit_depth);
        if (too_deep) return fail("JSON is nested deeper than {} levels", kMaximumDepth);
        return value;
    } catch (const Json::parse_error& error) {
        // The parser's own message is left out: it repeats the text, which may be long and span several lines.
        return fail("not valid JSON from byte {} on", error.byte);
    } catch (const Json::exception& error) {
        return fail("not valid JSON: a number in it is too large (error {})", error.id);
    }
}

bool scan_json(std::string_view text, JsonEvents& events) {
    // The parser takes a NUL for the end of the text; no JSON text has one.
    const size_t nul = text.find('\0');
    if (nul != std::string_view::npos) {
        return events.parse_error(nul, "", nlohmann::json::other_error::create(0, "a NUL in the text", nullptr));
    }
    return Json::sax_parse(text.begin(), text.end(), &events);
}

}  // namespace invar
