"""A new setting of every command that loads a model: a row and the member it reads into. Its use here is beside the row."""
from trials import Failure, insert

SAYS = "a setting: --toy-most-threads N, for every command that loads a model"
LIMIT = 2
MOST_OBJECTS = 40  # of src/ that its member's header rebuilds
FLAG = "--toy-most-threads"
COMMANDS = ("run", "plan", "logits", "bench", "verify", "eval", "diff", "trace record", "trace replay")
GOLDEN = "tests/data/goldens/llama.gguf"

EDITS = [
    insert("src/engine/engine_settings.h", """    int toy_most_threads = 0;     // 0: as many as `threads` says
""", after="this process may use\n"),
    insert("src/app/settings.cpp", """            {"--toy-most-threads", number(engine.toy_most_threads, 0, 64),
             "No more threads than this; 0: no such limit"},
""", before='            {"--pin", flag(engine.pin)'),
    insert("src/app/settings.cpp", """    if (settings.toy_most_threads > 0) settings.threads = settings.toy_most_threads;
""", after="    settings.model = model;\n"),
]


def check_help(copy):
    for command in COMMANDS:
        text = copy.run("invar", *command.split(), "--help")
        place = text.find(f"  {FLAG} INT in [0 - 64]=0")
        if place < 0 or "No more threads than this; 0: no such limit" not in text[place:place + 200]:
            raise Failure(f"invar {command} --help does not show the row")
        if FLAG in copy.run(copy.before / "invar", *command.split(), "--help"):
            raise Failure(f"invar {command} --help shows the row without the edits")
    copy.compared(len(COMMANDS), "help texts with the row, its range and its default")


def check_sentences(copy):
    """What is wrong with a value is told as for a setting that exists, and a program without the row refuses the flag."""
    wrong = ("65", "-1", "1.5", "x", "", "99999999999999999999", " 1")
    for command in COMMANDS:
        for value in wrong:
            ours = copy.refused("invar", *command.split(), "no.gguf", f"{FLAG}={value}")
            threads = copy.refused("invar", *command.split(), "no.gguf", f"--threads={value if value != '65' else '4097'}")
            if ours != threads.replace("--threads", FLAG).replace("4097", "65").replace("4096", "64"):
                raise Failure(f"invar {command} {FLAG}={value} says: {ours}\n--threads says: {threads}")
    copy.refused(copy.before / "invar", "plan", "no.gguf", FLAG, "1", naming=(FLAG,))
    copy.compared(len(COMMANDS) * len(wrong), "sentences about wrong values with those of --threads")


def check_effect(copy):
    """The number of threads that a recording says it was made by."""
    recording = copy.root / "build" / "toy.safetensors"
    forms = ((), 2), ((FLAG, "1"), 1), ((f"{FLAG}=1",), 1), ((FLAG, "0"), 2)
    for flags, threads in forms:
        copy.run("invar", "trace", "record", GOLDEN, "--tokens", "1,2,3", "--threads", "2", *flags, "--out", recording)
        shown = copy.run("invar", "trace", "show", recording).split("\n")
        if not any(line.split() == ["threads", str(threads)] for line in shown):
            raise Failure(f"with {flags} the recording was not made by {threads} threads")
    copy.compared(len(forms), "numbers of threads in recordings, with the flag in both forms and without it")


def check_rebuilt(copy):
    """Objects that the member's header rebuilds."""
    objects, current = set(), ""
    for line in copy.dependencies().split("\n"):
        if line and not line.startswith(" "):
            current = line.split(":")[0]
        elif line.strip().endswith("engine/engine_settings.h"):
            objects.add(current)
    rebuilt = {one for one in objects if "/src/" in one}
    if not 0 < len(rebuilt) <= MOST_OBJECTS:
        raise Failure(f"{len(rebuilt)} objects are rebuilt, and {MOST_OBJECTS} is the most")
    print(f"  {len(rebuilt)} objects of src/ are rebuilt (at most {MOST_OBJECTS})")


def check(copy):
    copy.build("invar")
    check_help(copy)
    check_sentences(copy)
    check_effect(copy)
    check_rebuilt(copy)
