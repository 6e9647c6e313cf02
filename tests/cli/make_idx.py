#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small data set as IDX files: noise with a bright square whose place tells the class.

    make_idx.py DIR [--train 320] [--test 100] [--side 28] [--gzip]
"""
import argparse
import gzip
import pathlib
import random
import struct

CLASSES = 10


def image(rng, label, side):
    pixels = bytearray(rng.randrange(64) for _ in range(side * side))
    size = side // 4
    top, left = (label // 5) * side // 2 + 1, (label % 5) * (side - size) // 5
    for row in range(size):
        for column in range(size):
            pixels[(top + row) * side + left + column] = 255
    return pixels


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--train", type=int, default=320)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--gzip", action="store_true")
    options = parser.parse_args()
    rng = random.Random(8)
    options.dir.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", options.train), ("t10k", options.test)):
        side = options.side
        labels = bytes(i % CLASSES for i in range(count))
        images = b"".join(image(rng, label, side) for label in labels)
        files = {
            f"{split}-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, count, side, side) + images,
            f"{split}-labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, count) + labels,
        }
        for name, content in files.items():
            if options.gzip:
                (options.dir / f"{name}.gz").write_bytes(gzip.compress(content, 1))
            else:
                (options.dir / name).write_bytes(content)


if __name__ == "__main__":
    main()
