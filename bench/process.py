#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How `evenkeel train` behaves as a process: what it takes beside its training steps, its memory, and how much slower
an epoch gets when another process keeps one processor busy. Quiet and busy epochs alternate; medians."""
import argparse
import os
import resource
import statistics
import subprocess
import sys
import time


def epoch(evenkeel):
    """Wall seconds of a training of one epoch, and the seconds of its training steps."""
    begin = time.monotonic()
    out = subprocess.run([evenkeel, "train", "--epochs", "1"], capture_output=True, text=True)
    wall = time.monotonic() - begin
    if out.returncode:
        sys.exit(out.stderr.strip())
    rows = [line.split() for line in out.stdout.splitlines()]
    return wall, next(float(row[5]) for row in rows if len(row) == 7 and row[0] == "1")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evenkeel", default="build/evenkeel", help="the command (build/evenkeel)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    quiet, busy, beside = [], [], []
    for _ in range(args.rounds):
        wall, seconds = epoch(args.evenkeel)
        quiet.append(seconds)
        beside.append(wall - seconds)
        neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                     preexec_fn=lambda: os.sched_setaffinity(0, {cpus[-1]}))
        try:
            busy.append(epoch(args.evenkeel)[1])
        finally:
            neighbour.kill()
            neighbour.wait()
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{len(cpus)} processors, {args.rounds} rounds")
    print(f"start, data, validation, end   {statistics.median(beside):7.2f} s beside the training steps")
    print(f"peak memory                    {memory:7.0f} MiB")
    print(f"an epoch, quiet                {statistics.median(quiet):7.2f} s")
    print(f"an epoch, a processor busy     {statistics.median(busy):7.2f} s, "
          f"{statistics.median(busy) / statistics.median(quiet):.2f} times the quiet one's")


if __name__ == "__main__":
    main()
