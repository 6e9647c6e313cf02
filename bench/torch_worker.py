#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch's side of the benchmark: BN-LeNet on Fashion-MNIST, the data in memory, driven as README.md describes.

    torch_worker.py --threads 2 --variant hybrid-trace        training, batch 128, shuffled
    torch_worker.py --threads 1 --predict 256                 prediction, frozen
    torch_worker.py --check                                   every variant against the plain network

Settings that would make PyTorch slower than it can be are avoided: OpenBLAS's own threads fight PyTorch's (left
alone, two threads are slower than one), and glibc gives a step's activations back to the system and faults them in
again. Both are read when a process starts, so this one starts itself anew with them set.
"""

import argparse
import gzip
import os
import sys
import time

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
BATCH = 128


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


def build(torch):
    nn = torch.nn
    torch.manual_seed(0)
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


def training_step(torch, net, variant, images, labels):
    """A function that runs n steps as an epoch does: a new permutation for each, whole batches of it."""
    if variant.startswith("hybrid"):
        net = hybrid(torch, net)
    net.train()
    if variant.endswith("trace"):
        net = torch.jit.trace(net, images[:BATCH], check_trace=False)
    options = {} if variant == "eager" else {"foreach": True}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, **options)
    state = {"order": torch.randperm(len(images)), "next": 0}

    def run(steps):
        for _ in range(steps):
            if state["next"] + BATCH > len(images):
                state["order"], state["next"] = torch.randperm(len(images)), 0
            index = state["order"][state["next"]:state["next"] + BATCH]
            state["next"] += BATCH
            loss = torch.nn.functional.cross_entropy(net(images[index]), labels[index])
            optimizer.zero_grad(set_to_none=bool(options))
            loss.backward()
            optimizer.step()

    return run


def prediction_step(torch, net, batch, images):
    net.eval()
    net = torch.jit.freeze(torch.jit.script(net))  # folds batch norm into the convolutions
    state = {"next": 0}

    def run(steps):
        with torch.inference_mode():
            for _ in range(steps):
                if state["next"] + batch > len(images):
                    state["next"] = 0
                net(images[state["next"]:state["next"] + batch])
                state["next"] += batch

    return run


VARIANTS = ("eager", "foreach", "trace", "hybrid", "hybrid-trace")


def check(torch, images, labels):
    """Ten steps of every variant end at the same weights."""
    expected = None
    for variant in VARIANTS:
        net = build(torch)
        run = training_step(torch, net, variant, images, labels)
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
    parser.add_argument("--variant", choices=VARIANTS, default="hybrid-trace")
    parser.add_argument("--predict", type=int, metavar="BATCH", help="prediction instead of training")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    restart_with_environment(options.threads)

    import torch
    torch.set_num_threads(options.threads)
    data = find_data()
    images = read_idx(torch, f"{data}/train-images-idx3-ubyte").unsqueeze(1).float() / 255
    labels = read_idx(torch, f"{data}/train-labels-idx1-ubyte").long()
    if options.check:
        check(torch, images, labels)
        return
    if options.predict:
        run, batch = prediction_step(torch, build(torch), options.predict, images), options.predict
    else:
        run, batch = training_step(torch, build(torch), options.variant, images, labels), BATCH
    run(20)  # the tracing executor settles in the first calls

    print("ready", batch, "image", flush=True)
    for line in sys.stdin:
        word, steps = line.split()
        assert word == "go"
        start = time.perf_counter()
        run(int(steps))
        print(f"{time.perf_counter() - start:.6f}", flush=True)


if __name__ == "__main__":
    main()
