# SPDX-License-Identifier: MIT
"""Training of residual nets of 8, 20 and 110 layers and of one with branches in PyTorch, in float64: what
tests/test_golden_residual.c compares ours with.

Run by hand, in this folder. First weights, images and labels come from a formula that the test computes too, so that
the file holds the nets' texts and the results alone."""

import numpy
import torch
from torch import nn

import golden_file

SAMPLES, BATCH, EPOCHS, CLASSES = 100, 20, 5, 5
RATES = {"residual-110": 0.0001}  # others 0.02; a deep net's rounding errors grow with what a step changes


class Residual(nn.Module):
    def __init__(self, body, shortcut, pad, stride):
        super().__init__()
        self.body, self.shortcut = body, shortcut
        self.pad, self.stride = pad, stride

    def forward(self, x):
        y = self.body(x)
        x = self.shortcut(x)
        if self.pad:
            x = nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return y + x


class Concat(nn.Module):
    def __init__(self, branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def layer_of(name, words, options, x):
    """The module of one line; x is an example of its input."""
    size = int(words[0]) if words else 0
    number = {key: int(value) for key, value in options.items() if value.isdigit()}
    channels = x.shape[1]
    if name == "conv2d":
        return nn.Conv2d(channels, size, number.get("kernel", 1), number.get("stride", 1), number.get("padding", 0),
                         bias=options.get("bias") != "no")
    if name == "batchnorm":
        return nn.BatchNorm2d(channels) if x.dim() == 4 else nn.BatchNorm1d(channels)
    return {"linear": lambda: nn.Linear(channels, size), "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "flatten": nn.Flatten,
            "globalavgpool": lambda: nn.AdaptiveAvgPool2d(1),
            "maxpool": lambda: nn.MaxPool2d(size, number.get("stride", size), number.get("padding", 0)),
            "avgpool": lambda: nn.AvgPool2d(size, number.get("stride", size))}[name]()


def sequence(lines, x):
    """The layers up to the next closing brace, which is taken and returned."""
    modules = []
    while lines:
        words = lines.pop(0).split()
        if words[0] == "}":
            return nn.Sequential(*modules), x, words
        options = dict(word.split("=") for word in words if "=" in word)
        plain = [word for word in words[1:] if "=" not in word and word != "{"]
        if words[0] == "residual":
            body, _, end = sequence(lines, x)
            shortcut = sequence(lines, x)[0] if "shortcut" in end else nn.Sequential()
            module = Residual(body, shortcut, options.get("shortcut") == "pad", int(options.get("stride", 1)))
        elif words[0] == "concat":
            branches = []
            while lines.pop(0).split()[0] == "branch":
                branches.append(sequence(lines, x)[0])
            module = Concat(branches)
        else:
            module = layer_of(words[0], plain, options, x)
        modules.append(module.eval())
        x = module(x)
    return nn.Sequential(*modules), x, []


def net_of(text):
    lines = text.splitlines()
    shape = [int(word) for word in lines.pop(0).split()[1:]]
    return sequence(lines, torch.zeros(2, *shape))[0]


# ---- The nets -------------------------------------------------------------------------------------------------------

def conv(channels, stride=1):
    return [f"conv2d {channels} kernel=3 padding=1{' stride=2' if stride == 2 else ''} bias=no"]


def residual(channels, stride, projected):
    begin = "residual {" if stride == 1 or projected else "residual shortcut=pad stride=2 {"
    end = ["}"]
    if projected and stride == 2:
        end = ["} shortcut {", f"conv2d {channels} stride=2 bias=no", "batchnorm", "}"]
    return [begin, *conv(channels, stride), "batchnorm", "relu", *conv(channels), "batchnorm", *end, "relu"]


def resnet(depth, channels, projected):
    lines = ["input 3 8 8", *conv(channels), "batchnorm", "relu"]
    for stage in range(3):
        for block in range((depth - 2) // 6):
            lines += residual(channels << stage, 2 if stage > 0 and block == 0 else 1, projected)
    return "\n".join(lines + ["globalavgpool", "flatten", f"linear {CLASSES}"]) + "\n"


BRANCHES = f"""input 3 8 8
conv2d 6 kernel=3 padding=1
batchnorm
relu
concat {{
branch {{
conv2d 4
relu
}}
branch {{
conv2d 3
batchnorm
relu
conv2d 5 kernel=3 padding=1
batchnorm
relu
}}
branch {{
maxpool 3 padding=1 stride=1
conv2d 2
}}
branch {{
}}
}}
batchnorm
relu
residual {{
batchnorm
relu
conv2d 17 kernel=3 padding=1
}}
maxpool 2
flatten
concat {{
branch {{
linear 8
sigmoid
}}
branch {{
linear 4
}}
}}
linear {CLASSES}
"""

NETS = {"residual-8": resnet(8, 4, False), "residual-20": resnet(20, 4, True), "residual-110": resnet(110, 2, False),
        "branches": BRANCHES}


# ---- The formula ----------------------------------------------------------------------------------------------------

def uniform(stream, count):
    """Numbers of [-1, 1) with 24 bits, a hash of stream and index."""
    with numpy.errstate(over="ignore"):
        x = numpy.arange(count, dtype=numpy.uint32) + numpy.uint32(0x9e3779b9) * numpy.uint32(stream + 1)
        for shift, factor in ((16, 0x7feb352d), (15, 0x846ca68b)):
            x ^= x >> numpy.uint32(shift)
            x *= numpy.uint32(factor)
        x ^= x >> numpy.uint32(16)
    return (x >> numpy.uint32(8)).astype(numpy.float64) * 2.0 ** -23 - 1


def initial_state(net):
    state = {}
    for stream, (key, value) in enumerate(net.state_dict().items()):
        u = uniform(stream, value.numel()).reshape(value.shape)
        if key.endswith("running_var"):
            u = numpy.ones(value.shape)
        elif key.endswith(("running_mean", "num_batches_tracked")):
            u = numpy.zeros(value.shape)
        elif value.dim() > 1:
            u = u * numpy.sqrt((6.0 if value.dim() > 2 else 1.0) / (value.numel() // value.shape[0]))
        else:
            norm = key.replace("weight", "running_var").replace("bias", "running_var") in net.state_dict()
            u = 0.25 * u + (0.5 if norm and key.endswith("weight") else 0.0)
        state[key] = torch.from_numpy(u.astype(numpy.float32)).to(value.dtype)
    return state


def data():
    pixels = numpy.floor((uniform(1000, SAMPLES * 192) + 1) * 128).astype(numpy.uint8).reshape(SAMPLES, 3, 8, 8)
    labels = numpy.floor((uniform(1001, SAMPLES) + 1) * 0.5 * CLASSES).astype(numpy.int64)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def train(text, rate, dtype):
    net = net_of(text).to(dtype)
    net.load_state_dict(initial_state(net))
    net.train()
    images, labels = data()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    losses = []
    for _ in range(EPOCHS):
        for first in range(0, SAMPLES, BATCH):
            loss = nn.functional.cross_entropy(net(images[first:first + BATCH].to(dtype) / 255),
                                               labels[first:first + BATCH])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    net.eval()
    with torch.inference_mode():
        logits = net(images.to(dtype) / 255)
    return numpy.array(losses), net.state_dict(), logits.double().numpy()


def distance(a, exact):
    off = numpy.linalg.norm((a.double() - exact.double()).ravel())
    return float(off / max(numpy.linalg.norm(exact.ravel()), 1e-30))


def main():
    torch.set_num_threads(1)
    results, texts = {}, {"torch": torch.__version__, "numpy": numpy.__version__}
    for name, text in NETS.items():
        losses, state, logits = train(text, RATES.get(name, 0.02), torch.float64)
        losses32, state32, logits32 = train(text, RATES.get(name, 0.02), torch.float32)
        texts[f"{name}.net"] = text
        results[f"{name}.loss"] = losses
        results[f"{name}.loss32"] = losses32
        results[f"{name}.logits"] = logits
        results[f"{name}.logits32"] = numpy.array(numpy.abs(logits32 - logits).max() / numpy.abs(logits).max())
        distances = []
        for key, value in state.items():
            results[f"{name}.state.{key}"] = (value.float() if value.is_floating_point() else value).numpy()
            distances.append(distance(state32[key], value) if value.is_floating_point() else 0.0)
        results[f"{name}.state32"] = numpy.array(distances)
        print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}; float32 is off by "
              f"{numpy.abs(losses32 / losses - 1).max():.1e} in losses, {max(distances):.1e} in tensors, "
              f"{results[name + '.logits32']:.1e} in logits")
    golden_file.write("residual.safetensors", results, texts)


if __name__ == "__main__":
    main()
