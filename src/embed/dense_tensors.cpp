#include "embed/dense_tensors.h"

#include "files/model_directory.h"
#include "files/sentence_modules.h"

namespace invar {
namespace {

void add_layer(const Checkpoint& checkpoint, const std::string& folder, const std::string& weight,
               const std::string& bias, std::vector<DenseTensors>& layers) {
    const TensorInfo* matrix = checkpoint.find(weight);
    if (matrix == nullptr || matrix->shape.size() != 2 || layers.size() == kDenseRoles.size()) return;
    const bool biased = checkpoint.find(bias) != nullptr;
    layers.push_back({.role = kDenseRoles[layers.size()],
                      .folder = folder,
                      .weight = weight,
                      .bias = biased ? bias : std::string(),
                      .outputs = matrix->shape[0],
                      .inputs = matrix->shape[1]});
}

}  // namespace

std::vector<DenseTensors> dense_tensors(const Checkpoint& checkpoint) {
    std::vector<DenseTensors> layers;
    if (checkpoint.directory() == nullptr) {
        for (const DenseRole& role : kDenseRoles) {
            if (!role.gguf.empty()) add_layer(checkpoint, "", std::string(role.gguf), "", layers);
        }
        return layers;
    }
    for (const SentenceModule& module : checkpoint.directory()->sentence_modules()) {
        if (module.kind != "Dense") continue;
        add_layer(checkpoint, module.folder, module.folder + "/linear.weight", module.folder + "/linear.bias", layers);
    }
    return layers;
}

}  // namespace invar
