#include "bench/alternation.h"

namespace invar {

Result<std::vector<PairedSpeeds>> alternate(const Turn& first, const Turn& second, int pairs) {
    std::vector<PairedSpeeds> result;
    for (int pair = 0; pair < pairs; ++pair) {
        const bool first_leads = pair % 2 == 0;
        TRY_ASSIGN(std::vector<double> lead, first_leads ? first() : second());
        TRY_ASSIGN(std::vector<double> follow, first_leads ? second() : first());
        if (!first_leads) std::swap(lead, follow);
        if (pair == 0) result.resize(lead.size());
        if (lead.size() != result.size() || follow.size() != result.size()) {
            return fail("one side measured {} works and the other {}; compare builds that know the same flags",
                        lead.size(), follow.size());
        }
        for (size_t work = 0; work < result.size(); ++work) {
            result[work].first.push_back(lead[work]);
            result[work].second.push_back(follow[work]);
        }
    }
    return result;
}

}  // namespace invar
