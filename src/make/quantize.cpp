// Does the work of quantize.h: plan, encode, write. Threads take chunks of rows of fixed size in any order; sums over
// chunks are added in order, so that the report, like the file, is the same for every number of threads.
#include "make/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <system_error>

#include "base/check.h"
#include "base/json.h"
#include "files/gguf_writer.h"
#include "files/output_path.h"
#include "files/printable.h"
#include "machine/try_items.h"
#include "make/gguf_source.h"

namespace invar {

namespace {

// The name of a tensor as its own container has it: a directory's, where the rows come from one.
std::string spell(const SourceTensor& source) {
    return printable(source.weight != nullptr ? source.weight->name : source.info.name);
}

constexpr int64_t kChunkWeights = int64_t{1} << 16;  // 256 KiB of binary32: stays in a core's cache
constexpr int64_t kSlabBytes = int64_t{64} << 20;    // of output held in memory at once
constexpr int kMostThreads = 256;                    // more would only fail to start
constexpr uint32_t kQuantizationVersion = 2;         // of ggml's block layouts, which are those of src/formats

// The results of one chunk of rows.
struct ChunkSums {
    double error = 0.0;                     // sum of (written - source)^2
    double signal = 0.0;                    // sum of source^2
    int64_t bad_row = -1, bad_column = -1;  // the first weight that cannot be written
    float bad_value = 0.0f;
};

bool can_copy(const SourceTensor& source, const Format& target) {
    return source.info.format == &target && source.can_copy();
}

struct RowCoder {
    const SourceTensor& source;
    const Format& target;

    int64_t columns() const { return source.info.columns(); }
    // Encodes rows [first, last). `out` is where row `first` goes.
    Result<ChunkSums> encode(int64_t first, int64_t last, std::byte* out) const;
};

Result<ChunkSums> RowCoder::encode(int64_t first, int64_t last, std::byte* out) const {
    ChunkSums sums;
    SourceReader reader;
    std::vector<float> row(static_cast<size_t>(columns()));
    std::vector<float> written(row.size());
    for (int64_t r = first; r < last; ++r, out += target.row_bytes(columns())) {
        TRY(reader.decode(source, r, row.data()));
        target.encode(row.data(), columns(), nullptr, out);
        target.decode(out, columns(), written.data());
        for (size_t i = 0; i < row.size(); ++i) {
            if (!std::isfinite(row[i]) || !std::isfinite(written[i])) {  // the second: out of F16's or BF16's range
                sums.bad_row = r;
                sums.bad_column = static_cast<int64_t>(i);
                sums.bad_value = row[i];
                return sums;
            }
            const double x = row[i];
            const double difference = static_cast<double>(written[i]) - x;
            sums.error += difference * difference;
            sums.signal += x * x;
        }
    }
    return sums;
}

// Sizes and formats are in the plan; this writes the bytes and fills in the errors.
class Quantizer {
  public:
    Quantizer(const GgufSource& in, ThreadPool& pool, QuantizeReport& report, const QuantizeProgressCallback& progress)
        : in_(in), pool_(pool), report_(report), progress_(progress) {}

    Result<void> write(GgufWriter& writer);

  private:
    Result<void> copy_tensor(GgufWriter& writer, size_t index);
    Result<void> encode_tensor(GgufWriter& writer, size_t index);
    // Encodes the rows [first, last) of a tensor into `slab` and adds to the sums.
    Result<void> encode_slab(const RowCoder& coder, int64_t first, int64_t last, std::vector<std::byte>& slab,
                             ChunkSums& total) const;
    Result<void> tell(size_t index, uint64_t source_bytes) const;
    const SourceTensor& report_source(size_t index) const { return in_.tensors()[report_.tensors[index].index]; }

    const GgufSource& in_;
    ThreadPool& pool_;
    QuantizeReport& report_;
    const QuantizeProgressCallback& progress_;
    uint64_t done_ = 0;  // source bytes of the finished tensors
};

Result<void> Quantizer::write(GgufWriter& writer) {
    for (size_t i = 0; i < report_.tensors.size(); ++i) {
        const QuantizedTensor& tensor = report_.tensors[i];
        TRY(tell(i, 0));
        if (can_copy(report_source(i), *tensor.target)) {
            TRY(copy_tensor(writer, i));
        } else {
            TRY(encode_tensor(writer, i));
        }
        done_ += tensor.source_bytes;
        TRY(tell(i, 0));
    }
    return {};
}

Result<void> Quantizer::tell(size_t index, uint64_t source_bytes) const {
    if (!progress_) return {};
    const bool go_on = progress_({.tensor = report_.tensors[index],
                                  .index = index,
                                  .tensors = report_.tensors.size(),
                                  .source_bytes_done = done_ + source_bytes,
                                  .source_bytes = report_.source_bytes});
    if (!go_on) return fail("{}: quantising was stopped; no file was written", in_.name());
    return {};
}

Result<void> Quantizer::copy_tensor(GgufWriter& writer, size_t index) {
    const SourceTensor& tensor = report_source(index);
    const int64_t rows = tensor.info.rows(), row_bytes = static_cast<int64_t>(tensor.info.row_bytes());
    if (!tensor.numbers.empty()) return writer.append(std::as_bytes(std::span(tensor.numbers)));
    const int64_t slab_rows = std::max<int64_t>(1, kSlabBytes / row_bytes);
    SourceReader reader;
    std::vector<std::byte> slab;
    for (int64_t first = 0; first < rows; first += slab_rows) {
        const int64_t last = std::min(rows, first + slab_rows);
        slab.resize(static_cast<size_t>((last - first) * row_bytes));
        for (int64_t row = first; row < last; ++row) {
            TRY_ASSIGN(const std::byte* blocks, reader.blocks(tensor, row));
            std::copy_n(blocks, row_bytes, slab.data() + (row - first) * row_bytes);
        }
        TRY(writer.append(slab));
        TRY(tell(index, static_cast<uint64_t>(last * row_bytes)));
    }
    return {};
}

Result<void> Quantizer::encode_tensor(GgufWriter& writer, size_t index) {
    const SourceTensor& source = report_source(index);
    const TensorInfo& tensor = source.info;
    const RowCoder coder{source, *report_.tensors[index].target};
    const int64_t slab_rows = std::max<int64_t>(1, kSlabBytes / coder.target.row_bytes(coder.columns()));
    std::vector<std::byte> slab;
    ChunkSums total;
    for (int64_t first = 0; first < tensor.rows(); first += slab_rows) {
        const int64_t last = std::min(tensor.rows(), first + slab_rows);
        TRY(encode_slab(coder, first, last, slab, total));
        TRY(writer.append(slab));
        if (last < tensor.rows()) TRY(tell(index, static_cast<uint64_t>(last) * tensor.row_bytes()));
    }
    report_.tensors[index].relative_rms_error = total.signal > 0.0 ? std::sqrt(total.error / total.signal) : 0.0;
    return {};
}

Result<void> Quantizer::encode_slab(const RowCoder& coder, int64_t first, int64_t last, std::vector<std::byte>& slab,
                                    ChunkSums& total) const {
    const int64_t row_bytes = coder.target.row_bytes(coder.columns());
    const int64_t chunk_rows = std::max<int64_t>(1, kChunkWeights / coder.columns());
    const int64_t chunks = (last - first + chunk_rows - 1) / chunk_rows;
    slab.resize(static_cast<size_t>((last - first) * row_bytes));
    std::vector<ChunkSums> sums(static_cast<size_t>(chunks));
    TRY(try_items(pool_, chunks, [&](int64_t chunk) -> Result<void> {
        const int64_t begin = first + chunk * chunk_rows;
        TRY_ASSIGN(sums[static_cast<size_t>(chunk)],
                   coder.encode(begin, std::min(last, begin + chunk_rows), slab.data() + (begin - first) * row_bytes));
        const ChunkSums& each = sums[static_cast<size_t>(chunk)];
        if (each.bad_row < 0) return {};
        const std::string where = fmt::format("{}: tensor '{}' holds {} at row {}, column {}", in_.name(),
                                              spell(coder.source), each.bad_value, each.bad_row, each.bad_column);
        if (!std::isfinite(each.bad_value)) {
            return fail("{}, which is no finite number: the weights are damaged, run invar audit on the model", where);
        }
        return fail("{}, which {} cannot hold; choose another format", where, coder.target.name);
    }));
    for (const ChunkSums& each : sums) {
        total.error += each.error;
        total.signal += each.signal;
    }
    return {};
}

Result<QuantizedTensor> plan_tensor(const GgufSource& in, const SourceTensor& source, const MixChoice& choice,
                                    bool allow_requantize) {
    const TensorInfo& tensor = source.info;
    // A copy of the same format loses nothing, nor does F32, which holds every decoded value.
    const bool exact = can_copy(source, *choice.chosen) || choice.chosen->id == FormatId::f32;
    if (!tensor.format->is_float && !exact && !allow_requantize) {
        return fail(
            "{}: tensor '{}' is {} already, and quantising it again as {} loses accuracy twice; start from an F32, "
            "F16 or BF16 model, or give --allow-requantize",
            in.name(), spell(source), tensor.format->name, choice.chosen->name);
    }
    return QuantizedTensor{.name = tensor.name,
                           .shape = tensor.shape,
                           .source = tensor.format,
                           .wanted = choice.wanted,
                           .target = choice.chosen,
                           .source_bytes = tensor.bytes,
                           .bytes = static_cast<uint64_t>(choice.chosen->row_bytes(tensor.columns()) * tensor.rows())};
}

Result<void> declare(const GgufSource& in, QuantizeReport& report, const Mix& mix, bool vocabulary,
                     GgufWriter& writer) {
    TRY_ASSIGN(report.notes, in.add_metadata(writer, vocabulary));
    writer.add("general.file_type", mix.file_type);
    writer.add("general.quantization_version", kQuantizationVersion);
    TRY_ASSIGN(const std::vector<std::string> of_vectors, in.add_embedding(writer));
    report.notes.insert(report.notes.end(), of_vectors.begin(), of_vectors.end());
    for (const QuantizedTensor& tensor : report.tensors) {
        TRY(writer.add_tensor(tensor.name, *tensor.target, tensor.shape));
    }
    return {};
}

Result<void> check_room(const std::filesystem::path& out, uint64_t bytes) {
    std::error_code ignored;
    const auto folder = out.has_parent_path() ? out.parent_path() : std::filesystem::path(".");
    const auto space = std::filesystem::space(folder, ignored);
    if (!ignored && space.available < bytes) {
        return fail("{}: the file will have {} bytes, but {} are free there", printable(out.string(), 4096), bytes,
                    space.available);
    }
    return {};
}

}  // namespace

double QuantizeReport::bits_per_weight() const {
    return weights == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
}

Json quantize_report_as_json(const QuantizeReport& report) {
    Json tensors = Json::array();
    for (const QuantizedTensor& tensor : report.tensors) {
        Json row{{"name", printable(tensor.name, kGgufMostTensorNameBytes)},
                 {"shape", tensor.shape},
                 {"source", tensor.source->name},
                 {"format", tensor.target->name},
                 {"source_bytes", tensor.source_bytes},
                 {"bytes", tensor.bytes},
                 {"relative_rms_error", tensor.relative_rms_error}};
        if (tensor.wanted != tensor.target) row["wanted"] = tensor.wanted->name;
        tensors.push_back(std::move(row));
    }
    return Json{{"mix", report.mix},
                {"weights", report.weights},
                {"source_bytes", report.source_bytes},
                {"bytes", report.bytes},
                {"file_bytes", report.file_bytes},
                {"bits_per_weight", report.bits_per_weight()},
                {"fallbacks", report.fallbacks},
                {"notes", report.notes},
                {"tensors", std::move(tensors)}};
}

namespace {

Result<QuantizeReport> plan(const GgufSource& in, const QuantizeOptions& options) {
    TRY_ASSIGN(const Mix* mix, find_mix(options.mix));
    std::vector<TensorInfo> infos;
    for (const SourceTensor& tensor : in.tensors()) infos.push_back(tensor.info);
    const MixModel model = describe_for_mix(infos);
    QuantizeReport report;
    report.mix = mix->name;
    for (const SourceTensor& tensor : in.tensors()) {
        const bool scale = tensor.weight != nullptr && !tensor.numbers.empty();
        // A tensor's scale follows blocks that were copied; otherwise the numbers include it.
        if (scale && report.tensors.back().source != report.tensors.back().target) continue;
        const MixChoice choice = choose_format(*mix, tensor.info, model);
        TRY_ASSIGN(QuantizedTensor planned, plan_tensor(in, tensor, choice, options.allow_requantize));
        planned.index = static_cast<size_t>(&tensor - in.tensors().data());
        report.weights += static_cast<uint64_t>(tensor.info.weights());
        report.source_bytes += planned.source_bytes;
        report.bytes += planned.bytes;
        report.fallbacks += planned.wanted != planned.target;
        report.tensors.push_back(std::move(planned));
    }
    GgufWriter writer;
    TRY(declare(in, report, *mix, options.vocabulary, writer));
    report.file_bytes = writer.file_bytes();
    return report;
}

Result<QuantizeReport> write(const GgufSource& in, const QuantizeOptions& options, const std::filesystem::path& out,
                             const QuantizeProgressCallback& progress) {
    TRY_ASSIGN(QuantizeReport report, plan(in, options));
    TRY_ASSIGN(const Mix* mix, find_mix(options.mix));
    TRY(check_room(out, report.file_bytes));
    in.advise_sequential();
    GgufWriter writer;
    TRY(declare(in, report, *mix, options.vocabulary, writer));
    TRY(writer.begin(out));
    const int threads = std::min(options.threads > 0 ? options.threads : available_cpus(), kMostThreads);
    TRY_ASSIGN(const auto pool, ThreadPool::create({.threads = threads}));
    TRY(Quantizer(in, *pool, report, progress).write(writer));
    TRY(writer.finish());
    return report;
}

}  // namespace

Result<QuantizeReport> plan_quantize(const GgufFile& in, const QuantizeOptions& options) {
    return plan(GgufSource::of(in), options);
}

Result<QuantizeReport> plan_quantize(const Checkpoint& in, const QuantizeOptions& options) {
    TRY_ASSIGN(const GgufSource source, GgufSource::of(in));
    return plan(source, options);
}

Result<QuantizeReport> quantize(const GgufFile& in, const QuantizeOptions& options, const std::filesystem::path& out,
                                const QuantizeProgressCallback& progress) {
    TRY(check_output(in.paths(), out));
    return write(GgufSource::of(in), options, out, progress);
}

Result<QuantizeReport> quantize(const Checkpoint& in, const QuantizeOptions& options, const std::filesystem::path& out,
                                const QuantizeProgressCallback& progress) {
    TRY(check_output(in, out));
    TRY_ASSIGN(const GgufSource source, GgufSource::of(in));
    return write(source, options, out, progress);
}

}  // namespace invar
