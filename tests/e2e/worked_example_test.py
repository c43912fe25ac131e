"""The commands of docs/worked_example_gemma4.md on a small shape of the same family: invar diff calls an NVFP4 directory and its Q8_0 file the
same model, and names the layer, the stage and the likely cause of each fault that is put into one of them.
"""
import re

import engine

FAULTS = (("norm_without_weight@layer=1,stage=router_norm", "layer.1.router_norm (rms_norm)", "the weight of a norm is left out"),
          ("inverted_global_scale@layer=1", "layer.1.query (linear)", "the scale of a tensor is taken for its inverse"),
          ("missing_scale@layer=1,stage=router_input", "layer.1.router_input (scale)", "a constant factor is left out"))


def test(invar, arguments):
    directory, file = invar.folder / "gemma-4", invar.folder / "gemma-4-q8_0.gguf"
    invar.run("synth", "tiny-gemma4", "hf-nvfp4", directory)
    invar.run("quantize", directory, file, "q8_0", "--allow-requantize", "--no-vocabulary", "--quiet")
    verdict = invar.run("diff", directory, file).splitlines()[0]
    assert re.fullmatch(r"the same model: \d+ tensors correspond, [1-9]\d* of them to the bit, and the formats explain every distance, "
                        r"also those of all [1-9]\d+ stages of a run", verdict), verdict
    for fault, stage, meaning in FAULTS:
        done = invar.call("diff", directory, file, "--inject", fault)
        first = done.stdout.splitlines()[0]
        assert done.returncode == 1, f"{fault}: {done.stderr}{first}"
        assert first.startswith(f"not the same model: {stage} is the first verb that is wrong in B: "), first
        assert f"; likely cause: B computes as if {meaning} (fault {fault.split('@')[0]} gives exactly these bits)" in first, first
    nothing = invar.call("diff", directory, file, "--weights-only", "--inject", FAULTS[1][0])
    assert nothing.returncode == 2 and "nothing runs" in nothing.stderr, nothing.stderr
    print(f"[worked example] one verdict of equality, {len(FAULTS)} faults located and explained")


if __name__ == "__main__":
    engine.main(test)
