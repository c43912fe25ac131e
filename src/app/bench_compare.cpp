#include "app/bench_compare.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "app/child_process.h"
#include "app/output.h"
#include "base/json.h"
#include "bench/engine_subject.h"
#include "bench/variant.h"
#include "engine/engine_settings.h"

namespace invar::app {
namespace {

using What = ComparedWith::What;

constexpr std::array<std::pair<std::string_view, What>, 4> kWhats = {
    {{"kernel", What::kernel}, {"isa", What::isa}, {"threads", What::threads}, {"build", What::build}}};

Result<EngineSettings> settings_of_second(EngineSettings settings, const ComparedWith& with) {
    if (with.what == What::kernel) settings.kernel = with.value;
    if (with.what == What::isa) {
        settings.isa = find_isa_by_name(with.value);
        if (!settings.isa) {
            return fail("--compare isa={} is not known; choose one of scalar, avx2, avx_vnni, avx512, amx", with.value);
        }
    }
    if (with.what == What::threads) {
        const char* const end = with.value.data() + with.value.size();
        const auto [stopped, error] = std::from_chars(with.value.data(), end, settings.threads);
        if (error != std::errc() || stopped != end || settings.threads < 1 || settings.threads > 4096)
            return fail("--compare threads={} must be a number between 1 and 4096", with.value);
    }
    return settings;
}

std::string side_name(const ResolvedMachine& machine, const std::string& kernel) {
    const std::string named =
        fmt::format("{}, {}", counted(machine.threads, "thread", "threads"), isa_name(machine.isa));
    return kernel.empty() ? named : fmt::format("{}, kernel {}", named, kernel);
}

bool ran(const CpuOps& ops, std::string_view kernel) {
    const std::span<const KernelUse> uses = ops.kernels_used();
    return std::any_of(uses.begin(), uses.end(), [&](const KernelUse& use) { return use.kernel == kernel; });
}

}  // namespace

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Result<ComparedWith> parse_compared_with(const std::string& text) {
    const size_t equals = text.find('=');
    for (const auto& [name, what] : kWhats) {
        if (equals != std::string::npos && equals + 1 < text.size() && text.substr(0, equals) == name)
            return ComparedWith{.what = what, .value = text.substr(equals + 1)};
    }
    return fail("--compare '{}' is not known; write kernel=NAME, isa=NAME, threads=N or build=PATH", text);
}

Result<CompareReport> compare_in_process(Engine& engine, const EngineSettings& settings,
                                         const CompareRequest& request) {
    TRY_ASSIGN(const EngineSettings other, settings_of_second(settings, request.with));
    TRY_ASSIGN(const std::unique_ptr<Variant> variant, Variant::create(engine, other));
    CompareReport report{.first = side_name(engine.machine(), settings.kernel),
                         .second = side_name(variant->machine(), other.kernel),
                         .works = request.works};
    EngineSubject subject(engine, engine.ops());
    for (const Work& work : request.works) {
        const auto turn = [&](Ops& verbs) -> Turn {
            return [&subject, &work, &verbs]() -> Result<std::vector<double>> {
                subject.use(verbs);
                TRY_ASSIGN(const double speed, speed_of_one_run(work, subject, seconds_now));
                return std::vector<double>{speed};
            };
        };
        const Turn first = turn(engine.ops()), second = turn(variant->ops());
        for (const Turn& warm_up : {first, second}) TRY(warm_up());
        TRY_ASSIGN(std::vector<PairedSpeeds> speeds, alternate(first, second, request.pairs));
        report.speeds.push_back(std::move(speeds.front()));
    }
    if (!other.kernel.empty() && !ran(variant->ops(), other.kernel)) {
        return fail(
            "kernel '{}' is the choice for none of these works, so nothing was compared; --prompt, --generate "
            "and --sequences decide how many tokens a pass has",
            other.kernel);
    }
    return report;
}

Result<CompareReport> compare_builds(const std::vector<std::string>& arguments, const CompareRequest& request) {
    TRY_ASSIGN(const std::string own, own_program());
    const auto turn = [&](const std::string& program) -> Turn {
        return [&arguments, &request, program]() -> Result<std::vector<double>> {
            std::vector<std::string> words = {"bench"};
            words.insert(words.end(), arguments.begin(), arguments.end());
            words.insert(words.end(), {"--runs", "1", "--json"});
            TRY_ASSIGN(const std::string output, output_of(program, words));
            Result<std::vector<double>> speeds = speeds_in(output, request.works);
            if (!speeds) return fail("{}: {}", program, speeds.error().message);
            return speeds;
        };
    };
    CompareReport report{.first = own, .second = request.with.value, .works = request.works};
    TRY_ASSIGN(report.speeds, alternate(turn(own), turn(request.with.value), request.pairs));
    return report;
}

Result<std::vector<double>> speeds_in(const std::string& output, const std::vector<Work>& works) {
    const Result<Json> parsed = parse_json(output);
    if (!parsed) {
        return fail("what bench --json printed is {}, so this program is no invar; give the path of an invar",
                    output.empty() ? std::string("empty") : parsed.error().message);
    }
    const Json& json = *parsed;
    const auto number = [](const Json& object, const char* key, int64_t otherwise) {
        const auto found = object.find(key);
        return found != object.end() && found->is_number() ? found->get<int64_t>() : otherwise;
    };
    std::vector<double> speeds;
    const Json none = Json::array();
    const auto listed = json.is_object() ? json.find("measurements") : json.end();
    for (const Work& work : works) {
        for (const Json& one : json.is_object() && listed != json.end() && listed->is_array() ? *listed : none) {
            if (!one.is_object() || one.value("work", Json()) != work_kind_name(work.kind)) continue;
            if (number(one, "tokens", -1) != work.tokens || number(one, "depth", 0) != work.depth) continue;
            if (number(one, "sequences", 1) != work.sequences) continue;
            const auto speed = one.find("tokens_per_second");
            if (speed == one.end() || !speed->is_number()) continue;
            speeds.push_back(speed->get<double>());
            break;
        }
        const bool found = speeds.size() == static_cast<size_t>(&work - works.data()) + 1;
        if (!found)
            return fail("what bench --json printed has no '{}'; compare builds that know the same flags",
                        describe(work));
    }
    return speeds;
}

}  // namespace invar::app
