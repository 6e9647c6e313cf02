# SPDX-License-Identifier: MIT
"""Writes safetensors files: 8 bytes little-endian header length, a JSON header, the tensors' bytes."""

import json
import struct

import numpy

DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8"}


def write(path, tensors, metadata=None):
    """tensors: name -> numpy array of a type in DTYPES, written in this order; metadata: str -> str."""
    header, chunks, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        # ascontiguousarray makes a scalar 1-D: the shape is taken before it
        data = numpy.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": DTYPES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))
