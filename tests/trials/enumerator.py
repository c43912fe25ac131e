"""An enumerator inserted near the front of FormatId: that of the trial "format", whose edits these are, behind which all others move. No
table of kernels, layouts or formats may notice, since all are found by the format and not by its number."""
import sys

import numpy as np

import format as format_trial
from trials import ROOT, Failure

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import tiny_models  # noqa: E402

SAYS = "an enumerator in front of all of FormatId but one: the other formats stay as they are"
LIMIT = format_trial.LIMIT
EDITS = format_trial.EDITS
# Rows are whole blocks of every format.
SHAPE = dict(arch="qwen3", width=256, layers=2, heads=2, kv=1, head=128, ffn=256, head_norms=True)
PATHS = (("invar", ()), ("invar", ("--isa", "scalar", "--form", "as-stored")), ("invar_emulated", ("--device", "cuda")))
TESTS = ("FormatDecodersExhaustive.*", "LinearEquality.EveryRowSplit*", "LinearEquality.WeightsAsStored*", "Cuda*.EqualsTheDefinition*",
         "Cuda*.EqualTheDefinition*")


def logits(copy, program, model, *flags):
    out = copy.root / "build" / "logits.npy"
    copy.run(program, "logits", model, "--tokens", "3,1,4,1,5,9", "--context", "64", "--chunk", "16", "--out", out, *flags)
    return np.load(out).view(np.uint32)


def check_mixes(copy, original):
    """Every mix of quantize: the file, byte by byte, and the logits of three paths with those of the program before the edit."""
    mixes = copy.run(copy.before / "invar", "quantize", "--help").split("Mixes:\n")[1].split("Example")[0]
    names = [line.split()[0] for line in mixes.strip().splitlines()]
    weights = values = 0
    for mix in names:
        ours, theirs = copy.root / "build" / f"{mix}.gguf", copy.root / "build" / f"{mix}-before.gguf"
        copy.run("invar", "quantize", original, ours, mix, "--quiet")
        copy.run(copy.before / "invar", "quantize", original, theirs, mix, "--quiet")
        if ours.read_bytes() != theirs.read_bytes():
            raise Failure(f"quantize writes another {mix} file than before")
        weights += ours.stat().st_size
        expected = logits(copy, copy.before / "invar", theirs)
        for program, flags in PATHS:
            found = logits(copy, program, ours, *flags)
            if not np.array_equal(found, expected):
                raise Failure(f"{mix}: logits of {program} {' '.join(flags)} are not those from before")
            values += found.size
    copy.compared(weights, f"bytes of files in {len(names)} mixes with those written before")
    copy.compared(values, f"logits of those models, repacked, as stored and on the emulated device, with those from before")


def check(copy):
    tests = ("tests/cpu/linear_equality_test.cpp", "tests/cuda/linear_decode_test.cpp", "tests/cuda/linear_tiles_test.cpp",
             "tests/formats/decode_test.cpp", "tests/cpu/linear_case.cpp")
    copy.add_program("trial_enumerator", tests, ["invar_cpu", "invar_cuda_emulated", "GTest::gtest_main"])
    copy.build("trial_enumerator", "invar", "invar_emulated")
    shown = copy.json("invar", "models")["formats"]
    if [one["name"] for one in shown[:3]] != ["f32", "toy", "f16"]:
        raise Failure("the toy is not the second format")
    # The decoders against the gguf package's values, and every product of every format against its definition.
    copy.run_check("trial_enumerator", f"--gtest_filter={':'.join(TESTS)}", only="checksums|formats x|all formats")
    original = copy.root / "build" / "original.gguf"
    tiny_models.write_model(original, **SHAPE)
    check_mixes(copy, original)
