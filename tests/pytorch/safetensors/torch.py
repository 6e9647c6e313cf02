# SPDX-License-Identifier: MIT
"""load_file and save_file for tensors of the types that models have."""
import json
import struct

import numpy
import torch

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def load_file(path):
    with open(path, "rb") as file:
        data = file.read()
    size, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        array = numpy.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


def save_file(tensors, path, metadata=None):
    header, chunks, offset = {"__metadata__": metadata or {}}, [], 0
    for name, tensor in tensors.items():
        array = tensor.detach().numpy()
        dtype, = (key for key, value in DTYPES.items() if numpy.dtype(value) == array.dtype)
        chunks.append(array.tobytes())
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(chunks[-1])]}
        offset += len(chunks[-1])
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))
