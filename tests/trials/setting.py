"""A new setting of every command that loads a model: a row and the member it reads into. Its use here is beside the row."""
from trials import Failure, insert

SAYS = "a setting: --toy-most-threads N, for every command that loads a model"
LIMIT = 2
MOST_OBJECTS = 40  # of src/ that its member's header rebuilds

EDITS = [
    insert("src/engine/engine_settings.h", "    int toy_most_threads = 0;  // 0: as many as `threads` says\n", after="this process may use\n"),
    insert("src/app/settings.cpp", """            {"--toy-most-threads", number(engine.toy_most_threads, 0, 64), "No more threads than this; 0: no such limit"},
""", before='            {"--pin", flag(engine.pin)'),
    insert("src/app/settings.cpp", "    if (settings.toy_most_threads > 0) settings.threads = settings.toy_most_threads;\n", after="    settings.model = model;\n"),
]


def check(copy):
    copy.build("invar")
    invar = copy.root / "build/invar"
    for command in ("run", "bench", "verify", "plan", "logits", "eval", "diff"):
        help_text = copy.run(invar, command, "--help")
        if "--toy-most-threads" not in help_text or "INT in [0 - 64]" not in help_text:
            raise Failure(f"invar {command} --help does not show the row")
    copy.run(invar, "plan", "no.gguf", "--toy-most-threads", "65", ends_with=2)
    recording = copy.root / "toy.safetensors"
    for flags, threads in (((), 2), (("--toy-most-threads", "1"), 1)):
        copy.run(invar, "trace", "record", "tests/data/goldens/llama.gguf", "--tokens", "1,2,3", "--threads", "2", *flags, "--out", recording)
        shown = copy.run(invar, "trace", "show", recording).split("\n")
        if not any(line.split() == ["threads", str(threads)] for line in shown):
            raise Failure(f"with {flags} the recording was not made by {threads} threads")
    objects, current = set(), ""
    for line in copy.run("ninja", "-C", "build", "-t", "deps").split("\n"):
        if line and not line.startswith(" "):
            current = line.split(":")[0]
        elif line.strip().endswith("engine/engine_settings.h"):
            objects.add(current)
    rebuilt = {one for one in objects if "/src/" in one}
    print(f"  {len(rebuilt)} objects of src/ are rebuilt, of {len(list((copy.root / 'build').rglob('*.cpp.o')))}")
    if not 0 < len(rebuilt) <= MOST_OBJECTS:
        raise Failure(f"{len(rebuilt)} objects are rebuilt, and {MOST_OBJECTS} is the most")
