# SPDX-License-Identifier: MIT
"""Exports of real PyTorch come back with PyTorch's logits: onnx_torch.py LIBEVENKEEL.SO [--all]. A line a case.
Python needs torch and onnx, which turns weights into other types and moves them beside the model."""
import ctypes
import os
import sys
import tempfile
import warnings

import numpy
import onnx
import torch
from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden"))
import onnx_models as models  # noqa: E402: where the path leads

warnings.filterwarnings("ignore")


class Options(ctypes.Structure):
    _fields_ = [("channels", ctypes.c_int), ("height", ctypes.c_int), ("width", ctypes.c_int),
                ("output", ctypes.c_char_p), ("bytes", ctypes.c_bool), ("ignore_properties", ctypes.c_bool),
                ("report", ctypes.POINTER(ctypes.c_void_p))]


def library(path):
    ek = ctypes.CDLL(path)
    ek.ek_error.restype = ctypes.c_char_p
    ek.ek_predict.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    ek.ek_net_free.argtypes = [ctypes.c_void_p]
    return ek


def predict(ek, path, x, classes, **options):
    net = ctypes.c_void_p()
    if ek.ek_import_onnx(ctypes.byref(net), path.encode(), ctypes.byref(Options(**options))):
        raise RuntimeError(ek.ek_error().decode())
    y = numpy.zeros((len(x), classes), numpy.float32)
    x = numpy.ascontiguousarray(x)
    if ek.ek_predict(net, len(x), x.ctypes.data, 1, y.ctypes.data):
        raise RuntimeError(ek.ek_error().decode())
    ek.ek_net_free(net)
    return y


def half(path):
    """Weights as float16 and double in turn, in typed fields as well as bytes."""
    model = onnx.load(path)
    for i, t in enumerate(model.graph.initializer):
        if t.data_type == onnx.TensorProto.FLOAT:
            a = numpy_helper.to_array(t)
            if i % 3 == 0:
                t.CopyFrom(onnx.helper.make_tensor(t.name, onnx.TensorProto.DOUBLE, a.shape, a.astype("f8").ravel()))
            elif i % 3 == 1:
                t.CopyFrom(onnx.helper.make_tensor(t.name, onnx.TensorProto.FLOAT, a.shape, a.ravel()))
    onnx.save(model, path)


def outside(path):
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location="weights.bin",
              size_threshold=0)


def check(ek, folder, name, opset, change=None, **how):
    torch.manual_seed(1)
    model, shape = models.make(name)
    path = os.path.join(folder, "%s.onnx" % name)
    models.export(model, shape, path, opset, **how)
    if change:
        change(path)
    x = torch.rand((5,) + shape)
    with torch.no_grad():
        want = models.logits(model)(x).numpy()
    got = predict(ek, path, x.numpy(), want.shape[1])
    worst = float(numpy.abs(got - want).max() / max(1, numpy.abs(want).max()))
    return worst


def main():
    ek = library(sys.argv[1])
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in models.MODELS:
            cases = [(11, dict(change=half)), (14, dict(training=True, folded=False)), (17, dict(change=outside))]
            if "--all" in sys.argv:
                cases += [(opset, {}) for opset in (9, 11, 12, 13, 14, 17)]
                cases += [(13, dict(training=True)), (17, dict(fixed=True)), (13, dict(folded=False))]
            for opset, how in cases:
                words = (k if v is True else v.__name__ if callable(v) else "not " + k for k, v in how.items())
                case = " ".join((name, "opset", str(opset), *words))
                if (opset == 9 and name == "residual") or (opset == 17 and name == "plain-norms"):
                    continue  # strided slices came with opset 10; PyTorch 1.13 refuses its own layer norm
                try:
                    worst = check(ek, folder, name, opset, **how)
                    good = worst <= 1e-5
                    text = "%.1e" % worst
                except Exception as error:
                    good, text = False, str(error)
                print("%s %s%s" % ("ok" if good else "not ok", case, "" if good else ": " + text), flush=True)
                failed += not good
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
