# SPDX-License-Identifier: MIT
"""Whole training runs in PyTorch, in float64, from float32 weights: what tests/test_parity.c compares ours with.

Run by hand, in this folder; README.md has the command, the versions and the results. Everything is deterministic:
one thread, samples in file order.
"""

import argparse
import gzip
import time

import numpy
import torch
from torch import nn

import golden_file

EVAL_LOGITS = 100  # test images whose outputs are kept


class ScratchBatchNorm(nn.Module):
    """The book's BatchNorm: its moving variance takes the population variance of the batch, not the unbiased one.
    Named as PyTorch names it, so that states compare."""

    def __init__(self, features, dims):
        super().__init__()
        self.shape = (1, features) if dims == 2 else (1, features, 1, 1)
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.axes = (0,) if dims == 2 else (0, 2, 3)

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean = x.mean(dim=self.axes)
            var = ((x - mean.reshape(self.shape)) ** 2).mean(dim=self.axes)
            with torch.no_grad():
                self.running_mean.mul_(0.9).add_(0.1 * mean)
                self.running_var.mul_(0.9).add_(0.1 * var)
                self.num_batches_tracked += 1
        x_hat = (x - mean.reshape(self.shape)) / torch.sqrt(var.reshape(self.shape) + 1e-5)
        return self.weight.reshape(self.shape) * x_hat + self.bias.reshape(self.shape)


def bn_lenet(norm1d, norm2d):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), norm2d(6), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), norm2d(16), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(256, 120), norm1d(120), nn.Sigmoid(),
        nn.Linear(120, 84), norm1d(84), nn.Sigmoid(),
        nn.Linear(84, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10))


NETS = {
    "bn-lenet": lambda: bn_lenet(nn.BatchNorm1d, nn.BatchNorm2d),
    "bn-lenet-scratch": lambda: bn_lenet(lambda c: ScratchBatchNorm(c, 2), lambda c: ScratchBatchNorm(c, 4)),
    "lenet": lenet,
}


def read_idx(path):
    data = gzip.open(path).read()
    dims = data[3]
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(dims)]
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * dims).reshape(shape)


def load_split(folder, prefix):
    images = read_idx(f"{folder}/{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(f"{folder}/{prefix}-labels-idx1-ubyte.gz")
    return torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(numpy.int64))


def initial_state(name):
    torch.manual_seed(0)
    net = NETS[name]()
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
    return {key: value.clone() for key, value in net.state_dict().items()}


def train(name, state, images, labels, batch, dtype):
    """One epoch of plain SGD, learning rate 0.1, in file order; the last, smaller batch is kept."""
    net = NETS[name]().to(dtype)
    net.load_state_dict(state)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for first in range(0, len(images), batch):
        x = images[first:first + batch].to(dtype) / 255
        loss = nn.functional.cross_entropy(net(x), labels[first:first + batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return numpy.array(losses), {key: value.clone() for key, value in net.state_dict().items()}


def evaluate(name, state, images, labels):
    net = NETS[name]().to(torch.float64)
    net.load_state_dict(state)
    net.eval()
    with torch.inference_mode():
        logits = torch.cat([net(part.to(torch.float64) / 255) for part in images.split(500)])
    loss = nn.functional.cross_entropy(logits, labels).item()
    return loss, int((logits.argmax(1) == labels).sum()), logits[:EVAL_LOGITS].numpy()


def as_float32(state):
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def as_numpy(state):
    return {key: value.numpy() for key, value in state.items()}


def distance(ours, exact):
    difference = numpy.linalg.norm((ours.double() - exact).numpy().ravel())
    return difference / numpy.linalg.norm(exact.numpy().ravel())


def report(name, batch, losses, losses32, state, state32):
    print(f"\n{name}, batch {batch}: {len(losses)} steps, last loss {losses[-1]:.6f}; "
          f"PyTorch float32: worst of the first 25 losses {numpy.abs(losses32 / losses - 1)[:25].max():.1e}, "
          f"of all {numpy.abs(losses32 / losses - 1).max():.1e}")
    for key, value in state.items():
        if value.is_floating_point():
            print(f"    {key:20} {distance(state32[key], value):.1e}")
        else:
            assert value == state32[key] == len(losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    folder = parser.parse_args().data
    torch.set_num_threads(1)
    images, labels = load_split(folder, "train")
    test_images, test_labels = load_split(folder, "t10k")

    initial = {}
    for name in ("bn-lenet", "lenet"):
        initial[name] = initial_state(name)
        golden_file.write(f"{name}.init.safetensors", as_numpy(initial[name]))
    initial["bn-lenet-scratch"] = initial["bn-lenet"]

    results, finals = {}, {}
    for name, batch in (("bn-lenet", 128), ("bn-lenet", 97), ("bn-lenet", 1000), ("bn-lenet-scratch", 128),
                        ("lenet", 128)):
        start = time.time()
        losses, state = train(name, initial[name], images, labels, batch, torch.float64)
        losses32, state32 = train(name, initial[name], images, labels, batch, torch.float32)
        report(name, batch, losses, losses32, state, state32)
        run = f"{name}.b{batch}"
        finals[run] = state
        stored = as_float32(state)
        # what is evaluated is what is stored, so that the test can load it
        loss, correct, logits = evaluate(name, stored, test_images, test_labels)
        results[f"{run}.loss"] = losses
        results[f"{run}.eval_loss"] = numpy.array(loss)
        results[f"{run}.eval_correct"] = numpy.array(correct)
        results[f"{run}.eval_logits"] = logits
        print(f"    test loss {loss:.6f}, right {correct} ({time.time() - start:.0f} s)", flush=True)
        if name == "bn-lenet-scratch":
            concise = finals["bn-lenet.b128"]
            for key, value in state.items():
                if key.endswith("running_var"):
                    print(f"    {key}: {distance(value, concise[key]):.1e} from bn-lenet's")
                else:  # the same mathematics in another order of float64 operations
                    assert torch.allclose(value, concise[key], rtol=1e-9, atol=1e-11), key
            # a stored tensor is bn-lenet's unless it is here
            stored = {key: value for key, value in stored.items() if key.endswith("running_var")}
        golden_file.write(f"{run}.safetensors", as_numpy(stored))
    golden_file.write("runs.safetensors", results, {
        "torch": torch.__version__, "numpy": numpy.__version__,
        "recipe": "one epoch in file order, pixels/255, SGD learning rate 0.1, mean cross-entropy, float64",
    })


if __name__ == "__main__":
    main()
