# SPDX-License-Identifier: MIT
"""ONNX files in ONNX's checker and in ONNX Runtime: `check.py FOLDER`, of files that `test_onnx_export write` wrote.

Of each NAME+VARIANT.onnx: the checker takes it with shapes inferred, strictly; input and output are what docs/onnx.md
says; ONNX Runtime gives the outputs of NAME.seen, for the batch of the file or, where that is open, for whole batches
and single samples, to 1e-5 of their scale."""
import json
import pathlib
import struct
import sys

import numpy
import onnx
import onnxruntime

TOLERANCE = 1e-5


def tensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    found = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        begin, end = entry["data_offsets"]
        found[name] = numpy.frombuffer(data[8 + size + begin : 8 + size + end], "<f4").reshape(entry["shape"])
    return found


def extents(value):
    return [extent.dim_param or extent.dim_value for extent in value.type.tensor_type.shape.dim]


def form_fault(model, batch, x, logits):
    """What is not as docs/onnx.md says."""
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    (source,), (result,) = inferred.graph.input, inferred.graph.output
    if (source.name, result.name) != ("input", "output"):
        return f"its ends are {source.name} and {result.name}"
    if extents(source) != [batch, *x.shape[1:]] or extents(result) != [batch, *logits.shape[1:]]:
        return f"its ends are {extents(source)} and {extents(result)}"
    used = {name for node in model.graph.node for name in node.input}
    unread = [tensor.name for tensor in model.graph.initializer if tensor.name not in used]
    return f"no node reads {unread}" if unread else ""


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(path, seen):
    x, logits = seen["x"], seen["logits"]
    model = onnx.load(path)
    batch = 1 if path.stem.endswith("-batch1") else "batch"
    fault = form_fault(model, batch, x, logits)
    if fault:
        return fault, 0
    session = session_of(path)
    singles = numpy.concatenate([session.run(None, {"input": x[i : i + 1]})[0] for i in range(len(x))])
    runs = [singles] if batch == 1 else [singles, session.run(None, {"input": x})[0]]
    scale = float(numpy.abs(logits).max()) or 1.0
    off = max(float(numpy.abs(run.astype("f8") - logits).max()) for run in runs) / scale
    return "" if off <= TOLERANCE else f"outputs differ by {off:.2g} of their scale", off


def main():
    folder = pathlib.Path(sys.argv[1])
    failures, worst, count = 0, 0.0, 0
    for path in sorted(folder.glob("*.onnx")):
        seen = tensors(folder / (path.stem.split("+")[0] + ".seen"))
        try:
            fault, off = check(path, seen)
        except Exception as error:  # whatever a checker says, by the file's name
            fault, off = f"{type(error).__name__}: {' '.join(str(error).split())}"[:600], 0
        worst, count = max(worst, off), count + 1
        if fault or not path.stem.startswith("random-"):
            print(f"not ok {path.stem}: {fault}" if fault else f"ok {path.stem}")
        failures += bool(fault)
    versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    print(f"{'not ok' if failures else 'ok'} {count} ONNX files in {versions}, outputs within {worst:.1e} of the scale")
    sys.exit(1 if failures or not count else 0)


if __name__ == "__main__":
    main()
