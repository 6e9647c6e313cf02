# SPDX-License-Identifier: MIT
"""ONNX files as PyTorch's exporter writes them, and what the models answer: onnx/NAME.onnx and onnx.safetensors.
Two runs give the same bytes, but for the version of PyTorch that the files name."""
import os

import torch

import golden_file
import onnx_models

# A few ways to export, so that every one is met: (opset, training, batch of a fixed size, constants folded)
WAYS = {
    "bn-lenet": (17, True, False, True),
    "residual": (13, True, False, False),
    "branches": (17, False, True, True),
    "activations": (11, False, False, True),
    "norms": (13, True, False, True),
    "plain-norms": (11, False, False, True),
    "windows": (9, False, False, True),
    "sums": (14, False, True, True),
}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    os.makedirs(os.path.join(here, "onnx"), exist_ok=True)
    tensors = {}
    for name, (opset, training, fixed, folded) in WAYS.items():
        model, shape = onnx_models.make(name)
        onnx_models.export(model, shape, os.path.join(here, "onnx", name + ".onnx"), opset, training, fixed, folded)
        x = torch.rand((3,) + shape)
        with torch.no_grad():
            y = onnx_models.logits(model)(x)
        tensors[name + ".x"], tensors[name + ".y"] = x.numpy(), y.numpy()
    golden_file.write(os.path.join(here, "onnx.safetensors"), tensors)


if __name__ == "__main__":
    main()
