#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prediction of one image at a time and of many on one thread: Evenkeel's predictor beside ONNX Runtime, PyTorch and
the net as C.

    bench/predict.py [--evenkeel build/evenkeel] [--rounds 12] [--window 0.3] [--onnx-python PYTHON] [--json FILE]

Windows are taken in turn as run.py does. ONNX Runtime is looked for in --onnx-python, python3, /usr/bin/python3 and
build/python; it gets the net as Evenkeel exports it, its batch norms folded. The net as C is compiled with -O3
-march=native by every one of gcc and clang that is there. What is missing is said, and left out.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

from run import HERE, Worker, processor_name, run

# Multiply-adds of an image, two operations each, counted as direct sums.
FLOP = {"bn-lenet": 2 * 281640, "resnet-20": 2 * 40.8e6}
CASES = (("bn-lenet", 1), ("bn-lenet", 256), ("resnet-20", 1))


def python_with(module, candidates):
    for python in candidates:
        try:
            probe = subprocess.run([python, "-c", f"import {module}; print({module}.__version__)"], check=False,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            continue
        if probe.returncode == 0:
            return python, probe.stdout.strip().splitlines()[-1]
    print(f"*** {module} cannot be imported ({', '.join(candidates)}): it is NOT in the comparison ***",
          file=sys.stderr)
    return None, None


def exported(options, net, folder):
    """The net as ONNX, and as programs of its C: (compiler, program)."""
    maker = os.path.join(os.path.dirname(options.evenkeel), "bench", "bench_export")
    try:
        subprocess.run([maker, net, folder], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"*** {net} is not exported ({error}): ONNX Runtime and the net as C are NOT in the comparison ***",
              file=sys.stderr)
        return None, []
    programs = []
    for compiler in ("gcc", "clang"):
        program = os.path.join(folder, f"{net}-{compiler}")
        if not shutil.which(compiler):
            print(f"*** no {compiler}: its net as C is NOT in the comparison ***", file=sys.stderr)
            continue
        subprocess.run([compiler, "-O3", "-march=native", "-I", folder, os.path.join(HERE, "exported/worker.c"),
                        os.path.join(folder, "net.c"), "-o", program, "-lm"], check=True)
        programs.append((compiler, program))
    return os.path.join(folder, net + ".onnx"), programs


def workers(options, net, batch, torch, onnx, folder):
    """A case's configurations; kind says whose, for the ratios."""
    model, programs = exported(options, net, folder)
    kind = "predictor" if net == "bn-lenet" else "predictor-" + net
    ours = [options.evenkeel, "bench", "--threads", "1", "--worker"]
    yield Worker("peak", "peak", "FMA peak", 1, ours + ["peak"])
    yield Worker("ours", "evenkeel", "Evenkeel", 1, ours + [kind, "--batch-size", str(batch)])
    if onnx[0] and model:
        yield Worker("onnx", "onnx", f"ONNX Runtime {onnx[1]}", 1,
                     [onnx[0], os.path.join(HERE, "onnx_worker.py"), model, "--threads", "1", "--batch", str(batch)])
    if torch[0]:
        for variant, label in (("eager", "eager"), ("trace", "frozen")):
            yield Worker("torch", "pytorch", f"PyTorch {torch[1]}, {label}", 1,
                         [torch[0], os.path.join(HERE, "torch_worker.py"), "--threads", "1", "--net", net, "--predict",
                          str(batch), "--variant", variant])
    for compiler, program in programs if batch == 1 else []:
        yield Worker("c", "exported", f"the net as C, {compiler}", 1, [program])


def table(net, batch, measured):
    rates = {}
    for w in measured:
        rates[w.kind] = max(w.median, rates.get(w.kind, 0))
    print(f"{net}, {'one image at a time' if batch == 1 else f'batches of {batch}'}")
    for w in measured:
        if w.kind == "peak":
            print(f"    {w.label:32} {w.median / 1e9:10.1f} GFLOP/s")
            continue
        parts = [f"{w.median * FLOP[net] / rates['peak']:.2f} of peak"] if "peak" in rates else []
        if w.kind == "ours":
            parts += [f"{w.median / rates[peer]:.1f} x {name}" for peer, name in
                      (("onnx", "ONNX Runtime"), ("torch", "PyTorch's best")) if peer in rates]
        if w.kind == "c" and "ours" in rates:
            parts.append(f"{rates['ours'] / w.median:.2f} times Evenkeel's time")
        if w.dropped or w.noisy:
            parts.append("NOISY" if w.noisy else f"{w.dropped} disturbed windows dropped")
        print(f"    {w.label:32} {1e6 / w.median:10.2f} us an image, best {1e6 / w.best:.2f}; {', '.join(parts)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evenkeel", default=os.path.join(HERE, "../build/evenkeel"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--window", type=float, default=0.3, help="seconds")
    parser.add_argument("--onnx-python", metavar="PYTHON", help="a Python that has onnxruntime")
    parser.add_argument("--json", metavar="FILE", help="every window's rate, into this file")
    options = parser.parse_args()
    if not os.access(options.evenkeel, os.X_OK):
        sys.exit(f"predict.py: no command at {options.evenkeel}; build it (make), or name it with --evenkeel")
    return options


def main():
    options = parse()
    system = [sys.executable, "/usr/bin/python3"]
    torch = python_with("torch", system)
    given = [options.onnx_python] if options.onnx_python else []
    onnx = python_with("onnxruntime", given + system + [os.path.join(HERE, "../build/python/bin/python")])
    print(f"{os.path.relpath(options.evenkeel)} on {processor_name()}, one thread; {options.rounds} windows of "
          f"{options.window:g} s each, interleaved")
    rows = []
    for net, batch in CASES:
        with tempfile.TemporaryDirectory() as folder:
            measured = run(workers(options, net, batch, torch, onnx, folder), options)
        table(net, batch, measured)
        rows += [{"net": net, "batch": batch, "label": w.label, "unit": w.unit, "rates": w.rates,
                  "disturbed": w.disturbed_rates} for w in measured]
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)
    if not any(row["label"] == "Evenkeel" for row in rows):
        sys.exit(f"predict.py: {options.evenkeel} was not measured")


if __name__ == "__main__":
    main()
