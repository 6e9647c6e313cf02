#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains nets with several seeds by the command, and prints a table of their validation accuracies: one run proves
little, since with moving statistics and a large learning rate accuracy jumps from epoch to epoch."""
import argparse
import statistics
import subprocess
import sys


def run(evenkeel, net, seed, epochs, extra):
    """Columns of the command's epoch lines: epoch, train loss, train acc, val loss, val acc, seconds, images/s."""
    command = [evenkeel, "train", "--net", net, "--seed", str(seed), "--epochs", str(epochs), *extra]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr.strip() or f"{' '.join(command)}: failed")
    rows = [line.split() for line in out.stdout.splitlines()]
    return [[float(x) for x in row] for row in rows if len(row) == 7 and row[0].isdigit()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evenkeel", default="build/evenkeel", help="the command (build/evenkeel)")
    parser.add_argument("--nets", default="bn-lenet,bn-lenet-scratch,lenet", help="names, with commas")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("extra", nargs="*", help="more options of 'evenkeel train', after --")
    args = parser.parse_args()
    print("| net | val accuracy of the last epoch: mean ± sd | least | most | train loss | seconds a run |")
    print("|-----|------------------------------------------|-------|------|------------|---------------|")
    for net in args.nets.split(","):
        runs = [run(args.evenkeel, net, seed, args.epochs, args.extra) for seed in range(args.seeds)]
        last = [r[-1][4] for r in runs]
        spread = statistics.stdev(last) if len(last) > 1 else 0.0
        loss = statistics.mean(r[-1][1] for r in runs)
        seconds = statistics.median(sum(epoch[5] for epoch in r) for r in runs)
        print(f"| {net} | {statistics.mean(last):.4f} ± {spread:.4f} | {min(last):.4f} | {max(last):.4f} "
              f"| {loss:.3f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
