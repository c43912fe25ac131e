// Fuzzes the reader of config.json and similar files. A text is refused with one sentence, or gives a tree. If the
// plain parser accepts it too, the trees are equal. Seeds: fuzz/corpus/config_json.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/json.h"
#include "files/json_document.h"
#include "files/quantization_files.h"
#include "require.h"

namespace {

void require_sentence(const std::string& message) {
    require(message.starts_with("m/config.json: ") && message.find('\n') == std::string::npos && message.size() < 8000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto document = parse_json_document(text, "m/config.json");
    if (!document) {
        require_sentence(document.error().message);
        return 0;
    }
    if (const auto plain = parse_json(text)) require(*plain == *document);
    if (!document->is_object()) return 0;
    const auto found = find_quantization_config(*document, "m/config.json");
    if (!found) {
        require_sentence(found.error().message);
    } else if (*found != nullptr) {
        require((*found)->is_object() &&
                check_agreement(**found, "m/config.json", **found, "m/b.json").has_value() ==
                    check_agreement(**found, "m/config.json", **found, "m/c.json").has_value());
        if (const auto agreed = check_agreement(**found, "m/config.json", *document, "m/b.json"); !agreed) {
            require_sentence(agreed.error().message);
        }
    }
    return 0;
}
