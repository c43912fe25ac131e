"""tools/real_shapes.py on small shapes: what it demands of directories of real shape, in every dialect whose weights are kept in a form of
their own; FP8 whose blocks end inside; a plan that the tool must refuse.
"""
import pathlib
import sys

import engine

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent / "tools"))
import real_shapes  # noqa: E402

SMALL = (("tiny", "hf-bf16", 1), ("tiny-ragged", "hf-fp8-block", 1), ("tiny-moe", "hf-fp8-channel", 1), ("tiny-moe", "hf-nvfp4-modelopt", 1),
         ("tiny-moe", "hf-mixed", 1), ("tiny", "hf-nvfp4", 1))
MOST_RAGGED = 0.3  # packed rows end at multiples of 256 columns, and these end at 576, 320 and 1088


def scales_beside(folder):
    """Bytes of the scales of rows, in binary32, from the headers."""
    header = real_shapes.headers(folder)
    return sum(4 * one["shape"][0] for name, one in header.items() if name.endswith(".weight_scale") and one["shape"][1:] == [1])


def test_refusals(row, plan, folder):
    """The demands are not empty."""
    refused = 0
    for change in ({"weight_bytes": int(1.03 * plan["weight_bytes"])}, {"ignored": [{"bytes": row["files"] // 30}]}):
        try:
            real_shapes.weights_against_files({**plan, **change}, folder, dict(row))
        except real_shapes.Failed as failure:
            refused += "the plan's weights are" in str(failure)
    assert refused == 2, refused


def test(invar, arguments):
    rows = []
    for case in SMALL:
        folder = invar.folder / "-".join(map(str, case))
        emulated = arguments.emulated or None
        most = MOST_RAGGED if case[0] == "tiny-ragged" else real_shapes.MOST_WEIGHTS
        rows.append(real_shapes.measure(invar.binary, case, folder, seconds=0.2, emulated=emulated, context=256, most_weights=most))
        totals = invar.json("plan", folder)["totals"]
        if case[1] in ("hf-fp8-channel", "hf-mixed"):
            assert totals["scales beside"]["bytes"] >= scales_beside(folder) > 5000, totals
        if case[1] == "hf-fp8-channel":
            assert totals["scales beside"]["bytes"] == scales_beside(folder), totals
    folder = invar.folder / "-".join(map(str, SMALL[0]))
    test_refusals(rows[0], invar.json("plan", folder), folder)
    print(real_shapes.table(rows))


if __name__ == "__main__":
    engine.main(test)
