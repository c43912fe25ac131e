// Reads the header as a stream of JSON events, so that time and memory are proportional even for the full 100 MB.
// Headers in the spelling of the format's own library are read without a parser of JSON, five times as fast.
#include "files/safetensors_header.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "base/json.h"
#include "files/name_index.h"
#include "files/printable.h"
#include "files/safetensors.h"

namespace invar {
namespace {

// Tracks the level of the events: 1 names tensors, 2 is inside a tensor (or the metadata), 3 inside an array.
class HeaderEvents final : public JsonEvents {
  public:
    explicit HeaderEvents(const std::string& file) : file_(file) {}

    SafeTensorsHeader take() { return std::move(header_); }
    const std::optional<Error>& error() const { return error_; }

    bool start_object(size_t) override {
        if (level_ >= 2) return wrong_value("an object");
        ++level_;
        if (level_ == 1) return true;
        fields_.clear();
        if (in_metadata_) return true;
        header_.tensors.push_back({.name = name_});
        return true;
    }

    bool end_object() override {
        --level_;
        if (level_ == 1 && !in_metadata_) {
            for (const std::string_view field : {"dtype", "shape", "data_offsets"}) {
                if (fields_.count(std::string(field)) == 0) {
                    return refuse("{}: tensor '{}' has no '{}'; the file is damaged", file_, printable(name_), field);
                }
            }
        }
        return true;
    }

    bool key(std::string& text) override {
        if (level_ == 1) {
            name_ = text;
            in_metadata_ = text == kSafeTensorsMetadata;
            if (names_.insert(text).second) return true;
            return refuse("{}: '{}' appears twice in the header, the second time as entry {}", file_, printable(text),
                          header_.tensors.size());
        }
        field_ = text;
        if (!in_metadata_ && text != "dtype" && text != "shape" && text != "data_offsets") {
            return refuse("{}: tensor '{}' has a field '{}'; only dtype, shape and data_offsets are known", file_,
                          printable(name_), printable(text));
        }
        if (fields_.insert(text).second) return true;
        return refuse("{}: '{}' has '{}' twice", file_, printable(name_), printable(text));
    }

    bool start_array(size_t) override {
        if (level_ != 2 || in_metadata_ || field_ == "dtype") return wrong_value("an array");
        ++level_;
        array_size_ = 0;
        return true;
    }

    bool end_array() override {
        --level_;
        if (field_ == "data_offsets" && array_size_ != 2) {
            return refuse("{}: tensor '{}' has {} data_offsets instead of 2", file_, printable(name_), array_size_);
        }
        return true;
    }

    bool number_unsigned(uint64_t value) override {
        if (level_ != 3) return wrong_value("a number");
        SafeTensorsEntry& entry = header_.tensors.back();
        const size_t place = array_size_++;
        if (field_ == "data_offsets") {
            if (place < 2) entry.offsets[place] = value;
            return true;
        }
        if (place >= kSafeTensorsMostDimensions) {
            return refuse("{}: tensor '{}' has more than {} dimensions", file_, printable(name_),
                          kSafeTensorsMostDimensions);
        }
        if (value > static_cast<uint64_t>(INT64_MAX)) {
            return refuse("{}: tensor '{}' has {} as dimension {}; at most {} is possible", file_, printable(name_),
                          value, place, INT64_MAX);
        }
        entry.shape.push_back(static_cast<int64_t>(value));
        return true;
    }

    bool string(std::string& value) override {
        if (level_ == 2 && in_metadata_) {
            header_.metadata.emplace_back(field_, std::move(value));
            return true;
        }
        if (level_ != 2 || field_ != "dtype") return wrong_value("a string");
        header_.tensors.back().dtype = std::move(value);
        return true;
    }

    bool number_integer(int64_t value) override { return wrong_value(fmt::format("the number {}", value)); }
    bool number_float(double, const std::string& text) override {
        return wrong_value(fmt::format("the number {}", printable(text, 40)));
    }
    bool null() override { return wrong_value("null"); }
    bool boolean(bool) override { return wrong_value("a boolean"); }
    bool binary(binary_t&) override { return wrong_value("binary data"); }

    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
        return refuse("{}: the header is not valid JSON at its byte {}; the file is damaged", file_, position);
    }

  private:
    template <class... Args>
    bool refuse(fmt::format_string<Args...> format, Args&&... args) {
        error_ = Error{.message = fmt::format(format, std::forward<Args>(args)...)};
        return false;
    }

    bool wrong_value(std::string_view found) {
        if (level_ == 0) return refuse("{}: the header is {} instead of an object", file_, found);
        if (level_ == 1) return refuse("{}: '{}' is {} instead of an object", file_, printable(name_), found);
        if (in_metadata_) {
            return refuse("{}: metadata '{}' is {}, but the format allows strings only", file_, printable(field_),
                          found);
        }
        return refuse("{}: tensor '{}' has {} in '{}', but {} is needed", file_, printable(name_), found, field_,
                      field_ == "dtype" ? "a string" : "a list of whole numbers from 0");
    }

    const std::string& file_;
    SafeTensorsHeader header_;
    std::optional<Error> error_;
    int level_ = 0;
    bool in_metadata_ = false;
    std::string name_, field_;
    size_t array_size_ = 0;
    std::unordered_set<std::string> names_, fields_;
};

// Reads a header of the one spelling in which the format's own library writes: no spaces but at the end, fields in this
// order, no escapes, names in ASCII. Where it stops, the header is spelled otherwise or wrong, and the events tell.
class UsualSpelling {
  public:
    explicit UsualSpelling(std::string_view json) : json_(json) {
        constexpr size_t kUsualEntry = 128;  // bytes
        header_.tensors.reserve(json.size() / kUsualEntry);
    }

    std::optional<SafeTensorsHeader> read() {
        if (!take('{') || !read_entries()) return std::nullopt;
        const bool ends = json_.find_first_not_of(' ', at_) == std::string_view::npos;
        return ends && names_differ() ? std::optional(std::move(header_)) : std::nullopt;
    }

  private:
    static constexpr size_t kMostMetadata = 16;  // more are read by the events

    bool read_entries() {
        if (take('}')) return true;
        do {
            std::string_view name;
            if (!text(name) || !take(':')) return false;
            const bool metadata = name == kSafeTensorsMetadata;
            if (metadata && (!header_.tensors.empty() || !header_.metadata.empty())) return false;
            if (metadata ? !read_metadata() : !read_tensor(name)) return false;
        } while (take(','));
        return take('}');
    }

    bool read_metadata() {
        if (!take('{')) return false;
        do {
            std::string_view key, value;
            if (!text(key) || !take(':') || !text(value) || header_.metadata.size() == kMostMetadata) return false;
            for (const auto& [other, unused] : header_.metadata) {
                if (other == key) return false;
            }
            header_.metadata.emplace_back(key, value);
        } while (take(','));
        return take('}');
    }

    bool read_tensor(std::string_view name) {
        std::string_view dtype;
        if (!take(R"({"dtype":)") || !text(dtype) || !take(R"(,"shape":[)")) return false;
        SafeTensorsEntry& entry = header_.tensors.emplace_back();
        entry.name = name;
        entry.dtype = dtype;
        while (!take(']')) {
            uint64_t extent = 0;
            if (!entry.shape.empty() && !take(',')) return false;
            if (!number(extent) || entry.shape.size() == kSafeTensorsMostDimensions) return false;
            entry.shape.push_back(static_cast<int64_t>(extent));
        }
        return take(R"(,"data_offsets":[)") && number(entry.offsets[0]) && take(',') && number(entry.offsets[1]) &&
               take("]}");
    }

    bool names_differ() const {
        NameIndex names;
        names.reserve(header_.tensors.size());
        const auto name_at = [&](size_t i) -> std::string_view { return header_.tensors[i].name; };
        for (size_t i = 0; i < header_.tensors.size(); ++i) {
            if (names.add(i, name_at)) return false;
        }
        return true;
    }

    bool take(char c) {
        if (at_ >= json_.size() || json_[at_] != c) return false;
        ++at_;
        return true;
    }
    bool take(std::string_view text) {
        if (json_.substr(at_, text.size()) != text) return false;
        at_ += text.size();
        return true;
    }
    bool text(std::string_view& found) {
        if (!take('"')) return false;
        const size_t begin = at_;
        while (at_ < json_.size() && json_[at_] >= 0x20 && json_[at_] < 0x7F && json_[at_] != '"' && json_[at_] != '\\')
            ++at_;
        found = json_.substr(begin, at_ - begin);
        return take('"');
    }
    // JSON's numbers have no zeros in front. Up to 18 digits fit into any type here.
    bool number(uint64_t& value) {
        constexpr size_t kMostDigits = 18;
        const size_t begin = at_;
        value = 0;
        for (; at_ < json_.size() && json_[at_] >= '0' && json_[at_] <= '9' && at_ - begin < kMostDigits; ++at_)
            value = value * 10 + static_cast<uint64_t>(json_[at_] - '0');
        return at_ == begin + 1 || (at_ > begin && json_[begin] != '0');
    }

    std::string_view json_;
    size_t at_ = 0;
    SafeTensorsHeader header_;
};

}  // namespace

Result<SafeTensorsHeader> parse_safetensors_header(std::string_view json, const std::string& file) {
    if (std::optional<SafeTensorsHeader> usual = UsualSpelling(json).read()) return std::move(*usual);
    HeaderEvents events(file);
    if (scan_json(json, events)) return events.take();
    return tl::unexpected<Error>(*events.error());
}

}  // namespace invar
