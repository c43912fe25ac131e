#include "models/embedding_weights.h"

#include "embed/dense_tensors.h"

namespace invar {

void declare_dense_layers(const Checkpoint& checkpoint, std::vector<WantedWeight>& wanted) {
    for (const DenseTensors& layer : dense_tensors(checkpoint)) {
        WantedWeight weight{.id = {-1, layer.role.weight},
                            .kind = WeightShape::matrix,
                            .shape = {layer.outputs, layer.inputs},
                            .choices = {{layer.weight}},
                            .gguf = {std::string(layer.role.gguf)}};
        weight.read_by_host = true;
        wanted.push_back(std::move(weight));
        if (layer.bias.empty()) continue;
        WantedWeight bias{.id = {-1, layer.role.bias},
                          .kind = WeightShape::vector,
                          .shape = {layer.outputs},
                          .choices = {{layer.bias}}};
        bias.read_by_host = true;
        wanted.push_back(std::move(bias));
    }
}

}  // namespace invar
