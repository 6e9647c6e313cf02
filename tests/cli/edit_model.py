#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sets numbers of a model file's tensors, or its notes, so that a test has a model with a known fault.

    edit_model.py MODEL OUT NAME=VALUE ... NAME[I]=VALUE ...      whole tensors, or one value of them
    edit_model.py MODEL OUT note:KEY=TEXT ...
"""
import json
import re
import struct
import sys


def main():
    model, out, *changes = sys.argv[1:]
    with open(model, "rb") as file:
        whole = bytearray(file.read())
    length = struct.unpack_from("<Q", whole)[0]
    header = json.loads(whole[8:8 + length])
    for change in changes:
        if change.startswith("note:"):
            key, text = change[5:].split("=", 1)
            header["__metadata__"]["evenkeel.note." + key] = text
            continue
        name, index, value = re.fullmatch(r"([^[=]+)(?:\[(\d+)\])?=(.*)", change).groups()
        begin, end = header[name]["data_offsets"]
        count = (end - begin) // 4
        for i in [int(index)] if index else range(count):
            struct.pack_into("<f", whole, 8 + length + begin + 4 * i, float(value))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + whole[8 + length:])


if __name__ == "__main__":
    main()
