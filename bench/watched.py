#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What watching and keeping cost: trainings with a chart on a terminal, a log, TensorBoard's event file and a
checkpoint after every epoch, against bare ones. The two kinds take turns; each pair gives a ratio, and the median of
them counts.

    bench/watched.py [--evenkeel build/evenkeel] [--rounds 7] [--epochs 2] [TRAIN OPTION ...]
"""
import argparse
import os
import pathlib
import pty
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def run_bare(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return done.stdout


def run_on_terminal(command):
    """Its output, read as fast as a terminal does."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8", COLUMNS="120", LINES="40")
        os.execv(command[0], command)
    output = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not piece:
            break
        output += piece
    if os.waitpid(pid, 0)[1]:
        sys.exit(output.decode(errors="replace"))
    return output.decode(errors="replace")


def training_seconds(text):
    """Seconds of all epochs' training steps, from the table."""
    rows = re.findall(r"^\s*\d+(?:\s+[\d.]+){4}\s+([\d.]+)\s+\d+\s*$", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
                      .replace("\r", "\n"), re.M)
    return sum(map(float, rows))


def timed(run, command):
    """Seconds of the whole run, of its training steps, and of the processors."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    begin, before = time.monotonic(), used()
    text = run(command)
    return time.monotonic() - begin, training_seconds(text), used() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--evenkeel", default="build/evenkeel", help="the command (build/evenkeel)")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of trainings (7)")
    parser.add_argument("--epochs", type=int, default=2, help="of each (2)")
    args, options = parser.parse_known_args()
    command = [str(pathlib.Path(args.evenkeel).resolve()), "train", "--epochs", str(args.epochs), *options]
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(args.rounds):
            watched = command + ["--chart", "unicode", "--log", f"{folder}/log", "--tensorboard", f"{folder}/board",
                                 "--checkpoint", f"{folder}/checkpoints"]
            kinds = [(run_bare, command), (run_on_terminal, watched)]
            times = [timed(*kind) for kind in (kinds if i % 2 else kinds[::-1])]
            pairs.append(times if i % 2 else times[::-1])
            shutil.rmtree(f"{folder}/checkpoints")
    for what, column in (("whole runs", 0), ("training steps alone", 1), ("processors", 2)):
        ratios = sorted(watched[column] / bare[column] for bare, watched in pairs)
        print(f"{what:22} bare {statistics.median(p[0][column] for p in pairs):7.3f} s, watched "
              f"{statistics.median(p[1][column] for p in pairs):7.3f} s, ratio {statistics.median(ratios):.3f} "
              f"(median of {len(ratios)}, {ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
