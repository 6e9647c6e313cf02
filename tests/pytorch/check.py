# SPDX-License-Identifier: MIT
"""Printed modules in real PyTorch: `check.py EVENKEEL FOLDER`, of files that `test_pytorch write FOLDER COUNT` wrote.

Of each net: the text runs, the model loads strictly, the logits are ours to 1e-5 of their scale, what save() writes
opens here as the same model, and PyTorch -> here -> PyTorch changes no byte of any tensor, from the model's weights
and from those that PyTorch starts with."""
import copy
import importlib.util
import pathlib
import subprocess
import sys

import torch

try:
    from safetensors.torch import load_file
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from safetensors.torch import load_file

TOLERANCE = 1e-5


def module_of(path):
    spec = importlib.util.spec_from_file_location("printed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def different(a, b):
    """Names of tensors that are not the same bytes in both, or in one alone."""
    return [name for name in sorted({*a, *b})
            if name not in a or name not in b or a[name].dtype != b[name].dtype or a[name].shape != b[name].shape
            or a[name].numpy().tobytes() != b[name].numpy().tobytes()]


def round_trip(evenkeel, module, net, folder):
    """PyTorch -> here -> PyTorch."""
    there, back, text = folder / "there.safetensors", folder / "back.safetensors", folder / "back.py"
    module.save(net, there)
    run = subprocess.run([evenkeel, "export", there, "--to", "pytorch", "--weights", back, "-o", text],
                         capture_output=True, text=True)
    if run.returncode:
        return run.stderr.strip()
    again = module.load(back)
    wrong = different(net.state_dict(), again.state_dict())
    return f"changed on the way: {wrong}" if wrong else ""


def distance(net, x, logits):
    """How far our logits are from PyTorch's, by their scale; where that is far, from those in float64, and from those
    in float32 but for what these are off themselves."""
    with torch.inference_mode():
        single = net(x).double()
        scale = float(single.abs().max())
        off = float((logits - single).abs().max())
        if not off <= TOLERANCE * scale:
            double = copy.deepcopy(net).double()(x.double())
            off = max(float((logits - double).abs().max()), off - float((single - double).abs().max()))
    return off / scale


def check(evenkeel, path, folder):
    module = module_of(path.with_suffix(".py"))
    net = module.load(path)
    wrong = different(load_file(path), net.state_dict())
    if wrong:
        return f"not as in the file: {wrong}", 0
    off = distance(net, **load_file(path.with_suffix(".seen")))
    if not off <= TOLERANCE:
        return f"logits differ by {off:.2g} of their scale", off
    fault = round_trip(evenkeel, module, net, folder)
    if not fault and (folder / "back.py").read_text() != path.with_suffix(".py").read_text():
        fault = "its text is another on the way back"
    return fault or round_trip(evenkeel, module, module.build(), folder), off


def main():
    evenkeel, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sys.dont_write_bytecode = True
    failures, worst, count = 0, 0.0, 0
    for path in sorted(folder.glob("*.safetensors")):
        if path.stem in ("there", "back"):
            continue
        try:
            fault, off = check(evenkeel, path, folder)
        except Exception as error:  # whatever the text does, by its name
            fault, off = f"{type(error).__name__}: {error}", 0
        worst, count = max(worst, off), count + 1
        if fault or not path.stem.startswith("random-"):
            print(f"not ok {path.stem}: {fault}" if fault else f"ok {path.stem}")
        failures += bool(fault)
    print(f"{'not ok' if failures else 'ok'} {count} nets in PyTorch {torch.__version__}, logits within {worst:.1e}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
