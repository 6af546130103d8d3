"""What the check_*.py scripts share: which files they look at, how they report, how they are
tested themselves.

A check is a function check(root, build) that gives (how many things it looked at, faults), each
fault a line "FILE:LINE: what is wrong". Looking at nothing is a fault as well. With --self-test a
script plants faults in a scratch tree and fails unless the check finds each of them.
"""
import pathlib
import sys
import tempfile

PRODUCT = ("storage", "client", "replication", "node", "loadgen")


def c_files(root, folders=PRODUCT):
    """All .c and .h files of these folders, in a stable order, with their name from the root."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.[ch]")):
            yield path, path.relative_to(root).as_posix()


def plant(root, files):
    """Write {name: text} below root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def self_test(check, good, planted, build=None):
    """good: files without a fault. planted: (name of the fault, files, words its report must hold).

    build   called with the scratch root after planting; what it returns is the check's `build`
    """
    failures = 0
    cases = [("the tree without a fault", {}, None), *planted]
    for title, files, words in cases:
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            plant(root, {**good, **files})
            _, faults = check(root, build(root) if build else root)
            fine = not faults if words is None else any(words in fault for fault in faults)
            if not fine:
                failures += 1
                print(f"{title}: expected {words or 'no fault'}, found {faults}")
    with tempfile.TemporaryDirectory() as scratch:
        looked_at, _ = check(pathlib.Path(scratch), pathlib.Path(scratch))
        if looked_at:
            failures += 1
            print("an empty tree: something was looked at")
    print(f"self-test: {len(cases)} cases, {failures} failures")
    return 1 if failures else 0


def main(check, test):
    if sys.argv[1:] == ["--self-test"]:
        return test()
    if len(sys.argv) != 3:
        print(f"usage: {sys.argv[0]} ROOT BUILD | --self-test", file=sys.stderr)
        return 64
    looked_at, faults = check(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    for fault in faults:
        print(fault)
    print(f"{looked_at} files, {len(faults)} faults")
    return 1 if faults or not looked_at else 0
