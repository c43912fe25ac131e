#include "proof/report/html_parts.h"

#include <algorithm>

namespace invar {

std::vector<StageOfLayers> rows_of(const AccuracyReport& accuracy) {
    std::vector<StageOfLayers> rows;
    std::map<std::string, size_t> places;
    for (const StageAccuracy& stage : accuracy.stages) {
        const std::string name =
            stage.key.name + (stage.key.occurrence > 1 ? fmt::format("#{}", stage.key.occurrence) : "");
        const auto [place, fresh] = places.try_emplace(name, rows.size());
        if (fresh) rows.push_back({.name = name, .integers = stage.integers > 0});
        rows[place->second].of_layer[stage.key.layer] = &stage;
    }
    return rows;
}

int64_t layers_of(const VerifyReport& report) {
    int64_t layers = report.layers;
    for (const StageAccuracy& stage : report.accuracy->stages) layers = std::max<int64_t>(layers, stage.key.layer + 1);
    return layers;
}

std::string section(std::string_view id, std::string_view title, std::string_view lead, std::string_view body) {
    return fmt::format("<section id=\"{}\"><h2>{}</h2><p class=\"lead\">{}</p>{}</section>\n", id, title, lead, body);
}

std::string figure(std::string_view title, std::string_view chart, std::string_view note) {
    return fmt::format("<figure class=\"card\"><figcaption>{}{}</figcaption>{}</figure>", title,
                       note.empty() ? "" : fmt::format(" <small>{}</small>", note), chart);
}

std::string tile(std::string_view label, std::string_view value, std::string_view note) {
    const bool is_long = value.size() > 11 && value.find('&') == std::string_view::npos;
    return fmt::format("<div class=\"tile\"><dt>{}</dt><dd{}>{}<small>{}</small></dd></div>", label,
                       is_long ? " class=\"long\"" : "", value, note);
}

}  // namespace invar
