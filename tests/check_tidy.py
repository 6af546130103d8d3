#!/usr/bin/env python3
"""Hold the sources to the rules of docs/STYLE.md that a script can see.

Sizes (a file, a header, a function, a line), calls that are banned, typedef'ed structs, leftovers,
and of each header that it opens with what it is and guards itself.

tests/tidy_ratchet.txt may excuse a file that is too large for now, one line each:

    FILE RULE NUMBER        replication/log.c file-lines 640

Its numbers only go down: a file that became smaller than its line says is a fault until the line
is lowered or removed.

    check_tidy.py ROOT BUILD        prints one line a fault; exits 1 if there was any
    check_tidy.py --self-test       shows that each kind of fault is found
"""
import re
import sys

from support import checks

# A test file follows its module and is read one test at a time, so it may be longer. The public
# header is also the client library's manual.
LIMITS = {"file-lines": 600, "header-lines": 200, "function-lines": 70, "test-lines": 1000,
          "manual-lines": 400}
PUBLIC_HEADER = "client/millrace.h"
LINE_COLUMNS = 100
RATCHET = "tests/tidy_ratchet.txt"

# Call: what to do instead.
BANNED = {
    "sprintf": "snprintf() knows the room",
    "vsprintf": "vsnprintf() knows the room",
    "strcpy": "memcpy() with a size that was checked",
    "strcat": "snprintf() knows the room",
    "gets": "fgets() knows the room",
    "atoi": "strtol() tells of errors",
    "atol": "strtol() tells of errors",
    "strtok": "strcspn() leaves the text alone and works in threads",
    "assert": "CHECK() stays in release builds",
}
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")

# In pieces, so that this file has none of them itself.
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|\bnot imple" r"mented\b|\bst" r"ub\b")

TEXT_SUFFIXES = {".c", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".yml", ".yaml", ".json", ".j2"}
SKIPPED = {".git", "build", "__pycache__", ".cache", ".pytest_cache"}

COMMENT_OR_STRING = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|' r"'(?:\\.|[^'\\\n])*'", re.DOTALL)


def code_only(text):
    """The text with comments and strings blanked out, line by line as before."""
    return COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def functions(lines):
    """(line, lines long) of each function: from a { to a } that both stand in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            yield start, number - start + 1
            start = None


def sizes_of(name, lines):
    """(rule, line, size) of everything in this file that has a limit."""
    if name.startswith("tests/"):
        rule = "test-lines"
    elif name == PUBLIC_HEADER:
        rule = "manual-lines"
    else:
        rule = "header-lines" if name.endswith(".h") else "file-lines"
    yield rule, 1, len(lines)
    for line, size in functions(lines):
        yield "function-lines", line, size


def header_faults(name, text):
    own = name.rsplit("/", 1)[-1]
    guard = re.sub(r"[^A-Z0-9]", "_", name.upper())
    if name == PUBLIC_HEADER:
        guard = "MILLRACE_H"  # It is installed, and included as <millrace.h>.
    if not text.startswith(f"/*\n * {own} - "):
        yield f'{name}:1: has to open with an essay: "/*", " * {own} - what it is"'
    if f"\n#ifndef {guard}\n#define {guard}\n" not in text or not text.rstrip().endswith("#endif"):
        yield f"{name}:1: has to be guarded by {guard}"


def c_faults(name, text):
    code = code_only(text).splitlines()
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_COLUMNS:
            yield f"{name}:{number}: {len(line)} columns, at most {LINE_COLUMNS}"
        if "\t" in line or line != line.rstrip():
            yield f"{name}:{number}: tab, or space at the end"
    for number, line in enumerate(code, 1):
        call = BANNED_CALL.search(line)
        if call:
            yield f"{name}:{number}: {call[1]}() is banned: {BANNED[call[1]]}"
        if re.search(r"\btypedef\s+(struct|union|enum)\b(?!.*\()", line):
            yield f"{name}:{number}: struct, union and enum are written out, not typedef'ed"
    if not text.endswith("\n"):
        yield f"{name}:1: the last line has no end"
    if name.endswith(".h"):
        yield from header_faults(name, text)


def leftover_faults(root):
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if SKIPPED & set(path.relative_to(root).parts) or path.suffix not in TEXT_SUFFIXES:
            continue
        if not path.is_file() or "corpus/" in name:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            leftover = LEFTOVER.search(line)
            if leftover:
                yield f'{name}:{number}: leftover "{leftover[0]}": do it now or say why not'


def read_ratchet(root):
    path = root / RATCHET
    entries = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if line and not line.startswith("#"):
            name, rule, number = line.split()
            entries[name, rule] = int(number)
    return entries


def size_faults(found, ratchet):
    """found: {(name, rule): (largest, line)}"""
    for (name, rule), (size, line) in found.items():
        excused = ratchet.get((name, rule))
        if excused is None and size > LIMITS[rule]:
            yield f"{name}:{line}: {rule} {size}, at most {LIMITS[rule]}"
        elif excused is not None and size > excused:
            yield f"{name}:{line}: {rule} {size}, it was {excused}: it may only shrink"
    for (name, rule), excused in ratchet.items():
        size = found.get((name, rule), (0, 1))[0]
        if size < excused:
            lower = f"lower its line to {size}" if size > LIMITS.get(rule, 0) else "remove its line"
            yield f"{RATCHET}:1: {name} {rule} is {size} now, not {excused}: {lower}"


def check(root, _build):
    files, faults, found = 0, [], {}
    for path, name in checks.c_files(root, (*checks.PRODUCT, "tests")):
        files += 1
        text = path.read_text()
        faults += c_faults(name, text)
        for rule, line, size in sizes_of(name, text.splitlines()):
            if size > found.get((name, rule), (0, 0))[0]:
                found[name, rule] = (size, line)
    faults += size_faults(found, read_ratchet(root))
    faults += leftover_faults(root)
    return files, faults


def self_test():
    header = "/*\n * a.h - an example.\n */\n#ifndef NODE_A_H\n#define NODE_A_H\n{}#endif\n"
    good = {
        "node/a.h": header.format("int a(void);\n"),
        "node/a.c": "/* sprintf() here and \"atoi(\" there are words. */\n"
                    "int a(void)\n{\n    puts(\"atoi(x)\");\n    static_assert(1, \"\");\n"
                    "    return x.gets(1);\n}\ntypedef enum err (*a_fn)(int x);\n",
    }

    def function(lines):
        return "int b(void)\n{\n" + "    b();\n" * (lines - 2) + "}\n"

    return checks.self_test(check, good, [
        ("long file", {"node/b.c": "int x;\n" * 601}, "file-lines 601"),
        ("long header", {"node/a.h": header.format("int x;\n" * 200)}, "header-lines 206"),
        ("long test", {"tests/b.c": "int x;\n" * 1001}, "test-lines 1001"),
        ("long function", {"node/b.c": function(71)}, "node/b.c:2: function-lines 71"),
        ("wide line", {"node/b.c": "/*" + "x" * 100 + "*/\n"}, "104 columns"),
        ("tab", {"node/b.c": "\tint x;\n"}, "node/b.c:1: tab"),
        ("banned call", {"tests/b.c": "int x = \n    atoi (s);\n"}, "b.c:2: atoi() is banned"),
        ("assert", {"node/b.c": "void f(void)\n{\n    assert(x);\n}\n"}, "assert() is banned"),
        ("typedef", {"node/b.c": "typedef struct b b;\n"}, "not typedef'ed"),
        ("no essay", {"node/a.h": "#ifndef NODE_A_H\n#define NODE_A_H\n#endif\n"}, "an essay"),
        ("wrong guard", {"node/a.h": header.format("").replace("NODE_A", "A")}, "NODE_A_H"),
        ("no newline", {"node/b.c": "int x;"}, "has no end"),
        ("leftover", {"docs/a.md": "TO" "DO: say more\n"}, "docs/a.md:1: leftover"),
        ("ratchet broken", {"node/b.c": function(80), RATCHET: "node/b.c function-lines 75\n"},
         "it may only shrink"),
        ("ratchet loose", {"node/b.c": function(80), RATCHET: "node/b.c function-lines 85\n"},
         "lower its line to 80"),
        ("ratchet done", {"node/b.c": function(60), RATCHET: "node/b.c function-lines 85\n"},
         "remove its line"),
        ("ratchet gone", {RATCHET: "node/gone.c file-lines 700\n"}, "remove its line"),
    ])


if __name__ == "__main__":
    sys.exit(checks.main(check, self_test))
