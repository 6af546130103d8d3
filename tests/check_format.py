#!/usr/bin/env python3
"""Hold the sources to .clang-format.

Versions of clang-format disagree in details, so only the one that Debian 12 has decides; with any
other this check is skipped (exit 77).

    check_format.py ROOT BUILD      prints one line a fault; exits 1 if there was any
    check_format.py --self-test     shows that a fault is found
"""
import pathlib
import re
import subprocess
import sys

from support import checks

DECIDES = "14"


def version():
    try:
        run = subprocess.run(["clang-format", "--version"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    found = re.search(r"version (\d+)", run.stdout)
    return found and found[1]


def check(root, _build):
    style = pathlib.Path(__file__).resolve().parent.parent / ".clang-format"
    names = [name for _, name in checks.c_files(root, (*checks.PRODUCT, "tests"))]
    if not names:
        return 0, []
    run = subprocess.run(["clang-format", f"--style=file:{style}", "--dry-run", *names], cwd=root,
                         capture_output=True, text=True)
    faults = {}
    for line in run.stderr.splitlines():
        found = re.match(r"([^:]+):(\d+):\d+: warning:", line)
        if found:  # The first of each file will do.
            faults.setdefault(found[1], f"{found[1]}:{found[2]}: run clang-format -i on this file")
    if run.returncode != 0:
        faults["clang-format"] = f".clang-format:1: {run.stderr.strip()}"
    return len(names), list(faults.values())


def self_test():
    good = {"node/a.c": "int a(void)\n{\n    return 1;\n}\n"}
    return checks.self_test(check, good, [
        ("brace", {"node/b.c": "int b(void) {\n    return 1;\n}\n"}, "node/b.c:1: run clang"),
        ("indent", {"tests/b.c": "int b(void)\n{\n  return 1;\n}\n"}, "tests/b.c:2: run clang"),
    ])


if __name__ == "__main__":
    if version() != DECIDES:
        print(f"clang-format {DECIDES} decides, this is {version()}: skipped")
        sys.exit(77)
    sys.exit(checks.main(check, self_test))
