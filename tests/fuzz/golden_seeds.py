#!/usr/bin/python3
"""Seeds of the fuzzers that are golden files, in the form that each fuzzer reads: of today's formats,
whatever has become of the seeds in corpus/ since they were made.

    golden_seeds.py GOLDEN OUT      writes OUT/FUZZER/golden_NAME
    golden_seeds.py --self-test
"""
import pathlib
import struct
import sys

FRAME_HEADER = struct.Struct("<IIIHHQ")
# What fuzz_message.c calls the payload of a frame, by the frame's type.
MESSAGES = {1: 0, 2: 1, 3: 2, 7: 3, 8: 4, 11: 5, 12: 6, 33: 6, 14: 7, 18: 8, 19: 9, 20: 10}
LOG_ALIGN = 4096


def payloads(frames):
    """Type and payload of each frame."""
    while frames:
        size, kind = FRAME_HEADER.unpack_from(frames)[2:4]
        yield kind, frames[FRAME_HEADER.size:FRAME_HEADER.size + size]
        frames = frames[FRAME_HEADER.size + size:]


def seeds(golden):
    """(fuzzer, name, bytes) of each seed."""
    for store in ("store_v1", "store_v2"):
        for path in sorted((golden / store).iterdir()):
            fuzzer = {".mrm": "manifest", ".mrs": "segment", ".mrc": "catalog"}[path.suffix]
            yield fuzzer, f"{store}_{path.stem}", path.read_bytes()
    frames = (golden / "frames_v1.bin").read_bytes()
    yield "frame", "frames", frames
    yield "frame_reader", "frames", b"\7" + frames
    for at, (kind, payload) in enumerate(payloads(frames)):
        if kind in MESSAGES:
            yield "message", f"{at:02}", bytes([MESSAGES[kind]]) + payload
    block = (golden / "block_v2.bin").read_bytes()
    yield "block", "whole", b"\0" + block
    yield "block", "forged", b"\1" + block
    yield "columns", "columns", (golden / "columns_v2.bin").read_bytes()
    yield "rejoin", "list", (golden / "rejoin_v1.bin").read_bytes()
    for name in ("log_v1", "log_v1_install"):
        yield "log", name, b"\0" + (golden / f"{name}.bin").read_bytes()[LOG_ALIGN:]


def self_test():
    frame = FRAME_HEADER.pack(0, 0, 3, 14, 0, 9) + b"abc"
    assert list(payloads(frame * 2)) == [(14, b"abc"), (14, b"abc")]


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    golden, out = map(pathlib.Path, sys.argv[1:])
    for fuzzer, name, data in seeds(golden):
        (out / fuzzer).mkdir(parents=True, exist_ok=True)
        (out / fuzzer / f"golden_{name}").write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
