"""invar plan --check on the demonstration models: every entry as planned, memory as planned, with the file sizes that the gguf package
sees.
"""
import pathlib

import gguf

import engine


def test(invar, arguments):
    folder = pathlib.Path(arguments.models)
    entries = 0
    for model in ("demo-dense-q8_0", "demo-dense-q4_k_m", "demo-moe-q8_0", "demo-moe-q4_k_m"):
        path = folder / f"{model}.gguf"
        sizes = {t.name: int(t.n_bytes) for t in gguf.GGUFReader(str(path)).tensors}
        for flags in ((), ("--form", "as-stored"), ("--isa", "scalar", "--cache", "f32"), ("--context", "128", "--chunk", "32")):
            done = invar.call("plan", path, "--check", "--json", *flags)
            assert done.returncode == 0, f"{path} {flags}: exit code {done.returncode}: {done.stderr}{done.stdout[-600:]}"
            report = engine.json.loads(done.stdout)
            memory = report["memory"]
            planned = sum(part["planned"] for part in memory["parts"])
            assert planned == memory["planned"] and abs(memory["measured"] - planned) <= max(0.03 * planned, 1 << 19)
            assert report["holds"] and report["differences"] == 0
            owners = {e["tensor"]: e for e in report["entries"] if e["source_hash"]}
            assert owners.keys() == sizes.keys(), f"{path}: {owners.keys() ^ sizes.keys()}"
            as_stored = [e for e in owners.values() if e["form"] == "as_stored"]
            assert all(e["bytes"] == sizes[e["tensor"]] for e in as_stored)
            # What stays in the file is in memory once it was read; what was repacked is not there a second time.
            mapped = next(p for p in memory["parts"] if p["name"] == "weights in the mapped file")
            assert mapped["planned"] == sum(e["bytes"] for e in as_stored)
            assert memory["file_rest"]["written"] < 256 * 1024, memory["file_rest"]
            entries += len(report["entries"])
    text = invar.run("plan", folder / "demo-moe-q8_0.gguf", "--check")
    assert "0 differ" in text and "within" in text and "NOT" not in text
    print(f"[plan check] {entries} entries compared, memory within 3 % (or 512 KiB) of every plan")


if __name__ == "__main__":
    engine.main(test)
