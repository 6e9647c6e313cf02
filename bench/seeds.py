#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains nets with several seeds by the command, and prints a table of their validation accuracies: one run proves
little, since with moving statistics and a large learning rate accuracy jumps from epoch to epoch.

With --exact every epoch is validated twice, with moving statistics and with exact ones (train --exact-stats), and the
table has a line for each; --svg draws both for every seed, --json keeps the numbers, which --from draws again."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

MOVING, EXACT = "#9a6a00", "#0072b2"  # Okabe and Ito's orange, darker, and blue


def run(args, net, seed):
    """The `epoch` records of a run's log."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        command = [args.evenkeel, "train", "--net", net, "--seed", str(seed), "--epochs", str(args.epochs), "--quiet",
                   "--log", log, "--log-every", "0", *(["--exact-stats", "--exact-compare"] if args.exact else []),
                   *args.extra]
        out = subprocess.run(command, capture_output=True, text=True)
        if out.returncode:
            sys.exit(out.stderr.strip() or f"{' '.join(command)}: failed")
        with open(log, encoding="utf-8") as file:
            return [r for r in map(json.loads, file) if r["event"] == "epoch"]


def curves(runs, key):
    return [[epoch[key] for epoch in r] for r in runs]


def swing(curve):
    """By how much the accuracy falls from an epoch to the next, at most."""
    return max([a - b for a, b in zip(curve, curve[1:])] + [0.0])


def row(net, statistic, runs, key):
    accuracy = curves(runs, key)
    last = [c[-1] for c in accuracy]
    spread = statistics.stdev(last) if len(last) > 1 else 0.0
    worst = min(min(c) for c in accuracy)
    fall = statistics.mean(swing(c) for c in accuracy)
    loss = statistics.mean(r[-1]["train_loss"] for r in runs)
    seconds = statistics.median(sum(e["train_seconds"] for e in r) for r in runs)
    return (f"| {net} | {statistic} | {statistics.mean(last):.4f} ± {spread:.4f} | {min(last):.4f} | {max(last):.4f} "
            f"| {worst:.4f} | {fall:.4f} | {loss:.3f} | {seconds:.1f} |")


# ---- Chart


def text(x, y, what, anchor="middle", size=12, colour="#333"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{what}</text>')


def dot(x, y, colour, title, filled):
    paint = f'fill="{colour}"' if filled else f'fill="#fff" stroke="{colour}" stroke-width="1.6"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2" {paint}><title>{title}</title></circle>'


def panel(left, top, width, height, low, high, title):
    """Frame, a line a step of accuracy, title; and where an accuracy is."""
    def place(accuracy):
        return top + height * (high - accuracy) / (high - low)
    out = [text(left, top - 10, title, "start", 13, "#111")]
    step = 0.01 if high - low <= 0.08 else 0.02 if high - low <= 0.16 else 0.05 if high - low <= 0.4 else 0.1
    tick = round(low / step) * step
    while tick <= high + 1e-9:
        if tick >= low - 1e-9:
            out.append(f'<line x1="{left}" x2="{left + width}" y1="{place(tick):.1f}" y2="{place(tick):.1f}" '
                       'stroke="#ddd"/>')
            out.append(text(left - 6, place(tick) + 4, f"{tick:.2f}", "end", 11))
        tick += step
    return out, place


def draw(net, runs, path):
    """Left: the last epoch's accuracy, a pair of dots a seed. Right: every epoch's, mean and range over the seeds."""
    moving, exact = curves(runs, "val_accuracy_moving"), curves(runs, "val_accuracy")
    values = [v for c in moving + exact for v in c]
    margin = max(0.004, 0.04 * (max(values) - min(values)))
    low, high = min(values) - margin, min(1.0, max(values) + margin)
    width, top, height, left, right = 860, 70, 250, 60, 490
    seeds, epochs = len(runs), len(runs[0])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 380" width="{width}" height="380" '
           'font-family="system-ui, sans-serif" role="img">',
           f'<title>{net}: validation accuracy with moving and with exact statistics, {seeds} seeds</title>',
           f'<rect width="{width}" height="380" fill="#fff"/>',
           dot(left + 4, 22, MOVING, "moving", False), text(left + 14, 26, "moving statistics", "start"),
           dot(left + 144, 22, EXACT, "exact", True), text(left + 154, 26, "exact statistics", "start")]
    frame, place = panel(left, top, 370, height, low, high, f"{net}, epoch {epochs}: validation accuracy by seed")
    out += frame
    for seed in range(seeds):
        x = left + 370 * (seed + 0.5) / seeds
        a, b = moving[seed][-1], exact[seed][-1]
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{place(a):.1f}" y2="{place(b):.1f}" stroke="#999"/>')
        out.append(dot(x, place(a), MOVING, f"seed {seed}, moving: {a:.4f}", False))
        out.append(dot(x, place(b), EXACT, f"seed {seed}, exact: {b:.4f}", True))
        out.append(text(x, top + height + 18, seed, size=11))
    out.append(text(left + 185, top + height + 38, "seed"))
    frame, place = panel(right, top, 340, height, low, high, "by epoch: mean, least and most over the seeds")
    out += frame
    for all_curves, colour, dash in ((moving, MOVING, ' stroke-dasharray="5 3"'), (exact, EXACT, "")):
        at = [right + 340 * (e + 0.5) / epochs for e in range(epochs)]
        least, most = [min(c) for c in zip(*all_curves)], [max(c) for c in zip(*all_curves)]
        mean = [statistics.mean(c) for c in zip(*all_curves)]
        area = [f"{x:.1f},{place(v):.1f}" for x, v in list(zip(at, most)) + list(zip(at, least))[::-1]]
        out.append(f'<polygon points="{" ".join(area)}" fill="{colour}" opacity="0.16"/>')
        line = " ".join(f"{x:.1f},{place(v):.1f}" for x, v in zip(at, mean))
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    for e in range(epochs):
        out.append(text(right + 340 * (e + 0.5) / epochs, top + height + 18, e + 1, size=11))
    out.append(text(right + 170, top + height + 38, "epoch"))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evenkeel", default="build/evenkeel", help="the command (build/evenkeel)")
    parser.add_argument("--nets", default="bn-lenet,bn-lenet-scratch,lenet", help="names, with commas")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--exact", action="store_true", help="with exact statistics beside the moving ones")
    parser.add_argument("--svg", help="draw the first net's runs into this file")
    parser.add_argument("--json", help="write all epochs of all runs into this file")
    parser.add_argument("--from", dest="old", help="the runs in such a file, in place of new ones")
    parser.add_argument("extra", nargs="*", help="more options of 'evenkeel train', after --")
    args = parser.parse_args()
    nets, runs = args.nets.split(","), {}
    if args.old:
        with open(args.old, encoding="utf-8") as file:
            runs = json.load(file)
        nets = list(runs)
    print("| net | statistics | val accuracy of the last epoch: mean ± sd | least | most | least of all epochs "
          "| largest fall from an epoch to the next, mean | train loss | seconds a run |")
    print("|-----|------------|------------------------------------------|-------|------|------|------|------|------|")
    for net in nets:
        if net not in runs:
            runs[net] = [run(args, net, seed) for seed in range(args.seeds)]
        compared = runs[net][0][0]["val_accuracy_moving"] is not None
        print(row(net, "moving", runs[net], "val_accuracy_moving" if compared else "val_accuracy"), flush=True)
        if compared:
            print(row(net, "exact", runs[net], "val_accuracy"), flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(runs, file)
    if args.svg and runs[nets[0]][0][0]["val_accuracy_moving"] is None:
        sys.exit("--svg draws moving and exact statistics; add --exact")
    if args.svg:
        draw(nets[0], runs[nets[0]], args.svg)


if __name__ == "__main__":
    main()
