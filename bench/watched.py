#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What watching, keeping and exact statistics cost: trainings with a chart on a terminal, a log, TensorBoard's event
file and a checkpoint after every epoch, and trainings with --exact-stats, against bare ones. The kinds take turns; each
round gives a ratio, and the median of them counts.

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


def tell(what, without, name, rounds, column):
    """The median of each round's ratio, and the ratio of the best of all rounds, which neighbours disturb least."""
    pairs = [(times[without][column], times[name][column]) for times in rounds]
    ratios = sorted(extra / plain for plain, extra in pairs)
    plain, extra = zip(*pairs)
    print(f"{what:21} {without} {statistics.median(plain):7.3f} s, {name} {statistics.median(extra):7.3f} s, ratio "
          f"{statistics.median(ratios):.3f} (median of {len(ratios)}, {ratios[0]:.3f} to {ratios[-1]:.3f}); of the "
          f"best {min(extra) / min(plain):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--evenkeel", default="build/evenkeel", help="the command (build/evenkeel)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each kind is run (7)")
    parser.add_argument("--epochs", type=int, default=2, help="of each training (2)")
    parser.add_argument("--kinds", default="bare,watched,quiet,exact", help="which to run (bare,watched,quiet,exact)")
    args, options = parser.parse_known_args()
    bare = [str(pathlib.Path(args.evenkeel).resolve()), "train", "--epochs", str(args.epochs), *options]
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        watched = bare + ["--chart", "unicode", "--log", f"{folder}/log", "--tensorboard", f"{folder}/board",
                          "--checkpoint", f"{folder}/checkpoints"]
        quiet = bare + ["--quiet"]  # without a comparison of statistics at the end
        kinds = [("bare", run_bare, bare), ("watched", run_on_terminal, watched),
                 ("quiet", run_bare, quiet), ("exact", run_bare, quiet + ["--exact-stats"])]
        kinds = [kind for kind in kinds if kind[0] in args.kinds.split(",")]
        for i in range(args.rounds):
            order = kinds[i % len(kinds):] + kinds[:i % len(kinds)]
            rounds.append({name: timed(run, command) for name, run, command in order})
            shutil.rmtree(f"{folder}/checkpoints", ignore_errors=True)
    for name, other, columns in (("bare", "watched", (0, 1, 2)), ("quiet", "exact", (0, 2))):
        for column in columns if name in rounds[0] and other in rounds[0] else ():
            tell(("whole runs", "training steps alone", "processors")[column], name, other, rounds, column)


if __name__ == "__main__":
    main()
