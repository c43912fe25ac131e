"""A new weight format: a folder, a line, and a row of the mixes so that `invar quantize` writes it. Its codes and scales are made of pieces
that exist, so it is fast on every instruction set and on a CUDA device (emulated), and the audit knows its scales."""
import struct
import sys

import gguf
import numpy as np

from trials import ROOT, Failure, insert, new_file, replace

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import tiny_models  # noqa: E402

SAYS = "a weight format: toy, 32 weights of 5 bits under a bfloat16 scale, right behind the first of the list"
LIMIT = 3
BLOCK_WEIGHTS, BLOCK_BYTES = 32, 22
SHAPE = dict(arch="qwen3", width=64, layers=2, heads=2, kv=1, head=64, ffn=96, head_norms=True)  # of the model it is tried on

EDITS = [
    insert("src/formats/list.h", "    FORMAT(toy)               \\\n", after="    FORMAT(f32)               \\\n"),
    insert("src/formats/list.h", '#include "formats/toy/toy.h"\n', after='#include "formats/q8_0/q8_0.h"\n'),
    insert("src/make/quantize_mixes.cpp", '    {"toy", toy, 200, {}, "all matrices toy"},\n', before='    {"nvfp4", nvfp4, 39'),
    new_file("src/formats/toy/toy.h", """// TOY: 32 weights, one bfloat16 scale, signed 5-bit codes. 5.5 bits per weight.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "arithmetic/dot.h"
#include "formats/code_runs.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::toy {

struct Block {
    static constexpr int kWeights = 32;
    StoredBF16 d;
    uint8_t tops[4];
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 22 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 200, .nibbles = true, .bits = true, .offset = 16, .scales = ScaleForm::bf16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::bf16, offsetof(Block, d), 0}};

inline int code(const Block& block, int i) {
    return ((block.nibbles[i / 2] >> (4 * (i % 2)) & 15) | (block.tops[i / 8] >> (i % 8) & 1) << 4) - 16;
}
inline float weight(const Block& block, int i) { return block.d.value() * static_cast<float>(code(block, i)); }

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(block.d.value() * x->d, static_cast<float>(idot), s);
}

inline void split(const Block& block, int at, RowRecord& row) {
    row.d[at] = block.d.bits();
    code_runs::split_neighbours<16>(block.nibbles, row.codes + 32 * at);
    code_runs::split_tops(block.tops, row.codes + 32 * at);
}
inline void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredBF16::from_bits(row.d[at]);
    code_runs::join_neighbours<16>(row.codes + 32 * at, block.nibbles);
    code_runs::join_tops(row.codes + 32 * at, block.tops);
}

inline void encode(const float* x, const float*, Block& block) {
    float amax = 0;
    for (int i = 0; i < 32; ++i) amax = std::fabs(x[i]) > amax ? std::fabs(x[i]) : amax;
    block.d = StoredBF16::from_bits(f32_to_bf16(amax / 15));
    RowRecord row{};
    row.d[0] = block.d.bits();
    const float inverse = block.d.value() == 0 ? 0 : 1 / block.d.value();
    for (int i = 0; i < 32; ++i) row.codes[i] = static_cast<uint8_t>(std::lrint(x[i] * inverse) + 16) & 31;
    join(row, 0, block);
}

}  // namespace invar::toy
"""),
]


def write_models(copy):
    """A tiny model in F32, and what `invar quantize` makes of it in the toy format."""
    original, toy = copy.root / "build" / "original.gguf", copy.root / "build" / "toy.gguf"
    tiny_models.write_model(original, **SHAPE)
    copy.run("invar", "quantize", original, toy, "toy", "--quiet")
    copy.refused(copy.before / "invar", "inspect", toy, naming=("200",))
    return original, toy


def toy_tensors(copy, toy):
    tensors = [tensor for tensor in copy.json("invar", "inspect", toy)["tensors"] if tensor["format"] == "toy"]
    for tensor in tensors:
        if tensor["bytes"] * BLOCK_WEIGHTS != tensor["weights"] * BLOCK_BYTES:
            raise Failure(f"inspect gives {tensor['name']} {tensor['bytes']} bytes for {tensor['weights']} weights")
    copy.compared(len(tensors), "sizes of toy tensors in inspect")
    return tensors


def check_meaning(copy, original, toy, tensors):
    """The weights as `invar` reads them are those that numpy makes of the bytes: a twin in F32 has equal weights."""
    stored, values = toy.read_bytes(), {}
    for tensor in tensors:
        bytes_of_tensor = np.frombuffer(stored, np.uint8, tensor["bytes"], tensor["offset"]).reshape(-1, BLOCK_BYTES)
        scales = (bytes_of_tensor[:, :2].copy().view("<u2").astype(np.uint32) << 16).view(np.float32)
        low = np.stack([bytes_of_tensor[:, 6:] & 15, bytes_of_tensor[:, 6:] >> 4], -1).reshape(-1, BLOCK_WEIGHTS)
        top = np.unpackbits(bytes_of_tensor[:, 2:6], axis=1, bitorder="little")
        values[tensor["name"]] = scales * (low.astype(np.float32) + 16 * top - 16)
    twin = copy.root / "build" / "twin.gguf"
    data = bytearray(original.read_bytes())
    for tensor in gguf.GGUFReader(original).tensors:
        if tensor.name in values:
            data[tensor.data_offset:tensor.data_offset + tensor.n_bytes] = values[tensor.name].astype("<f4").tobytes()
    twin.write_bytes(data)
    compared = 0
    for tensor in copy.json("invar", "diff", toy, twin, "--weights-only")["tensors"]:
        if tensor["a"]["format"] != "toy":
            continue
        if not tensor["equal_bits"]:
            raise Failure(f"{tensor['weight']}: numpy makes other weights of the bytes")
        compared += tensor["weights"]
    copy.compared(compared, "weights with those that numpy makes of the bytes, bit for bit")


def stored_bytes(form, rows, columns):
    """Bytes of a matrix of the toy in memory: as in the file; packed rows (docs/kernels.md): 512 bytes of nibbles, 128 of bits and 64 of
    scales for each 4 x 256; on the device (docs/gpu.md): the same codes, and 256 bytes of scales for each 4 x 1024."""
    records, groups = -(-columns // 256), -(-rows // 4)
    return {"as_stored": rows * columns // BLOCK_WEIGHTS * BLOCK_BYTES,
            "rows4": groups * records * (512 + 128 + 64),
            "device_lanes": groups * (records * (512 + 128) + -(-records // 4) * 256)}[form]


def check_plans(copy, toy):
    cases = (((), {"as_stored", "rows4"}), (("--form", "as-stored"), {"as_stored"}), (("--device", "cuda"), {"device_lanes"}))
    for device, expected_forms in cases:
        plan = copy.json("invar_emulated", "plan", toy, *device)
        entries = [entry for entry in plan["entries"] if entry["format"] == "toy" and "alias_of" not in entry]
        for entry in entries:
            expected = stored_bytes(entry["form"], *entry["shape"])
            if entry["bytes"] != expected or expected == 0 or entry["form"] not in expected_forms:
                raise Failure(f"plan {device}: {entry['weight']} is {entry['bytes']} bytes {entry['form']}, expected {expected}")
        if sum(entry["bytes"] for entry in plan["entries"]) != plan["weight_bytes"]:
            raise Failure(f"plan {device}: the entries are not {plan['weight_bytes']} bytes in all")
        copy.compared(len(entries), f"bytes of toy matrices in plan {' '.join(device) or '(no device)'}")


def check_audit(copy, toy, tensors):
    """A sound file has no finding; an infinite scale in one block is found at its byte."""
    report = copy.json("invar", "audit", toy)
    if report["errors"] or report["warnings"]:
        raise Failure(f"audit of a sound file: {report['findings']}")
    damaged, found = copy.root / "build" / "damaged.gguf", 0
    for tensor in tensors:
        block = tensor["weights"] // BLOCK_WEIGHTS // 2
        offset = tensor["offset"] + block * BLOCK_BYTES
        data = bytearray(toy.read_bytes())
        struct.pack_into("<H", data, offset, 0x7F80)
        damaged.write_bytes(data)
        done = copy.call("invar", "audit", damaged, "--json")
        found_there = all(part in done.stdout for part in (f'"offset":{offset}', "non-finite-scale", tensor["name"]))
        if done.returncode != 1 or not found_there:
            raise Failure(f"audit does not find the infinite scale at byte {offset} of {tensor['name']}: {done.stdout}")
        found += 1
    copy.compared(found, "infinite scales that audit finds at their byte")


def check_without_a_row(copy, toy):
    """No row of the table of products has the format: a plan for the device is refused, and one for the CPU is as before."""
    before = copy.json("invar_emulated", "plan", toy)
    copy.apply([replace("src/cuda/product_kernels.cu", "bool has_codes(FormatId format) { return has_device_form(format)",
                        "bool has_codes(FormatId format) { return format != FormatId::toy && has_device_form(format)")])
    copy.build("invar_emulated")
    parts = ("tensor '", "is toy", "linear", "--device cpu")
    sentences = [copy.refused("invar_emulated", command, toy, "--device", "cuda", *flags, naming=parts)
                 for command in ("plan", "bench") for flags in ((), ("--gpu-layers", "1"))]
    if copy.json("invar_emulated", "plan", toy)["entries"] != before["entries"]:
        raise Failure("without the row the plan for the CPU is another")
    copy.compared(len(sentences), f"refusals without a row for it, such as: {sentences[0]}")


def check(copy):
    tests = ("tests/trials/format_check.cpp", "tests/cuda/linear_decode_test.cpp", "tests/cuda/linear_tiles_test.cpp", "tests/cpu/linear_case.cpp")
    copy.add_program("trial_format", tests, ["invar_cpu", "invar_cuda_emulated", "GTest::gtest_main"])
    copy.build("trial_format", "invar", "invar_emulated")
    copy.run_check("trial_format", "--gtest_filter=TrialFormat.*:Cuda*.EqualsTheDefinition*:Cuda*.EqualTheDefinition*", only="toy")
    original, toy = write_models(copy)
    tensors = toy_tensors(copy, toy)
    check_meaning(copy, original, toy, tensors)
    check_plans(copy, toy)
    check_audit(copy, toy, tensors)
    copy.verify(toy, "--seconds", "0.3")
    check_without_a_row(copy, toy)
