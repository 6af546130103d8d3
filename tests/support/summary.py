#!/usr/bin/env python3
"""Add up what check.sh has run: the JUnit files of CTest and pytest, and steps that failed.

A unit test program counts as the Criterion tests in it, a pytest file as its test functions,
everything else as one. A step that failed without a failed test counts as one failure. Skipped
tests count as nothing, but are named.

    summary.py LOGS             prints each failure with its last lines, then "N passed, N failed"; exits 1 if any failed
    summary.py --self-test      shows that failures of every kind are counted
"""
import pathlib
import re
import sys
import tempfile
import xml.etree.ElementTree as tree

CRITERION = re.compile(
    r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")

TELLING = re.compile(
    r"SEED=|^\[----\] +\S|^\[FAIL\]|^\[CRASH|ERROR: |WARNING: Thread|runtime error:")
TELLING_LINES = 20
LAST_LINES = 12


def text_of(case):
    """What it printed. Criterion colours its output even into a file."""
    return re.sub(r"\x1b\[[0-9;]*m", "", "".join(case.itertext()))


def quote(case):
    """What matters of a failure, wherever it stands (seeds, assertions: a list of leaks may follow),
    and the last lines: the log of a node."""
    lines = [line for line in text_of(case).splitlines() if line.strip()]
    told = [line for line in lines[:-LAST_LINES] if TELLING.search(line)]
    return ["    " + line for line in told[:TELLING_LINES] + lines[-LAST_LINES:]]


def outcome(case):
    """(passed, failed) of one <testcase>."""
    bad = case.find("failure") is not None or case.find("error") is not None
    if case.find("skipped") is not None:
        # CTest also calls a program "skipped" that is missing or could not be started.
        on_purpose = case.get("status") is None or \
            case.find("skipped").get("message", "").startswith("SKIP_")
        return (0, 0) if on_purpose else (0, 1)
    counted = CRITERION.search(text_of(case))
    if counted:
        tested, passing = int(counted[1]), int(counted[2])
        failed = tested - passing
        return passing, max(failed, 1) if bad else failed
    return (0, 1) if bad else (1, 0)


def add_up(logs):
    """(passed, failed, lines to print)"""
    passed, failed, lines = 0, 0, []
    steps = logs / "failed-steps"
    failed_steps = steps.read_text().split() if steps.exists() else []
    for path in sorted(logs.glob("*.xml")):
        bad_here = 0
        for case in tree.parse(path).iter("testcase"):
            good, bad = outcome(case)
            passed += good
            bad_here += bad
            if bad:
                lines.append(f"FAILED {case.get('name')} ({path.stem}), "
                             f"see {path.with_suffix('.log')}")
                lines += quote(case)
            elif not good:
                lines.append(f"skipped {case.get('name')} ({path.stem})")
        failed += bad_here
        if bad_here and path.stem in failed_steps:
            failed_steps.remove(path.stem)
    for step in failed_steps:
        failed += 1
        lines.append(f"FAILED {step}, see {logs / step}.log")
    return passed, failed, lines


def self_test():
    cases = [
        ('<testcase name="a" status="run"/>', "", (1, 0)),
        ('<testcase name="a" status="fail"><failure message=""/></testcase>', "x", (0, 1)),
        ('<testcase name="a" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>',
         "", (0, 0)),
        ('<testcase name="a" status="notrun"><skipped message="Unable to find executable"/>'
         "</testcase>", "", (0, 1)),
        ('<testcase name="a"><skipped type="pytest.skip"/></testcase>', "", (0, 0)),
        ('<testcase name="a"><error message="setup"/></testcase>', "", (0, 1)),
        ('<testcase name="a" status="run"><system-out>Synthesis: Tested: 7 | Passing: 7 | '
         "Failing: 0 | Crashing: 0</system-out></testcase>", "", (7, 0)),
        ('<testcase name="a" status="fail"><failure/><system-out>Synthesis: Tested: 7 | '
         "Passing: 4 | Failing: 2 | Crashing: 1</system-out></testcase>", "", (4, 3)),
        ('<testcase name="a" status="fail"><failure/><system-out>SEED=7\nSynthesis: Tested: 7 | '
         "Passing: 7 | Failing: 0 | Crashing: 0</system-out></testcase>", "", (7, 1)),
        ('<testcase name="a" status="fail"><failure/><system-out>SEED=7\n' + "#1 leak\n" * 200 +
         "</system-out></testcase>", "x", (0, 1)),
        ('<testcase name="a" status="run"/>', "x", (1, 1)),
        ('<testcase name="a" status="run"/>', "dev-build", (1, 1)),
    ]
    failures = 0
    for xml, steps, expected in cases:
        with tempfile.TemporaryDirectory() as scratch:
            logs = pathlib.Path(scratch)
            (logs / "x.xml").write_text(f"<testsuite>{xml}</testsuite>")
            (logs / "failed-steps").write_text(steps)
            *found, lines = add_up(logs)
            if tuple(found) != expected or ("SEED=7" in xml) != ("    SEED=7" in lines):
                failures += 1
                print(f"{xml} {steps}: expected {expected}, found {found}, {lines}")
    print(f"self-test: {len(cases)} cases, {failures} failures")
    return 1 if failures else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    passed, failed, lines = add_up(pathlib.Path(sys.argv[1]))
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
