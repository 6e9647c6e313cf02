#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Looks into pictures for tests/cli/plot.sh; silent when they are as they should be.

    read_picture.py svg FILE RUNS EPOCHS[,EPOCHS...] [PANELS]   curves of so many points in each of three panels
    read_picture.py png FILE white|clear COLOUR...               background, and colours that must be there
"""
import re
import struct
import sys
import xml.etree.ElementTree
import zlib

COLOURS = ("0072b2", "d55e00", "009e73")


def colour_of(text):
    """cairo writes rgb(0%, 44.705882%, 69.803922%), or #0072b2 in other versions."""
    numbers = re.findall(r"([0-9.]+)%", text)
    if len(numbers) == 3:
        return "".join(f"{round(float(number) * 2.55):02x}" for number in numbers)
    return text.lstrip("#").lower()


def look_at_svg(path, runs, epochs, panels=3):
    found = {}
    root = xml.etree.ElementTree.parse(path).getroot()
    if not (float(root.get("width").rstrip("pt")) >= 1200 and root.get("viewBox")):
        yield "no size"
    for element in root.iter("{http://www.w3.org/2000/svg}path"):
        style = dict(item.split(":", 1) for item in re.findall(r"([\w-]+:[^;]+)", element.get("style", "")))
        stroke = element.get("stroke") or style.get("stroke", "none")
        width = float(element.get("stroke-width") or style.get("stroke-width", 0))
        if stroke.strip() != "none" and width > 1.5:
            points = len(re.findall("[ML]", element.get("d").rstrip().rstrip("M")))
            found.setdefault(colour_of(stroke), []).append(points)
    wanted = {colour: sorted([2] + [int(n)] * panels) for colour, n in zip(COLOURS, epochs.split(","))}
    found = {colour: sorted(points) for colour, points in found.items()}
    if len(wanted) != int(runs) or found != wanted:
        yield f"curves {found}, not {wanted}"


def rows_of(path, most):
    """The first rows as bytes of RGBA, or RGB: cairo writes eight bits of either."""
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, _, depth, kind = struct.unpack(">IIBB", data[16:26])
    size = {2: 3, 6: 4}[kind]
    assert depth == 8
    packed, at = b"", 8
    while at < len(data):
        length, = struct.unpack(">I", data[at:at + 4])
        crc, = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
        assert zlib.crc32(data[at + 4:at + 8 + length]) == crc
        packed += data[at + 8:at + 8 + length] if data[at + 4:at + 8] == b"IDAT" else b""
        at += 12 + length
    raw, before, stride = zlib.decompress(packed), bytes(width * size), width * size
    for row in range(most):
        kind, *line = raw[row * (stride + 1):(row + 1) * (stride + 1)]
        for i in range(stride if kind else 0):
            left, up = line[i - size] if i >= size else 0, before[i]
            corner = before[i - size] if i >= size else 0
            if kind == 4:
                p = left + up - corner
                guess = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            else:
                guess = (0, left, up, (left + up) // 2)[kind]
            line[i] = (line[i] + guess) & 255
        before = bytes(line)
        yield before, size


def look_at_png(path, background, *colours):
    seen, first = dict.fromkeys(COLOURS, 0), None
    for row, size in rows_of(path, 400):
        first = first or row[:size]
        for colour in COLOURS:
            seen[colour] += row.count(bytes.fromhex(colour))
    if first not in {"white": (b"\xff\xff\xff\xff", b"\xff\xff\xff"), "clear": (b"\0\0\0\0",)}[background]:
        yield f"the corner is {first}"
    for colour, count in seen.items():
        if (count > 300) != (colour in colours):
            yield f"{count} pixels of {colour}"


def main():
    what, *words = sys.argv[1:]
    if what == "svg" and len(words) > 3:
        words[3] = int(words[3])
    print("\n".join({"svg": look_at_svg, "png": look_at_png}[what](*words)), end="")


if __name__ == "__main__":
    main()
