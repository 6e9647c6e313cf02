#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The speed table: Evenkeel and PyTorch side by side, in short windows in random order.

    bench/run.py [--evenkeel build/evenkeel] [--rounds 12] [--window 0.4] [--threads 1,2] [--json FILE]

A machine's speed drifts by a quarter within minutes, so numbers that are compared are taken in turn: every
configuration is a process that is started once, then each round runs a window of every one, in random order.
README.md describes what a worker process is told and what it answers.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Arithmetic of one image: multiply-adds of the net, two operations each. Training needs no gradient of the pixels.
FLOP = {"train": 1.517e6, "predict": 0.563e6, "train-resnet-20": 242.4e6, "train-resnet-18": 1897.5e6}
RESIDUAL = ("resnet-20", "resnet-18")  # 3x32x32, batch 128; 1x96x96, batch 32
# Workers of the command, and their rows.
OURS = (
    ("peak", "FMA peak"),
    ("train", "Evenkeel train"),
    ("predict", "Evenkeel predict, batch 256"),
    ("bn-forward", "batch norm forward"),
    ("bn-forward-loop", "plain loop, same bytes"),
    ("bn-backward", "batch norm backward"),
    ("bn-backward-loop", "plain loop, same bytes"),
)
PYTORCH_VARIANTS = ("eager", "hybrid", "hybrid-trace")
DISTURBED = 0.06  # a window in which other processes used more than this share of a processor is not counted
TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds():
    """Busy (user, nice, system, interrupts) and stolen seconds of the whole machine so far."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / TICK + steal / TICK


def process_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Worker:
    """A process that is measured: kind (train, predict, peak, ...), whose (evenkeel, pytorch), threads."""

    def __init__(self, kind, whose, label, threads, command):
        self.kind, self.whose, self.label, self.threads = kind, whose, label, threads
        self.command = command
        self.rates, self.disturbed_rates = [], []
        self.process = None

    def start(self):
        """Starts it; says why and returns False when it cannot be measured."""
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self.process.stdout.readline().split()
        if len(answer) not in (3, 4) or answer[0] != "ready":
            print(f"*** {self.label}, {self.threads} threads: NOT MEASURED: no \"ready WORK UNIT\" from "
                  f"{' '.join(self.command)} ***", file=sys.stderr)
            self.process.kill()
            self.process.wait()
            return False
        self.work, self.unit = float(answer[1]), answer[2]
        self.memory = float(answer[3]) if len(answer) == 4 else None
        return True

    def go(self, steps):
        self.process.stdin.write(f"go {steps}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"run.py: {self.label}, {self.threads} threads: the worker has ended")
        return float(answer)

    def calibrate(self, window):
        """Steps that fill a window, after one that warms up."""
        steps = 1
        while (seconds := self.go(steps)) < window / 4:
            steps = max(2 * steps, int(steps * window / 4 / max(seconds, 1e-9)))
        self.steps = max(1, round(steps * window / seconds))

    def measure(self):
        machine, own = processor_seconds(), process_seconds(self.process.pid)
        start = time.perf_counter()
        seconds = self.go(self.steps)
        elapsed = time.perf_counter() - start
        others = (processor_seconds() - machine) - (process_seconds(self.process.pid) - own)
        rates = self.rates if others <= DISTURBED * elapsed + 1 / TICK else self.disturbed_rates
        rates.append(self.work * self.steps / seconds)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def finish(self):
        """Disturbed windows count after all where there is hardly another."""
        self.dropped = len(self.disturbed_rates)
        if len(self.rates) < 3:
            self.rates += self.disturbed_rates
            self.dropped = 0
            self.noisy = bool(self.disturbed_rates)
        else:
            self.noisy = False
        self.median, self.best, self.least = statistics.median(self.rates), max(self.rates), min(self.rates)


def python_with_torch():
    for python in (sys.executable, "/usr/bin/python3"):
        probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, check=False)
        if probe.returncode == 0:
            return python, probe.stdout.strip()
    return None, None


def workers(evenkeel, threads, python, version):
    ours = [evenkeel, "bench", "--threads", str(threads), "--worker"]
    for kind, label in OURS:
        yield Worker(kind, "evenkeel", label, threads, ours + [kind])
    if not python:
        return
    torch = [python, os.path.join(HERE, "torch_worker.py"), "--threads", str(threads)]
    for variant in PYTORCH_VARIANTS:
        yield Worker("train", "pytorch", f"PyTorch {version} train, {variant}", threads,
                     torch + ["--variant", variant])
    yield Worker("predict", "pytorch", f"PyTorch {version} predict, batch 256, frozen", threads,
                 torch + ["--predict", "256"])


def residual_workers(evenkeel, threads, python, version):
    """The same for residual nets, apart since their steps are long; all of them take some 3 GB."""
    yield Worker("peak", "evenkeel", "FMA peak, beside residual nets", threads,
                 [evenkeel, "bench", "--threads", str(threads), "--worker", "peak"])
    for net in RESIDUAL:
        kind = "train-" + net
        yield Worker(kind, "evenkeel", f"Evenkeel train {net}", threads,
                     [evenkeel, "bench", "--threads", str(threads), "--worker", kind])
        for variant in ("eager", "channels-last") if python else ():
            yield Worker(kind, "pytorch", f"PyTorch {version} train {net}, {variant}", threads,
                         [python, os.path.join(HERE, "torch_worker.py"), "--threads", str(threads), "--net", net,
                          "--variant", variant])


def run(candidates, options):
    """Measures those that start, interleaved; returns them."""
    measured = []
    try:
        for worker in candidates:
            if worker.start():
                measured.append(worker)
        for worker in measured:
            worker.calibrate(options.window)
        for _ in range(options.rounds):
            for worker in random.sample(measured, len(measured)):
                time.sleep(0.02)  # the worker before it goes to sleep
                worker.measure()
    finally:
        for worker in measured:
            worker.stop()
    for worker in measured:
        worker.finish()
    return measured


def amount(rate, unit):
    return f"{rate:,.0f}" if unit == "image" else f"{rate / 1e9:.1f}"


def median_of(measured, kind, whose, threads):
    """The best median among the configurations of a kind, None without one."""
    return max((w.median for w in measured if (w.kind, w.whose, w.threads) == (kind, whose, threads)), default=None)


def remark(worker, measured):
    """What the row says beside its numbers: share of peak, times PyTorch's best, times the plain loop's time."""
    parts = []
    peak = median_of(measured, "peak", "evenkeel", worker.threads)
    if worker.kind in FLOP and peak:
        parts.append(f"{worker.median * FLOP[worker.kind] / peak:.2f} of peak")
    if worker.kind in FLOP and worker.whose == "evenkeel":
        peer = median_of(measured, worker.kind, "pytorch", worker.threads)
        if peer:
            parts.append(f"{worker.median / peer:.2f} x PyTorch's best")
    loop = median_of(measured, worker.kind + "-loop", "evenkeel", worker.threads)
    if loop:
        parts.append(f"{loop / worker.median:.2f} x the loop's time")
    if worker.kind.startswith("train-"):
        parts.append(f"{worker.memory / 2**20:.0f} MiB")
    if worker.dropped:
        parts.append(f"{worker.dropped} disturbed windows dropped")
    if worker.noisy:
        parts.append("NOISY: other processes ran")
    return ", ".join(parts)


def table(measured):
    units = {"image": "images/s", "flop": "GFLOP/s", "byte": "GB/s"}
    print(f"{'threads':7}  {'what':44} {'median':>9} {'best':>9} {'least':>9}  unit")
    for w in sorted(measured, key=lambda w: w.threads):
        numbers = " ".join(f"{amount(rate, w.unit):>9}" for rate in (w.median, w.best, w.least))
        unit = units.get(w.unit, w.unit)
        print(f"{w.threads:7}  {w.label:44} {numbers}  {unit:8}  {remark(w, measured)}".rstrip())


def processor_name():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(("model name", "Processor")):
                return line.partition(":")[2].strip()
    return "unknown processor"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evenkeel", default=os.path.join(HERE, "../build/evenkeel"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--window", type=float, default=0.4, help="seconds")
    parser.add_argument("--threads", help="for example 1,2; default: 1 and as many as there are processors")
    parser.add_argument("--residual", action="store_true", help="residual nets alone")
    parser.add_argument("--json", help="every window's rate, into this file")
    options = parser.parse_args()
    processors = len(os.sched_getaffinity(0))
    if not os.access(options.evenkeel, os.X_OK):
        sys.exit(f"run.py: no command at {options.evenkeel}; build it (make), or name it with --evenkeel")
    options.threads = sorted({int(n) for n in options.threads.split(",")} if options.threads else {1, processors})
    return options


def main():
    options = parse()
    python, version = python_with_torch()
    if not python:
        print("*** PyTorch cannot be imported here (python3, /usr/bin/python3): Evenkeel is measured ALONE, "
              "there is no comparison. Debian's package is python3-torch. ***", file=sys.stderr)
    measured = []
    for threads in options.threads:
        if not options.residual:
            measured += run(workers(options.evenkeel, threads, python, version), options)
        measured += run(residual_workers(options.evenkeel, threads, python, version), options)
    print(f"{os.path.relpath(options.evenkeel)} on {processor_name()}, {len(os.sched_getaffinity(0))} processors; "
          f"{options.rounds} windows of {options.window:g} s each, interleaved")
    table(measured)
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{"label": w.label, "whose": w.whose, "kind": w.kind, "threads": w.threads, "unit": w.unit,
                        "rates": w.rates, "disturbed": w.disturbed_rates} for w in measured], file, indent=1)
    if not any(w.kind.startswith("train") and w.whose == "evenkeel" for w in measured):
        sys.exit(f"run.py: the training of {options.evenkeel} was not measured")


if __name__ == "__main__":
    main()
