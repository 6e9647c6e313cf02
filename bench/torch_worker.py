#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch's side of the benchmark: BN-LeNet on Fashion-MNIST and residual nets on random images, the data in memory,
driven as README.md describes.

    torch_worker.py --threads 2 --variant hybrid-trace        training, batch 128, shuffled
    torch_worker.py --net resnet-20 --variant channels-last   likewise; or resnet-18, batch 32
    torch_worker.py --threads 1 --predict 256                 prediction, frozen; with --net of resnet-20, too
    torch_worker.py --threads 1 --predict 1 --variant eager   prediction, as the net stands
    torch_worker.py --check                                   every variant against the plain network

Settings that would make PyTorch slower than it can be are avoided: OpenBLAS's own threads fight PyTorch's (left
alone, two threads are slower than one), and glibc gives a step's activations back to the system and faults them in
again. Both are read when a process starts, so this one starts itself anew with them set.
"""

import argparse
import gzip
import os
import sys

from worker import serve

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# Batch and image of each net's training.
TRAINING = {"bn-lenet": (128, (1, 28, 28)), "resnet-20": (128, (3, 32, 32)), "resnet-18": (32, (1, 96, 96))}


def restart_with_environment(threads):
    wanted = dict(ENVIRONMENT, OMP_NUM_THREADS=str(threads))
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def find_data():
    """The folder of Fashion-MNIST, where the library looks for it too."""
    given = os.environ.get("EVENKEEL_DATA")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [f"{given}/fashion-mnist", given] if given else []
    places += [f"{cache}/evenkeel/fashion-mnist", "/usr/share/datasets/fashion-mnist"]
    for place in places:
        for end in (".gz", ""):
            if os.path.exists(f"{place}/train-images-idx3-ubyte{end}"):
                return place
    sys.exit(f"torch_worker: no Fashion-MNIST in {', '.join(places)}")


def read_idx(torch, path):
    with gzip.open(f"{path}.gz") if os.path.exists(f"{path}.gz") else open(path, "rb") as file:
        data = file.read()
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(data[3])]
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=4 + 4 * data[3]).reshape(shape)


def conv3x3(torch, inputs, outputs, stride):
    return torch.nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, bias=False)


def residual(torch, inputs, outputs, stride, shortcut):
    """relu(body(x) + shortcut(x)), He et al. 2015."""
    nn = torch.nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(conv3x3(torch, inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(),
                                      conv3x3(torch, outputs, outputs, 1), nn.BatchNorm2d(outputs))
            self.shortcut = shortcut

        def forward(self, x):
            return torch.relu(self.body(x) + self.shortcut(x))

    return Residual()


def pad_shortcut(torch, stride, channels):
    """Option A: every stride-th pixel, new channels zero."""

    class Pad(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, channels // 2, channels // 2))

    return Pad()


def resnet_20(torch):
    nn = torch.nn
    layers = [conv3x3(torch, 3, 16, 1), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for outputs in (16, 32, 64):
        for block in range(3):
            stride = 2 if outputs > channels else 1
            shortcut = pad_shortcut(torch, stride, outputs - channels) if stride > 1 else nn.Identity()
            layers.append(residual(torch, channels, outputs, stride, shortcut))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet_18(torch):
    """As d2l section 8.6 builds it: biases stay in front of the batch norms, projections where the shape changes."""
    nn = torch.nn
    layers = [nn.Conv2d(1, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    channels = 64
    for outputs in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if outputs > channels else 1
            shortcut = nn.Conv2d(channels, outputs, 1, stride=stride) if stride > 1 else nn.Identity()
            layers.append(residual(torch, channels, outputs, stride, shortcut))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def build(torch, name="bn-lenet"):
    nn = torch.nn
    torch.manual_seed(0)
    if name != "bn-lenet":
        return resnet_20(torch) if name == "resnet-20" else resnet_18(torch)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid(),
        nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(),
        nn.Linear(84, 10))
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
    return net


def hybrid(torch, net):
    """The same layers, each in the memory layout that this PyTorch is fastest in: convolutions and what follows the
    first pooling channels-last (which spares padding one input channel to eight), the first batch norm not (its
    channels-last kernel takes half a step for 6 channels)."""

    class Hybrid(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = net
            for index in (0, 4):
                net[index].to(memory_format=torch.channels_last)

        def forward(self, x):
            x = self.layers[0](x.contiguous(memory_format=torch.channels_last)).contiguous()
            x = self.layers[2](self.layers[1](x))
            x = x.contiguous(memory_format=torch.channels_last)
            return self.layers[3:](x)

    return Hybrid()


def training_step(torch, net, variant, images, labels, batch):
    """A function that runs n steps as an epoch does: a new permutation for each, whole batches of it."""
    if variant.startswith("hybrid"):
        net = hybrid(torch, net)
    layout = torch.channels_last if variant == "channels-last" else torch.contiguous_format
    net.to(memory_format=layout).train()
    if variant.endswith("trace"):
        net = torch.jit.trace(net, images[:batch], check_trace=False)
    options = {} if variant == "eager" else {"foreach": True}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, **options)
    state = {"order": torch.randperm(len(images)), "next": 0}

    def run(steps):
        for _ in range(steps):
            if state["next"] + batch > len(images):
                state["order"], state["next"] = torch.randperm(len(images)), 0
            index = state["order"][state["next"]:state["next"] + batch]
            state["next"] += batch
            loss = torch.nn.functional.cross_entropy(net(images[index].contiguous(memory_format=layout)), labels[index])
            optimizer.zero_grad(set_to_none=bool(options))
            loss.backward()
            optimizer.step()

    return run


def prediction_step(torch, net, batch, images, eager):
    net.eval()
    if not eager:
        # Folds batch norm into the convolutions.
        net = torch.jit.freeze(torch.jit.trace(net, images[:batch], check_trace=False))
    state = {"next": 0}

    def run(steps):
        with torch.inference_mode():
            for _ in range(steps):
                if state["next"] + batch > len(images):
                    state["next"] = 0
                net(images[state["next"]:state["next"] + batch])
                state["next"] += batch

    return run


VARIANTS = ("eager", "foreach", "trace", "channels-last", "hybrid", "hybrid-trace")


def resident(what="VmRSS"):
    """Bytes of memory this process has, or has had at most ("VmHWM")."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(what))


def check(torch, images, labels):
    """Ten steps of every variant end at the same weights."""
    expected = None
    for variant in VARIANTS:
        net = build(torch)
        run = training_step(torch, net, variant, images, labels, TRAINING["bn-lenet"][0])
        torch.manual_seed(1)
        run(10)
        values = torch.cat([parameter.detach().contiguous().flatten() for parameter in net.parameters()])
        expected = values if expected is None else expected
        difference = (values - expected).abs().max().item()
        print(f"{variant:14} {difference:.1e}")
        if not difference < 1e-4:
            sys.exit(f"torch_worker: variant {variant} computes something else")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--net", choices=TRAINING, default="bn-lenet")
    parser.add_argument("--variant", choices=VARIANTS, default="hybrid-trace")
    parser.add_argument("--predict", type=int, metavar="BATCH", help="prediction instead of training")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.net != "bn-lenet" and not options.predict and (
            options.check or options.variant.startswith("hybrid")):
        parser.error("residual nets are trained in the variants eager, foreach, trace and channels-last")
    restart_with_environment(options.threads)

    import torch
    torch.set_num_threads(options.threads)
    batch, shape = TRAINING[options.net]
    if options.net == "bn-lenet":
        data = find_data()
        images = read_idx(torch, f"{data}/train-images-idx3-ubyte").unsqueeze(1).float() / 255
        labels = read_idx(torch, f"{data}/train-labels-idx1-ubyte").long()
    else:
        images, labels = torch.rand(8 * batch, *shape), torch.arange(8 * batch) % 10
    if options.check:
        check(torch, images, labels)
        return
    before = resident()
    if options.predict:
        batch = options.predict
        run = prediction_step(torch, build(torch, options.net), batch, images, options.variant == "eager")
    else:
        run = training_step(torch, build(torch, options.net), options.variant, images, labels, batch)
    run(20 if options.net == "bn-lenet" else 3)  # the tracing executor settles in the first calls
    serve(run, batch, "image", resident("VmHWM") - before)


if __name__ == "__main__":
    main()
