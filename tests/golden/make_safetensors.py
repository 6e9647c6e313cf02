#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes official.safetensors with the official safetensors library: a tiny net's tensors in every floating-point
type that is read, counters in two integer types, and metadata (whose order the library does not fix).

    pip install safetensors==0.8.0 numpy==2.4.6
    python3 tests/golden/make_safetensors.py [--check FILE]

The net is "input 1 4 4, conv2d 2 kernel=3, batchnorm, flatten, linear 3, batchnorm". The values are simple, so that
tests/test_model.c knows them: element i of tensor t is (t + 1) * (i + 1) / 8, exact even in bfloat16.

--check reads a file with the official library instead and prints its metadata and tensors, for a look by hand.
"""
import argparse
import pathlib

import numpy
from safetensors import TensorSpec, serialize_file

SHAPES = {
    "0.weight": ("float64", [2, 1, 3, 3]),
    "0.bias": ("float32", [2]),
    "1.weight": ("float16", [2]),
    "1.bias": ("bfloat16", [2]),
    "1.running_mean": ("float64", [2]),
    "1.running_var": ("float16", [2]),
    "1.num_batches_tracked": ("int64", []),
    "3.weight": ("bfloat16", [3, 8]),
    "3.bias": ("float32", [3]),
    "4.weight": ("float32", [3]),
    "4.bias": ("float64", [3]),
    "4.running_mean": ("bfloat16", [3]),
    "4.running_var": ("float32", [3]),
    "4.num_batches_tracked": ("uint16", [1]),
}


def tensor_bytes(index, dtype, shape):
    count = int(numpy.prod(shape))
    values = (index + 1) * (numpy.arange(count) + 1) / 8
    if "int" in dtype:
        values = values * 8
    if dtype == "bfloat16":  # the upper half of a float32
        bits = values.astype("<f4").view("<u4")
        assert not (bits & 0xFFFF).any()
        return (bits >> 16).astype("<u2").tobytes()
    exact = values.astype(dtype)
    assert (exact.astype("float64") == values).all()
    return exact.tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="FILE")
    path = parser.parse_args().check
    if path:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            print(file.metadata())
            for name in file.keys():
                tensor = file.get_tensor(name)
                print(name, tensor.dtype, tensor.shape, tensor.ravel()[:4])
        return
    path = pathlib.Path(__file__).with_name("official.safetensors")
    tensors, buffers = {}, []  # the library takes addresses: the buffers have to live until it has written
    for index, (name, (dtype, shape)) in enumerate(SHAPES.items()):
        buffers.append(numpy.frombuffer(tensor_bytes(index, dtype, shape), "u1"))
        data = buffers[-1]
        tensors[name] = TensorSpec(dtype=dtype, shape=shape, data_ptr=data.ctypes.data, data_len=data.nbytes)
    serialize_file(tensors, str(path), {"format": "pt", "note": 'caf\u00e9 \U0001f600 "\n'})


if __name__ == "__main__":
    main()
