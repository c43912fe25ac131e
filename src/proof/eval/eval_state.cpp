#include "proof/eval/eval_state.h"

#include <charconv>
#include <cstring>

#include "files/printable.h"
#include "files/safetensors.h"
#include "files/safetensors_writer.h"

namespace invar {
namespace {

constexpr std::string_view kKind = "kind", kKindValue = "invar evaluation", kFirst = "first", kWindows = "windows";

template <class T>
Result<void> add(SafeTensorsWriter& writer, std::string_view name, Dtype dtype, const std::vector<T>& values) {
    const int64_t shape[] = {static_cast<int64_t>(values.size())};
    return writer.add_tensor(name, dtype, shape, std::as_bytes(std::span(values)));
}

template <class T>
Result<std::vector<T>> read(const SafeTensorsFile& file, std::string_view name, Dtype dtype) {
    const SafeTensor* tensor = file.find(name);
    if (tensor == nullptr || tensor->dtype != dtype || tensor->shape.size() != 1)
        return fail("{}: has no usable scores '{}'; delete the file to start anew", file.name(), name);
    std::vector<T> values(tensor->bytes / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), tensor->data, tensor->bytes);
    return values;
}

Result<int64_t> read_number(const SafeTensorsFile& file, std::string_view key) {
    const std::string_view text = file.find_metadata(key).value_or("");
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0)
        return fail("{}: '{}' is '{}', which is no count; delete the file to start anew", file.name(), key,
                    printable(text));
    return number;
}

}  // namespace

Result<void> save_scores(const std::filesystem::path& path, const EvalIdentity& identity, const EvalScores& scores) {
    SafeTensorsWriter writer;
    writer.add_metadata(kKind, kKindValue);
    for (const auto& [key, value] : identity) writer.add_metadata(key, value);
    writer.add_metadata(kFirst, std::to_string(scores.first));
    writer.add_metadata(kWindows, std::to_string(scores.windows));
    TRY(add(writer, "log_p", Dtype::f64, scores.log_p));
    TRY(add(writer, "is_best", Dtype::u8, scores.is_best));
    if (scores.has_other()) {
        TRY(add(writer, "other_log_p", Dtype::f64, scores.other_log_p));
        TRY(add(writer, "kl", Dtype::f64, scores.kl));
        TRY(add(writer, "same_best", Dtype::u8, scores.same_best));
    }
    return writer.write(path);
}

Result<std::optional<EvalScores>> load_scores(const std::filesystem::path& path, const EvalIdentity& identity) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return std::nullopt;
    TRY_ASSIGN(const SafeTensorsFile file, SafeTensorsFile::open(path));
    if (file.find_metadata(kKind).value_or("") != kKindValue)
        return fail("{}: is no state of an evaluation; give another --state file", file.name());
    for (const auto& [key, value] : identity) {
        const std::string_view stored = file.find_metadata(key).value_or("nothing");
        if (stored == value) continue;
        return fail("{}: is the state of another evaluation, its {} is {} and not {}; give another --state file",
                    file.name(), key, printable(stored), value);
    }
    EvalScores scores;
    TRY_ASSIGN(scores.first, read_number(file, kFirst));
    TRY_ASSIGN(scores.windows, read_number(file, kWindows));
    TRY_ASSIGN(scores.log_p, read<double>(file, "log_p", Dtype::f64));
    TRY_ASSIGN(scores.is_best, read<uint8_t>(file, "is_best", Dtype::u8));
    if (file.find("kl") != nullptr) {
        TRY_ASSIGN(scores.other_log_p, read<double>(file, "other_log_p", Dtype::f64));
        TRY_ASSIGN(scores.kl, read<double>(file, "kl", Dtype::f64));
        TRY_ASSIGN(scores.same_best, read<uint8_t>(file, "same_best", Dtype::u8));
    }
    const size_t count = scores.log_p.size();
    const auto fits = [&](size_t size) { return size == count || (size == 0 && !scores.has_other()); };
    if (scores.is_best.size() != count || !fits(scores.other_log_p.size()) || !fits(scores.kl.size()) ||
        !fits(scores.same_best.size())) {
        return fail("{}: its scores have different lengths; delete the file to start anew", file.name());
    }
    return scores;
}

}  // namespace invar
