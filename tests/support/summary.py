#!/usr/bin/env python3
"""Add up what check.sh has run: the JUnit files of CTest and pytest, and steps that broke.

A unit test program counts as the Criterion tests in it, a pytest file as its test functions,
everything else as one.

    summary.py LOGS     prints each failure, then "N passed, N failed"; exits 1 if any failed
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as tree

CRITERION = re.compile(
    r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")


def outcome(case):
    """(passed, failed) of one <testcase>."""
    bad = case.find("failure") is not None or case.find("error") is not None
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        # CTest calls a program that could not be started "notrun": that is a failure.
        return (0, 1) if case.get("status") == "notrun" else (0, 0)
    # Criterion colours its numbers even into a file.
    output = re.sub(r"\x1b\[[0-9;]*m", "", "".join(case.itertext()))
    counted = CRITERION.search(output)
    if counted:
        tested, passing = int(counted[1]), int(counted[2])
        failed = tested - passing
        return passing, max(failed, 1) if bad else failed
    return (0, 1) if bad else (1, 0)


def main():
    logs = pathlib.Path(sys.argv[1])
    passed = failed = 0
    broken = logs / "failed-steps"
    for step in broken.read_text().split() if broken.exists() else []:
        failed += 1
        print(f"FAILED {step}, see {logs / step}.log")
    for path in sorted(logs.glob("*.xml")):
        for case in tree.parse(path).iter("testcase"):
            good, bad = outcome(case)
            passed += good
            failed += bad
            if bad:
                print(f"FAILED {case.get('name')} ({path.stem}), see {path.with_suffix('.log')}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
