#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Looks into pages for tests/cli/report.sh; silent when they are as they should be.

    read_page.py PAGE [--eval JSON] [--inspect JSON] [--log LOG] [--linear MODEL DIR] [--text TEXT...] [--without ID...]

A page is whole by itself: no script, nothing that is fetched, headers of tables with a scope, images with a text, each
id once. --eval and --inspect compare it with what those commands print, --log with the last run of a log; --linear
computes a linear net's answers for the IDX files in DIR and compares the mistakes. --text must be there to be read,
--without names sections that must not be there.
"""
import argparse
import base64
import html.parser
import json
import math
import re
import struct
import sys
import zlib

VOID = {"meta", "img", "br"}
DRAWN = {"path", "circle"}  # of SVG: may close themselves


class Page(html.parser.HTMLParser):
    """Faults of the markup; tables as rows of texts, by section; images with their captions; all that is to be read."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.faults, self.open, self.ids, self.titles, self.words = [], [], [], [], []
        self.tables, self.images, self.section, self.facts = {}, [], "", {}
        self.cell = None
        self.feed(text)
        if self.open:
            self.faults.append(f"not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if len(given) != len(attributes):
            self.faults.append(f"an attribute twice: {self.get_starttag_text()}")
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            if name in given and not re.match(r"data:image/png;base64,[A-Za-z0-9+/=]+$|#\w+$", given[name]):
                self.faults.append(f"fetches {given[name][:60]}")
        if tag in ("script", "link", "iframe", "object", "embed", "base") or any(n.startswith("on") for n in given):
            self.faults.append(f"has {self.get_starttag_text()[:60]}")
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.faults.append("a th without a scope")
        if tag == "img" and not given.get("alt"):
            self.faults.append("an image without a text")
        if tag == "svg" and not given.get("aria-label") and given.get("aria-hidden") != "true":
            self.faults.append("a picture without a text")
        if tag == "html" and not given.get("lang"):
            self.faults.append("no language")
        self.ids += [given["id"]] if "id" in given else []
        if tag == "section":
            self.section = given.get("id", "")
        elif tag == "table":
            self.tables.setdefault(self.section, []).append([])
        elif tag == "tr":
            self.tables[self.section][-1].append([])
        elif tag in ("td", "th"):
            self.cell = []
        elif tag == "img":
            self.images.append([given["alt"], given["src"], ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        if tag not in DRAWN:
            self.faults.append(f"<{tag}/>")
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another one, at {self.getpos()}")
        if tag in ("td", "th"):
            self.tables[self.section][-1][-1].append("".join(self.cell).strip())
            self.cell = None
        if tag in ("td", "th", "p", "li", "h1", "span"):
            self.words.append(" ")

    def handle_data(self, data):
        if "title" in self.open and "svg" in self.open:
            self.titles.append(data)
            return
        if "style" in self.open:
            if re.search(r"url\(|@import|expression", data):
                self.faults.append("the style fetches something")
            return
        self.words.append(data)
        if self.cell is not None:
            self.cell.append(data)
        if "figcaption" in self.open and self.images:
            self.images[-1][2] += data


def differ(what, got, wanted):
    return [] if got == wanted else [f"{what}: {got}, not {wanted}"]


def wilson(part, whole):
    """As a root of (p - x)^2 = z^2 x (1 - x)/n, which is what the interval's ends are."""
    z2, p = 1.959963984540054 ** 2 / whole, part / whole
    a, b, c = 1 + z2, -(2 * p + z2), p * p
    root = math.sqrt(max(0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def against_eval(page, path):
    told = json.load(open(path))
    text = " ".join(" ".join(page.words).split())
    low, high = wilson(told["correct"], told["count"])
    head = f"Accuracy {told['accuracy']:.4f} 95 % interval {low:.4f} to {high:.4f}; {told['count']:,} "
    if head not in text or f"Loss {told['loss']:.4f} " not in text:
        yield f"no '{head}' and loss {told['loss']:.4f}"
    rows = []
    for row in told["classes"]:
        low, high = wilson(row["correct"], row["count"])
        rows.append([row["name"], f"{row['recall']:.4f}", "", f"{low:.3f} to {high:.3f}", f"{row['correct']:,}",
                     f"{row['count']:,}", "–" if row["precision"] is None else f"{row['precision']:.4f}"])
    yield from differ("classes", page.tables["classes"][0][1:], rows)
    names = [row["name"] for row in told["classes"]]
    matrix = [[""] + names] + [[n] + [str(c) for c in row] for n, row in zip(names, told["confusion"])]
    yield from differ("confusion", page.tables["confusion"][0], matrix)


def against_inspect(page, path):
    wanted = {}
    told = json.load(open(path))
    for tensor in told["tensors"]:
        if tensor["role"] in ("gamma", "beta", "moving_mean", "moving_variance"):
            wanted.setdefault(tensor["layer"], []).append([f"{value:.6g}" for value in tensor["values"]])
    tables = page.tables["norms"][-len(wanted):]
    for table, layer in zip(tables, sorted(wanted)):
        # JSON has nine digits; the last of six may round the other way.
        got = [[float(v) for v in row[1:]] for row in table[1:]]
        want = [[float(v) for v in row] for row in zip(*wanted[layer])]
        pairs = [pair for rows in zip(got, want) for pair in zip(*rows)]
        if len(got) != len(want) or not all(abs(a - b) <= 2e-5 * abs(b) for a, b in pairs):
            yield f"layer {layer}: {got[:2]}, not {want[:2]}"
    layers = page.tables["net"][0]
    net = [[layer["path"], layer["text"]] for layer in told["layers"]]
    yield from differ("the net", [row[:2] for row in layers[1:-1]], net)
    yield from differ("its parameters", layers[-1][1], f"{told['parameters']:,}")
    channels = sum(1 for title in page.titles if title.startswith("channel "))
    yield from differ("strokes", channels, sum(len(v) for group in wanted.values() for v in group))


def against_log(page, path):
    epochs = []
    for line in open(path):
        record = json.loads(line)
        epochs = [] if record["event"] == "start" else epochs
        epochs += [record] if record["event"] == "epoch" else []
    rows = [[str(e["epoch"])] + [f"{e[k]:.4f}" for k in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")]
            for e in epochs]
    yield from differ("curves", [row[:5] for row in page.tables["curves"][0][1:]], rows)
    moving = [[f"{e[k]:.4f}" for k in ("val_loss_moving", "val_accuracy_moving")] for e in epochs
              if e["val_loss_moving"] is not None]
    shown = [row[5:-1] for row in page.tables["curves"][0][1:] if row[5:-1]]
    yield from differ("with moving statistics", shown, moving)
    for e in epochs:
        for what in ("loss", "accuracy"):
            value = e[f"val_{what}_moving"]
            point = f"epoch {e['epoch']}: val {what} with moving statistics"
            if value is not None and f"{point} {value:.4f}" not in page.titles:
                yield f"no point for {point}"
        for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            if f"epoch {e['epoch']}: {key.replace('_', ' ')} {e[key]:.4f}" not in page.titles:
                yield f"no point for {key} of epoch {e['epoch']}"


def pixels_of(uri):
    data, at, packed = base64.b64decode(uri.split(",")[1], validate=True), 8, b""
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (depth, kind) == (8, 0)
    while at < len(data):
        length, = struct.unpack(">I", data[at:at + 4])
        crc, = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
        assert zlib.crc32(data[at + 4:at + 8 + length]) == crc
        packed += data[at + 8:at + 8 + length] if data[at + 4:at + 8] == b"IDAT" else b""
        at += 12 + length
    rows = zlib.decompress(packed)
    return b"".join(rows[y * (width + 1) + 1:(y + 1) * (width + 1)] for y in range(height))


def against_linear(page, model, folder):
    """`flatten`, `linear K`: its answers, from the weights and the pixels."""
    data = open(model, "rb").read()
    size, = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8:8 + size]), {}
    for name in ("1.weight", "1.bias"):
        begin, end = header[name]["data_offsets"]
        tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin:8 + size + end])
    images = open(f"{folder}/t10k-images-idx3-ubyte", "rb").read()[16:]
    labels = open(f"{folder}/t10k-labels-idx1-ubyte", "rb").read()[8:]
    pixels, mistakes = len(images) // len(labels), []
    rows = [tensors["1.weight"][k * pixels:(k + 1) * pixels] for k in range(len(tensors["1.bias"]))]
    for i, label in enumerate(labels):
        image = [byte / 255 for byte in images[i * pixels:(i + 1) * pixels]]
        logits = [sum(map(float.__mul__, row, image)) + bias for row, bias in zip(rows, tensors["1.bias"])]
        shares = [math.exp(z - max(logits)) for z in logits]
        said = logits.index(max(logits))
        if said != label:
            mistakes.append((shares[said] / sum(shares), shares[label] / sum(shares), i, label, said))
    mistakes = sorted(mistakes, reverse=True)[:24]
    if not mistakes:
        yield "there are no mistakes to compare"
    yield from differ("mistakes shown", len(page.images), len(mistakes))
    for (alt, uri, caption), (sure, right, i, label, said) in zip(page.images, mistakes):
        yield from differ("mistake", alt, f"Image {i}: {label}, taken for {said}")
        yield from differ(f"pixels of {i}", pixels_of(uri), images[i * pixels:(i + 1) * pixels])
        numbers = [float(n) for n in re.match(rf"{said} (\S+?)is {label} (\S+?)image {i}$", caption.strip()).groups()]
        if not all(abs(a - b) <= 6e-4 for a, b in zip(numbers, (sure, right))):
            yield f"image {i}: {numbers}, not {sure, right}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page")
    for name in ("--eval", "--inspect", "--log"):
        parser.add_argument(name)
    parser.add_argument("--linear", nargs=2)
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--without", nargs="*", default=[])
    options = parser.parse_args()
    text = open(options.page, encoding="utf-8", newline="").read()
    page = Page(text)
    faults = list(page.faults)
    if not text.startswith("<!DOCTYPE html>\n") or not text.endswith("</html>\n"):
        faults.append("not a whole page")
    if len(set(page.ids)) != len(page.ids):
        faults.append(f"ids more than once: {page.ids}")
    faults += [f"there is a section {name}" for name in options.without if name in page.ids]
    words = " ".join("".join(page.words).split())
    faults += [f"no '{wanted}'" for wanted in options.text if wanted not in words]
    faults += list(against_eval(page, options.eval)) if options.eval else []
    faults += list(against_inspect(page, options.inspect)) if options.inspect else []
    faults += list(against_log(page, options.log)) if options.log else []
    faults += list(against_linear(page, *options.linear)) if options.linear else []
    print("\n".join(faults), end="")


if __name__ == "__main__":
    sys.exit(main())
