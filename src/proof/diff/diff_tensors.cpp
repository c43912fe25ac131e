#include "proof/diff/diff_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "proof/diff/diff_rows.h"

namespace invar {
namespace {

// Sums over a row, or over several rows.
struct Fit {
    double xx = 0, yy = 0, xy = 0, dd = 0;  // d = x - y
    double x = 0, y = 0;
    int64_t flips = 0;
    bool finite = true, equal_bits = true;

    void add(const Fit& other) {
        xx += other.xx;
        yy += other.yy;
        xy += other.xy;
        dd += other.dd;
        x += other.x;
        y += other.y;
        flips += other.flips;
        finite = finite && other.finite;
        equal_bits = equal_bits && other.equal_bits;
    }
    double relative() const { return dd == 0 ? 0 : std::sqrt(dd / xx); }
    double scale() const { return yy > 0 ? xy / yy : 1; }
    // rms(x - scale y) / rms(x)
    double scaled() const { return xx > 0 && yy > 0 ? std::sqrt(std::max(0.0, 1 - xy * xy / (xx * yy))) : relative(); }
    double cosine() const { return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 1; }
};

struct Block {
    double difference = 0, size = 0;  // RMS of x - y and of x
    int64_t column = 0;
};

struct Room {
    std::vector<float> x, y;
    RowReader reader{RowReader::Access::mapped}, reader_b{RowReader::Access::mapped};
};

// Whether a row has the same blocks and scales in both, so that every product with it is the same to the bit. The
// binary32 of its weights may differ in their last bit all the same: writers of NVFP4 round in orders of their own.
bool same_codes(const MatchedTensor& pair, int64_t row, Room& room) {
    const StoredWeight &a = pair.a, &b = pair.b;
    if (a.shape.size() == 1 || a.format != b.format || a.row_scales.empty() != b.row_scales.empty()) return false;
    const auto scale_of = [&](const StoredWeight& weight) { return weight.scale_of(row / weight.rows_of_matrix()); };
    const auto at = static_cast<size_t>(row);
    if (scale_of(a) != scale_of(b) || (!a.row_scales.empty() && a.row_scales[at] != b.row_scales[at])) return false;
    const auto x = room.reader.rows(a, row, 1), y = room.reader_b.rows(b, row, 1);
    CHECK(x.has_value() && y.has_value(), "mapped rows cannot fail to be read");
    return std::memcmp(*x, *y, static_cast<size_t>(a.row_bytes())) == 0;
}

// Weights compared as one block: the larger of the formats' blocks, at least 32.
int64_t unit_of(const MatchedTensor& pair) {
    return std::min<int64_t>(pair.a.columns(),
                             std::max({32, pair.a.format->block_weights, pair.b.format->block_weights}));
}

// The relative difference of a block. `typical` is the RMS of x over the tensor; a block fainter than a tenth of it
// counts as a tenth.
double relative_of(const Block& block, double typical) {
    const double size = std::max(block.size, 0.1 * typical);
    return size > 0 ? block.difference / size : block.difference > 0 ? INFINITY : 0;
}

Fit fit_row(const MatchedTensor& pair, int64_t row, Room& room, double typical, Block& worst) {
    const bool same = same_codes(pair, row, room);
    decode_row(pair.a, row, room.reader, room.x);
    if (same) {
        room.y = room.x;
    } else {
        decode_row(pair.b, row, room.reader, room.y);
    }
    const int64_t columns = pair.a.columns(), unit = unit_of(pair);
    Fit all;
    all.equal_bits = std::memcmp(room.x.data(), room.y.data(), static_cast<size_t>(columns) * sizeof(float)) == 0;
    double worst_relative = -1;
    for (int64_t first = 0; first < columns; first += unit) {
        const int64_t count = std::min(unit, columns - first);
        Fit fit;
        for (int64_t i = first; i < first + count; ++i) {
            const double x = room.x[static_cast<size_t>(i)], y = room.y[static_cast<size_t>(i)], d = x - y;
            fit.xx += x * x;
            fit.yy += y * y;
            fit.xy += x * y;
            fit.dd += d * d;
            fit.x += x;
            fit.y += y;
            fit.flips += std::fabs(x) > typical && x * y < 0 ? 1 : 0;
        }
        fit.finite = std::isfinite(fit.xx) && std::isfinite(fit.yy);
        const auto n = static_cast<double>(count);
        const Block block{.difference = std::sqrt(fit.dd / n), .size = std::sqrt(fit.xx / n), .column = first};
        const double relative = relative_of(block, typical);
        if (fit.finite && relative > worst_relative) worst = block, worst_relative = relative;
        all.add(fit);
    }
    return all;
}

// The RMS of the tensor in A over a sample of rows, which decides which blocks are faint.
double typical_rms(const MatchedTensor& pair) {
    std::vector<float> row;
    RowReader reader(RowReader::Access::mapped);
    double squares = 0;
    int64_t count = 0;
    const int64_t step = std::max<int64_t>(1, pair.rows / 64);
    for (int64_t r = 0; r < pair.rows; r += step) {
        decode_row(pair.a, r, reader, row);
        for (const float x : row) {
            if (!std::isfinite(x)) continue;
            squares += double{x} * x;
            ++count;
        }
    }
    return count > 0 ? std::sqrt(squares / static_cast<double>(count)) : 0;
}

// The error of storing the values of `source` in `format`: relative RMS over a sample of rows.
double format_error(const StoredWeight& source, const Format& format, int64_t rows) {
    if (format.id == FormatId::f32) return 0;
    constexpr int64_t kMostRows = 16, kMostColumns = 2048;
    const int64_t columns = std::min(source.columns(), kMostColumns) / format.block_weights * format.block_weights;
    if (columns == 0) return 0;  // the format cannot hold such rows, so no file has them
    std::vector<float> values, back(static_cast<size_t>(columns));
    std::vector<std::byte> stored(static_cast<size_t>(format.row_bytes(columns)));
    RowReader reader(RowReader::Access::mapped);
    double difference = 0, size = 0;
    for (int64_t i = 0; i < std::min(rows, kMostRows); ++i) {
        decode_row(source, i * rows / std::min(rows, kMostRows), reader, values);
        format.encode(values.data(), columns, nullptr, stored.data());
        format.decode(stored.data(), columns, back.data());
        for (int64_t c = 0; c < columns; ++c) {
            const double x = values[static_cast<size_t>(c)], d = x - back[static_cast<size_t>(c)];
            if (!std::isfinite(d)) continue;
            difference += d * d;
            size += x * x;
        }
    }
    return size > 0 ? std::sqrt(difference / size) : 0;
}

// Looks for a known mistake that explains what quantisation does not.
class Suspicion {
  public:
    Suspicion(const MatchedTensor& pair, const std::vector<Fit>& rows, const Fit& all, TensorDistance& distance)
        : pair_(pair), rows_(rows), all_(all), distance_(distance) {}

    void look(double worst_relative) {
        if (!distance_.finite) return say("it holds weights that are no numbers; see invar audit");
        if (all_.xx == 0 && all_.yy > 0) return say("it is zero in A and not in B");
        if (all_.yy == 0 && all_.xx > 0) return say("it is zero in B and not in A");
        const double allowed = kTolerance * distance_.expected + kFloor;
        const auto bad = std::count_if(rows_.begin(), rows_.end(), [&](const Fit& row) {
            return row.finite && row.relative() > 2 * allowed && row.dd > 0;
        });
        // If a few rows differ, they are examined by themselves; if most do, the tensor is examined as a whole.
        const bool local = bad > 0 && 2 * bad < static_cast<int64_t>(rows_.size());
        if (local) {
            if (scaled_rows(allowed) || permuted() || damaged_block(worst_relative)) return;
        } else if (scaled()) {
            return;
        }
        if (all_.relative() <= allowed) {
            damaged_block(worst_relative);
        } else if (!offset(allowed) && !scaled_rows(allowed) && !permuted()) {
            distance_.unexplained = true;
            const std::string formats =
                distance_.expected > 0
                    ? fmt::format("{:.3g} times the {:.3g}", all_.relative() / distance_.expected, distance_.expected)
                    : std::string("more than the nothing");
            say(fmt::format("its distance of {:.3g} is {} that the formats explain", all_.relative(), formats));
        }
    }

  private:
    static constexpr double kFloor = 1e-6;  // about two roundings of binary32
    void say(std::string sentence) { distance_.suspicions.push_back(std::move(sentence)); }

    // Whether one factor on the whole tensor explains most of the distance. Rounding to the nearest code alone moves
    // the best factor by up to the squared error.
    bool scaled() {
        const double scale = all_.scale(), octaves = std::fabs(std::log2(std::fabs(scale)));
        const bool reversed = scale < 0;
        const bool resized = octaves > std::max(0.05, 4 * distance_.expected * distance_.expected);
        if (all_.scaled() > 0.75 * std::min(1.0, all_.relative()) || (!reversed && !resized)) return false;
        std::string text = reversed ? "its sign is reversed" : "";
        if (resized) {
            text += fmt::format(
                "{}A is {:.6g} (2^{:.3f}) times B: a scale of the whole tensor is missing, inverted or "
                "applied twice",
                reversed ? ", and " : "", std::fabs(scale), std::log2(std::fabs(scale)));
        }
        say(fmt::format("{}; with it the distance is {:.3g} instead of {:.3g}", text, all_.scaled(), all_.relative()));
        return true;
    }

    // Whether one number added to every weight explains it, because norms are stored as w or as w - 1.
    bool offset(double allowed) {
        const auto n = static_cast<double>(distance_.weights);
        const double shift = (all_.x - all_.y) / n;
        const double rest = std::sqrt(std::max(0.0, all_.dd / n - shift * shift));
        if (rest > std::max(allowed, 0.05) * std::sqrt(all_.xx / n) || std::fabs(shift) < 10 * rest) return false;
        say(fmt::format("A is B plus {:.6g}{}", shift,
                        std::fabs(std::fabs(shift) - 1) < 0.01 ? ": a norm stored without its 1" : ""));
        return true;
    }

    // Whether some rows (or experts) have factors of their own.
    bool scaled_rows(double allowed) {
        int64_t count = 0, first = -1;
        for (size_t i = 0; i < rows_.size(); ++i) {
            const Fit& row = rows_[i];
            if (row.relative() <= 2 * allowed || !(row.xx > 0) || !(row.yy > 0)) continue;
            // A factor explains a row if the rest is small, and much smaller than without the factor.
            const double without = std::min(1.0, row.relative());
            if (row.scaled() > std::min(std::max(2 * allowed, 0.3 * without), 0.75 * without)) return false;
            if (count++ == 0) first = static_cast<int64_t>(i);
        }
        if (count == 0) return false;
        const double scale = rows_[static_cast<size_t>(first)].scale();
        say(fmt::format("{} of {} rows have a factor of their own; the first is {}: A is {:.6g} times B there", count,
                        rows_.size(), spell_row(first), scale));
        return true;
    }

    bool permuted() {
        std::vector<int64_t> poor;
        for (size_t i = 0; i < rows_.size(); ++i) {
            if (rows_[i].cosine() < kPoor) poor.push_back(static_cast<int64_t>(i));
        }
        const auto count = static_cast<int64_t>(poor.size());
        if (count < 2) return false;
        if (pair_.a.shape.size() == 3 && permuted_experts(poor)) return true;
        constexpr int64_t kMostRows = 2048;  // the search compares all pairs of rows and takes about 1 s for these
        if (count > kMostRows) poor.resize(kMostRows);
        const auto matches = match_rows(RowSketches(pair_.a, poor), RowSketches(pair_.b, poor), kGood);
        if (static_cast<double>(matches.size()) < 0.8 * static_cast<double>(poor.size())) return false;
        say(fmt::format("{}: {} of {} rows; {} in A is row {} in B", describe_permutation(matches, pair_.head_width),
                        count, rows_.size(), spell_row(matches[0].row_a), matches[0].row_b));
        return true;
    }

    bool permuted_experts(const std::vector<int64_t>& poor) {
        const int64_t experts = pair_.a.shape[0], rows = pair_.a.shape[1];
        std::vector<int64_t> bad(static_cast<size_t>(experts), 0), swapped;
        for (const int64_t row : poor) ++bad[static_cast<size_t>(row / rows)];
        std::string example;
        for (int64_t e = 0; e < experts; ++e) {
            if (2 * bad[static_cast<size_t>(e)] < rows) continue;
            const int64_t found = expert_like(e);
            if (found < 0) continue;
            if (swapped.empty()) example = fmt::format("expert {} in A is expert {} in B", e, found);
            swapped.push_back(e);
        }
        if (swapped.empty()) return false;
        say(fmt::format("experts are permuted: {} of {}; {}", swapped.size(), experts, example));
        return true;
    }

    // The expert of B whose first rows are those of an expert of A; -1: none.
    int64_t expert_like(int64_t expert) const {
        const int64_t experts = pair_.a.shape[0], rows = pair_.a.shape[1], sample = std::min<int64_t>(rows, 16);
        const auto rows_of = [&](int64_t e) {
            std::vector<int64_t> list;
            for (int64_t r = 0; r < sample; ++r) list.push_back(e * rows + r);
            return list;
        };
        const RowSketches mine(pair_.a, rows_of(expert));
        for (int64_t e = 0; e < experts; ++e) {
            if (e == expert) continue;
            const RowSketches theirs(pair_.b, rows_of(e));
            double sum = 0;
            for (int64_t r = 0; r < sample; ++r) sum += mine.cosine(r, theirs, r);
            if (sum / static_cast<double>(sample) >= kGood) return e;
        }
        return -1;
    }

    // Whether one block does not resemble its counterpart at all.
    bool damaged_block(double relative) {
        const double limit = std::max(std::min(0.9, 6 * distance_.expected), 0.02);
        if (relative <= limit) return false;
        say(fmt::format("{}, columns {} to {} differ by {:.3g} of their size, blocks of these formats by {:.3g} or so",
                        spell_row(distance_.worst.row), distance_.worst.column,
                        distance_.worst.column + distance_.worst.weights - 1, relative, distance_.expected));
        return true;
    }

    std::string spell_row(int64_t row) const {
        if (pair_.a.shape.size() < 3) return fmt::format("row {}", row);
        return fmt::format("row {} of expert {}", row % pair_.a.shape[1], row / pair_.a.shape[1]);
    }

    // Quantisation to two bits still gives cosines of 0.93; unrelated rows have cosines around 0.
    static constexpr double kPoor = 0.7, kGood = 0.85;

    const MatchedTensor& pair_;
    const std::vector<Fit>& rows_;
    const Fit& all_;
    TensorDistance& distance_;
};

int64_t offset_of(const StoredWeight& weight, int64_t row, int64_t column) {
    const int64_t in_row = column / weight.format->block_weights * weight.format->block_bytes;
    return weight.place_of(row).offset + in_row;
}

}  // namespace

TensorDistance tensor_distance(const MatchedTensor& pair, ThreadPool& pool) {
    TensorDistance distance{.pair = &pair, .weights = pair.rows * pair.a.columns(), .equal_bits = true};
    const double typical = typical_rms(pair);
    std::vector<Fit> rows(static_cast<size_t>(pair.rows));
    std::vector<Block> worst(rows.size());
    std::vector<Room> rooms(static_cast<size_t>(pool.threads()));
    pool.parallel_items(pair.rows, [&](int64_t row, int worker) {
        const auto r = static_cast<size_t>(row);
        rows[r] = fit_row(pair, row, rooms[static_cast<size_t>(worker)], typical, worst[r]);
    });
    Fit all;
    double worst_relative = -1;
    for (size_t r = 0; r < rows.size(); ++r) {
        distance.equal_bits = distance.equal_bits && rows[r].equal_bits;
        distance.finite = distance.finite && rows[r].finite;
        if (!rows[r].finite) continue;
        all.add(rows[r]);
        const double relative = relative_of(worst[r], typical);
        if (relative <= worst_relative) continue;
        worst_relative = relative;
        const auto row = static_cast<int64_t>(r);
        distance.worst = {.row = row,
                          .column = worst[r].column,
                          .weights = std::min(unit_of(pair), pair.a.columns() - worst[r].column),
                          .relative = relative,
                          .offset_a = offset_of(pair.a, row, worst[r].column),
                          .offset_b = offset_of(pair.b, row, worst[r].column)};
    }
    distance.relative_rms = all.relative();
    distance.scale = all.scale();
    distance.scaled_rms = all.scaled();
    distance.sign_flips = all.flips;
    distance.expected =
        std::hypot(format_error(pair.b, *pair.a.format, pair.rows), format_error(pair.a, *pair.b.format, pair.rows));
    Suspicion(pair, rows, all, distance).look(worst_relative);
    return distance;
}

}  // namespace invar
