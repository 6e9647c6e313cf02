#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Small image files of every kind, what Pillow makes of them, and what PyTorch's antialiased resizing makes of others:
tests/fuzz/corpus/image/ and images.safetensors. Needs Pillow and PyTorch."""
import io
import pathlib
import struct
import zlib

import numpy as np
import torch
from PIL import Image
from golden_file import write

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "fuzz" / "corpus" / "image"
tensors = {}


def smooth(height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(0.3 * (c + 1) * x + c) * np.cos(0.2 * (c + 2) * y) for c in range(channels)]
    return np.stack(planes, -1).round().clip(0, 255).astype(np.uint8)


def save(name, image, expected, **options):
    image.save(OUT / name, **options)
    tensors[name] = np.array(expected, dtype=np.float64).reshape(image.height, image.width, -1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, data, interlace=0):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def good():
    grey, colours, alpha = smooth(11, 13, 1)[..., 0], smooth(11, 13, 3), smooth(11, 13, 4)
    save("grey.png", Image.fromarray(grey), grey)
    save("rgb.png", Image.fromarray(colours), colours)
    save("rgba.png", Image.fromarray(alpha, "RGBA"), alpha[..., :3])
    save("grey-alpha.png", Image.fromarray(np.stack([grey, 255 - grey], -1), "LA"), grey)
    palette = Image.fromarray(colours).quantize(7)
    save("palette.png", palette, np.asarray(palette.convert("RGB")))
    save("palette-alpha.png", palette, np.asarray(palette.convert("RGB")), transparency=2)
    bits = Image.fromarray(grey).convert("1")
    save("bits.png", bits, np.asarray(bits.convert("L")))
    save("one.png", Image.fromarray(colours[:1, :1]), colours[:1, :1])
    # 16 bits, by hand: Pillow writes no colours of them. Their 8 bits are round(v*255/65535).
    wide = (np.arange(3 * 5 * 4, dtype=np.uint32) * 1111 % 65536).reshape(4, 15)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    (OUT / "rgb-16.png").write_bytes(png(5, 4, 16, 2, rows))
    tensors["rgb-16.png"] = np.floor(wide * 255 / 65535 + 0.5).reshape(4, 5, 3)
    (OUT / "grey-16.png").write_bytes(png(15, 4, 16, 0, rows))
    tensors["grey-16.png"] = np.floor(wide * 255 / 65535 + 0.5).reshape(4, 15, 1)
    for name, image, options in [("grey.jpg", Image.fromarray(grey), {}), ("rgb.jpg", Image.fromarray(colours), {}),
                                 ("progressive.jpeg", Image.fromarray(colours), {"progressive": True}),
                                 ("full.JPG", Image.fromarray(colours), {"subsampling": 0, "quality": 95})]:
        image.save(OUT / name, **options)
        read = np.asarray(Image.open(OUT / name), dtype=np.float64)
        tensors[name] = read.reshape(image.height, image.width, -1)
    ink = Image.fromarray(smooth(11, 13, 4), "CMYK")
    ink.save(OUT / "cmyk.jpg", quality=95)
    tensors["cmyk.jpg"] = np.asarray(Image.open(OUT / "cmyk.jpg").convert("RGB"), dtype=np.float64)


def bad():
    whole_png, whole_jpeg = (OUT / "rgb.png").read_bytes(), (OUT / "rgb.jpg").read_bytes()
    (OUT / "bad-short.png").write_bytes(whole_png[:len(whole_png) * 2 // 3])
    (OUT / "bad-header.png").write_bytes(whole_png[:20])
    (OUT / "bad-checksum.png").write_bytes(whole_png[:60] + bytes([whole_png[60] ^ 255]) + whole_png[61:])
    (OUT / "bad-short.jpg").write_bytes(whole_jpeg[:len(whole_jpeg) * 9 // 10])
    (OUT / "bad-header.jpg").write_bytes(whole_jpeg[:100])
    (OUT / "bad-empty.png").write_bytes(b"")
    (OUT / "bad-text.png").write_bytes(b"not an image\n")
    (OUT / "bad-huge.png").write_bytes(png(60000, 60000, 8, 2, bytes(100)))
    (OUT / "bad-wide.png").write_bytes(png(70000, 1, 8, 0, bytes(70001)))
    (OUT / "bad-rows.png").write_bytes(png(9, 9, 8, 2, bytes(28 * 4)))  # fewer rows than promised
    frame = whole_jpeg.index(b"\xff\xc0")  # SOF0: length, bits, height, width
    huge = bytearray(whole_jpeg)
    huge[frame + 5:frame + 9] = struct.pack(">HH", 65000, 65000)
    (OUT / "bad-huge.jpg").write_bytes(bytes(huge))
    gif = io.BytesIO()
    Image.fromarray(smooth(4, 4, 1)[..., 0]).save(gif, "GIF")
    (OUT / "bad-gif.png").write_bytes(gif.getvalue())


def netpbm():
    """PGM and PPM by hand: what is right and what is not is in tests/test_data_image_read.c."""
    files = {
        "text.pgm": b"P2\n# a comment\n3 2\n9\n0 1 2\n7 8 9\n",
        "text.ppm": b"P3 2 1 65535\n0 1 65535 256 255 40000\n",
        "bytes.pgm": b"P5 3 2 255\n" + bytes(range(6)),
        "words.pgm": b"P5 2 1 65535\n\0\1\377\377",
        "bytes.ppm": b"P6\n4 3 # wide, high\n255\n" + smooth(3, 4, 3).tobytes(),
        "levels.ppm": b"P6 1 1 3 \0\1\3",
        "bad-short.pgm": b"P5 3 2 255\n12345",
        "bad-number.pgm": b"P2 2 1 9 1 x",
        "bad-level.pgm": b"P5 2 1 9 \1\n",
        "bad-wrap.pgm": b"P5 4294967297 1 255 1",
        "bad-huge.ppm": b"P6 8192 8192 65535 ",
        "bad-bits.pbm": b"P4 8 1 x",
        "bad-two.pgm": b"P5 1 1 9 \1P5 1 1 9 \1",
        "bad-comment.ppm": b"P6 # no end",
    }
    for name, data in files.items():
        (OUT / name).write_bytes(data)


def resized():
    rng = np.random.default_rng(3)
    cases = [(28, 28, 96, 96), (28, 28, 14, 14), (37, 53, 32, 32), (5, 200, 7, 9), (1, 1, 4, 3), (64, 48, 1, 1),
             (9, 9, 9, 20), (300, 7, 16, 16), (3, 3, 2, 5)]
    for i, (h, w, oh, ow) in enumerate(cases):
        x = rng.integers(0, 256, (h, w)).astype(np.float64)
        y = torch.nn.functional.interpolate(torch.tensor(x)[None, None], (oh, ow), mode="bilinear", antialias=True,
                                            align_corners=False)
        tensors[f"resize.{i}.x"], tensors[f"resize.{i}.y"] = x, y[0, 0].numpy()


OUT.mkdir(exist_ok=True)
good()
bad()
netpbm()
resized()
write(HERE / "images.safetensors", tensors)
