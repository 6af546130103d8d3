#!/usr/bin/env python3
"""Hold exported names to the files that export them, as the linker sees them.

block.c exports block_* and nothing else, so a name says where its code is. A file whose name has
several words may also use the leading ones: log_files.c and log_recovery.c are parts of log and
may export log_*. Singular and plural are one word: guards.c exports guard_*. The client library shows the world millrace_* alone.

    check_symbols.py ROOT BUILD     prints one line a fault; exits 1 if there was any
    check_symbols.py --self-test    shows that each kind of fault is found
"""
import re
import subprocess
import sys

from support import checks

# Static library in BUILD/lib: the folder it is made of.
LIBRARIES = {
    "libbase.a": "storage/base",
    "libblock.a": "storage/block",
    "libstorage.a": "storage",
    "libwire.a": "client/wire",
    "libmillrace_core.a": "client",
    "libmillrace_cli_core.a": "client",
    "libmillrace_cli_files.a": "client",
    "libreplication.a": "replication",
    "libnode_core.a": "node",
    "libloadgen_core.a": "loadgen",
}

# File: prefixes that are not its name, because its header speaks of several things.
ALSO = {
    "storage/base/bytes.c": ["reader_"],
    "storage/base/file.c": ["disk_"],
    "storage/base/types.c": ["field_type_", "key_"],
}

SHARED = "libmillrace.so"


def nm(library, *options):
    """(object, symbol) of each global that the library defines."""
    run = subprocess.run(["nm", "-g", "--defined-only", *options, str(library)],
                         check=True, capture_output=True, text=True)
    member = library.name
    for line in run.stdout.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif (found := re.match(r"[0-9a-f]* *[A-Za-z] (\S+)$", line)):
            yield member, found[1]


def prefixes(name):
    """node/log_files.c: log_files, log, and what ALSO lists."""
    words = name.rsplit("/", 1)[-1].removesuffix(".c").split("_")
    yield from ("_".join(words[:count]) for count in range(len(words), 0, -1))
    yield from (prefix.rstrip("_") for prefix in ALSO.get(name, []))
    if name.startswith("client/") and name.count("/") == 1:
        yield "millrace"


def static_faults(library, folder):
    for member, symbol in nm(library):
        name = f"{folder}/{member.removesuffix('.o')}"
        if symbol.startswith("_"):
            continue  # The compiler's and the sanitizers' own.
        if not any(re.match(f"{p.removesuffix('s')}s?(_|$)", symbol) for p in prefixes(name)):
            yield f"{name}:1: exports {symbol}, which does not start with the file's name"


def check(root, build):
    looked_at, faults = 0, []
    for library, folder in LIBRARIES.items():
        path = build / "lib" / library
        if path.exists():
            looked_at += 1
            faults += static_faults(path, folder)
        elif (root / folder / "CMakeLists.txt").exists():
            faults.append(f"{folder}:1: {path} is missing: build everything first")
    shared = build / "lib" / SHARED
    if shared.exists():
        looked_at += 1
        for _, symbol in nm(shared, "-D"):
            if not symbol.startswith(("millrace_", "_")):
                faults.append(f"{SHARED}:1: shows {symbol} to the world")
    elif (root / "client/CMakeLists.txt").exists():
        faults.append(f"client:1: {shared} is missing: build everything first")
    return looked_at, faults


def build_planted(root):
    """Compile what was planted: every folder's .c files into its library."""
    lib = root / "lib"
    lib.mkdir()
    for library, folder in LIBRARIES.items():
        objects = []
        for source in sorted((root / folder).glob("*.c")):
            objects.append(lib / f"{source.name}.o")
            subprocess.run(["cc", "-c", "-o", objects[-1], source], check=True)
        if objects:
            subprocess.run(["ar", "rc", lib / library, *objects], check=True)
    for source in root.glob("shared.c"):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", lib / SHARED, source], check=True)
    return root


def self_test():
    good = {
        "storage/base/err.c": "int err_set;\nstatic int mine;\nint *err(void) { return &mine; }\n",
        "storage/base/log_files.c": "int log_files_open;\nint log_open;\n"
                                    "int log_file_close;\nint logs;\n",
        "shared.c": "int millrace_open;\n",
    }
    return checks.self_test(check, good, [
        ("foreign function", {"storage/base/err.c": "void helper(void) {}\n"}, "exports helper"),
        ("foreign variable", {"storage/base/err.c": "int error_table;\n"}, "exports error_table"),
        ("trailing words", {"storage/base/log_files.c": "int files_open;\n"}, "exports files_open"),
        ("leaky library", {"shared.c": "int err_set;\n"}, "shows err_set to the world"),
        ("missing", {"storage/CMakeLists.txt": ""}, "libstorage.a is missing"),
    ], build_planted)


if __name__ == "__main__":
    sys.exit(checks.main(check, self_test))
