# SPDX-License-Identifier: MIT
"""Short trainings of small nets in PyTorch, in float64, in nets.safetensors: every kind of layer with every option,
at odd shapes and batch sizes, beside others. What tests/test_golden_nets.c compares ours with.

Run by hand, in this folder. README.md says what the file holds.
"""

import numpy
import torch
from torch import nn

import golden_file

LEARNING_RATE = 0.1

# name, batch size, samples, epochs, net
CASES = [
    ("linear", 16, 33, 3,
     "input 1 3 5; flatten; linear 4"),
    ("linear_one_by_one", 1, 7, 2,
     "input 2 3 1; flatten; linear 5 bias=no; sigmoid; linear 3"),
    ("mlp_bn", 13, 42, 3,
     "input 1 4 5; flatten; linear 9; batchnorm; sigmoid; linear 7 bias=no; batchnorm; sigmoid; linear 5"),
    ("conv_strides", 17, 50, 2,
     "input 2 9 7; conv2d 5 kernel=3 padding=1 stride=2; sigmoid; conv2d 4 kernel=3 stride=2 padding=2 "
     "bias=no; batchnorm; sigmoid; conv2d 7 kernel=1; sigmoid; flatten; linear 3"),
    ("conv_wide", 20, 52, 2,
     "input 3 6 7; conv2d 17 kernel=3; batchnorm; sigmoid; conv2d 13 kernel=3 padding=1; batchnorm; "
     "sigmoid; flatten; linear 10"),
    ("conv_k1_k2_k4", 9, 27, 2,
     "input 2 6 5; conv2d 3 kernel=2; sigmoid; conv2d 6; sigmoid; conv2d 5 kernel=4 padding=2; sigmoid; "
     "flatten; linear 4"),
    ("pools", 16, 49, 2,
     "input 1 14 11; conv2d 4 kernel=2; batchnorm; sigmoid; avgpool 3 stride=2; conv2d 5 kernel=2; "
     "sigmoid; avgpool 2 stride=1; flatten; linear 4"),
    ("pools_leftover", 8, 31, 2,
     "input 2 9 11; conv2d 3 kernel=1; batchnorm; sigmoid; avgpool 2; conv2d 5 kernel=2 padding=1; "
     "batchnorm; sigmoid; avgpool 3; flatten; linear 3"),
    ("pool_order", 11, 30, 2,
     "input 2 8 6; avgpool 2; conv2d 4 kernel=3 padding=1; avgpool 2 stride=1; batchnorm; sigmoid; "
     "batchnorm; avgpool 1; flatten; batchnorm; linear 4"),
    ("bn_first", 12, 36, 2,
     "input 3 4 4; batchnorm; conv2d 5 kernel=3; batchnorm; batchnorm; sigmoid; sigmoid; flatten; linear "
     "4; batchnorm"),
    ("bn_numbers", 10, 35, 3,
     "input 1 6 5; conv2d 4 kernel=3; batchnorm eps=0.001 momentum=0.3; sigmoid; conv2d 4 kernel=2; "
     "batchnorm eps=0 momentum=1; sigmoid; flatten; linear 6; batchnorm momentum=cumulative; sigmoid; "
     "linear 4"),
    ("bn_population", 9, 20, 2,
     "input 1 5 5; conv2d 4 kernel=3; batchnorm moving_variance=population; sigmoid; flatten; linear 6; "
     "batchnorm moving_variance=population; sigmoid; linear 3"),
    ("bn_no_affine", 14, 33, 2,
     "input 2 5 5; conv2d 5 kernel=3 bias=no; batchnorm affine=no; sigmoid; avgpool 3; flatten; linear 6; "
     "batchnorm affine=no; sigmoid; linear 4"),
    ("bn_untracked", 8, 24, 2,
     "input 2 5 4; conv2d 5 kernel=2; batchnorm tracking=no; sigmoid; flatten; linear 4"),
    ("bn_frozen", 15, 32, 2,
     "input 2 6 6; conv2d 4 kernel=3; batchnorm use_moving=yes hold_moving=yes hold_affine=yes; sigmoid; "
     "avgpool 2; flatten; linear 7; batchnorm use_moving=yes hold_moving=yes; sigmoid; linear 5"),
    ("bn_frozen_one_by_one", 1, 5, 2,
     "input 2 4 4; conv2d 4 kernel=4; batchnorm use_moving=yes hold_moving=yes; sigmoid; flatten; linear 3"),
    ("bn_held", 10, 24, 2,
     "input 2 5 5; conv2d 4 kernel=2; batchnorm hold_moving=yes; sigmoid; avgpool 2; flatten; linear 5; "
     "batchnorm hold_affine=yes; sigmoid; linear 3"),
    ("layernorm", 7, 23, 3,
     "input 2 5 4; conv2d 3 kernel=2; layernorm; sigmoid; flatten; linear 6; layernorm affine=no; sigmoid; "
     "linear 5; layernorm eps=0.001; linear 4"),
    ("relu_maxpool", 19, 50, 2,
     "input 2 11 10; conv2d 6 kernel=3 padding=1 bias=no; batchnorm; relu; maxpool 3 stride=2 padding=1; conv2d 7 "
     "kernel=3 padding=1; batchnorm; relu; maxpool 3; flatten; linear 4"),
    ("relu_globalavgpool", 16, 48, 2,
     "input 1 10 10; conv2d 5 kernel=3; batchnorm; relu; conv2d 6 kernel=3 padding=1 bias=no; batchnorm; relu; "
     "globalavgpool; flatten; linear 4"),
    ("maxpool_first", 9, 31, 2,
     "input 2 8 9; maxpool 2 stride=1; conv2d 4 kernel=3; maxpool 2; relu; batchnorm; globalavgpool; conv2d 5; relu; "
     "flatten; linear 3"),
    ("conv_pairs", 18, 50, 2,
     "input 2 11 9; conv2d 6 kernel=3x2 padding=1x0 stride=1x2; batchnorm; relu; conv2d 8 kernel=3 padding=2 "
     "dilation=2 groups=2 bias=no; batchnorm; relu; avgpool 3x2 stride=2 padding=1x0; flatten; linear 4"),
    ("conv_depthwise", 9, 31, 2,
     "input 3 10 10; conv2d 6; relu; conv2d 6 kernel=3 padding=1 groups=6 bias=no; batchnorm; relu; conv2d 12 kernel=3 "
     "stride=2 groups=6; sigmoid; maxpool 2x3 stride=2x1 padding=1; avgpool 2 stride=1 padding=1 count_include_pad=no; "
     "flatten; linear 3"),
    ("leaky_relu_tanh", 17, 50, 2,
     "input 2 10 9; conv2d 6 kernel=3; batchnorm; leaky_relu; maxpool 2; conv2d 5 kernel=2; tanh; avgpool 2; "
     "leaky_relu negative_slope=0.3; flatten; linear 7; batchnorm; tanh; linear 4"),
    ("gelu", 18, 50, 2,
     "input 2 10 9; conv2d 6 kernel=3; batchnorm; gelu; maxpool 2; conv2d 5 kernel=2; gelu; avgpool 2; flatten; "
     "linear 7; batchnorm; gelu; linear 6; gelu; linear 4"),
    ("gelu_by_tanh", 9, 31, 2,
     "input 1 8 8; conv2d 4 kernel=3; gelu approximate=tanh; maxpool 2; conv2d 5 kernel=2; batchnorm; "
     "gelu approximate=tanh; avgpool 2; flatten; linear 3"),
    ("dropout", 18, 50, 3,
     "input 2 9 9; dropout p=0.1; conv2d 6 kernel=3; batchnorm; relu; dropout; conv2d 5 kernel=2; dropout p=0.3; "
     "sigmoid; maxpool 2; flatten; dropout p=0; linear 11; batchnorm; tanh; dropout p=0.2; linear 4"),
]


def philox(seed, use, a, low, high):
    """Philox4x32-10 of arrays: the four words of src/base/random.h's ek_random4, with b = high << 32 | low."""
    x = [numpy.broadcast_to(numpy.asarray(word, numpy.uint64), numpy.broadcast(low, high).shape)
         for word in (low, high, a, use)]
    k0, k1, mask, half = seed & 0xffffffff, seed >> 32, numpy.uint64(0xffffffff), numpy.uint64(32)
    for _ in range(10):
        p0, p1 = numpy.uint64(0xD2511F53) * x[0], numpy.uint64(0xCD9E8D57) * x[2]
        x = [(p1 >> half) ^ x[1] ^ numpy.uint64(k0), p1 & mask, (p0 >> half) ^ x[3] ^ numpy.uint64(k1), p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xffffffff, (k1 + 0xBB67AE85) & 0xffffffff
    return numpy.stack(x, -1)


class KeyedDropout(nn.Module):
    """Dropout whose mask is that of src/op/dropout.h, for seed 0: `epoch` and `samples` are set before each step."""

    def __init__(self, p, layer):
        super().__init__()
        self.p, self.layer = p, layer

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        size = x[0].numel()
        words = philox(0, 4 + 256 * self.layer, self.epoch, numpy.arange((size + 3) // 4)[None, :],
                       self.samples[:, None]).reshape(len(x), -1)[:, :size]
        kept = torch.from_numpy(words >= int(self.p * 2 ** 32)).reshape(x.shape)
        return x * kept / (1 - self.p)


class MovingNorm(nn.Module):
    """Batch norm of a frozen layer in training: normalises with the moving statistics, which it leaves alone."""

    def __init__(self, norm):
        super().__init__()
        for name, value in norm.named_parameters():
            self.register_parameter(name, value)
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)
        self.eps = norm.eps

    def forward(self, x):
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0,
                                        self.eps)


class HeldNorm(MovingNorm):
    """Normalises with the batch's statistics in training, and leaves the moving ones alone."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        return nn.functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class PopulationNorm(HeldNorm):
    """Its moving variance takes the population variance of the batch."""

    def forward(self, x):
        if self.training:
            axes = (0, 2, 3)[:x.dim() - 1]
            with torch.no_grad():
                self.running_mean.mul_(0.9).add_(0.1 * x.mean(axes))
                self.running_var.mul_(0.9).add_(0.1 * x.var(axes, unbiased=False))
                self.num_batches_tracked += 1
        return super().forward(x)


class LiteNorm(nn.Module):
    """Batch norm written out, with or without its division, its centring, gamma and beta. The variance is about the
    mean in either case, and gradients are autograd's."""

    def __init__(self, channels, options):
        super().__init__()
        self.options = options
        self.eps = float(options.get("eps", 1e-5))
        self.tracking = options.get("tracking") != "no"
        for name, switch, start in (("weight", "scale", 1.0), ("bias", "center", 0.0)):
            there = options.get("affine") != "no" and options.get(switch) != "no"
            self.register_parameter(name, nn.Parameter(torch.full((channels,), start)) if there else None)
        if self.tracking:
            self.register_buffer("running_mean", torch.zeros(channels))
            self.register_buffer("running_var", torch.ones(channels))
            self.register_buffer("num_batches_tracked", torch.tensor(0))

    def update(self, mean, var, count):
        if self.options.get("moving_variance") != "population":
            var = var * count / (count - 1)
        self.num_batches_tracked += 1
        momentum = self.options.get("momentum", "0.1")
        weight = 1 / float(self.num_batches_tracked) if momentum == "cumulative" else float(momentum)
        self.running_mean.mul_(1 - weight).add_(weight * mean)
        self.running_var.mul_(1 - weight).add_(weight * var)

    def forward(self, x):
        axes, view = (0, 2, 3)[:x.dim() - 1], (1, -1, 1, 1)[:x.dim()]
        mean = x.mean(axes)
        var = ((x - mean.reshape(view)) ** 2).mean(axes)
        moving = self.tracking and (not self.training or self.options.get("use_moving") == "yes")
        used_mean, used_var = (self.running_mean.clone(), self.running_var.clone()) if moving else (mean, var)
        if self.training and self.tracking and self.options.get("hold_moving") != "yes":
            with torch.no_grad():
                self.update(mean, var, x.numel() // len(mean))
        normalize = self.options.get("normalize", "both")
        y = x if normalize == "deviation" else x - used_mean.reshape(view)
        if normalize != "mean":
            y = y / torch.sqrt(used_var + self.eps).reshape(view)
        y = y if self.weight is None else y * self.weight.reshape(view)
        return y if self.bias is None else y + self.bias.reshape(view)


def batch_norm(shape, options):
    if options.keys() & {"normalize", "scale", "center"}:
        norm = LiteNorm(shape[1], options)
        return norm.requires_grad_(options.get("hold_affine") != "yes")
    momentum = options.get("momentum", "0.1")
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    norm = kind(shape[1], eps=float(options.get("eps", 1e-5)),
                momentum=None if momentum == "cumulative" else float(momentum),
                affine=options.get("affine") != "no", track_running_stats=options.get("tracking") != "no")
    if options.get("use_moving") == "yes":
        assert options["hold_moving"] == "yes"
        norm = MovingNorm(norm)
    elif options.get("hold_moving") == "yes":
        norm = HeldNorm(norm)
    elif options.get("moving_variance") == "population":
        norm = PopulationNorm(norm)
    if options.get("hold_affine") == "yes":
        norm.requires_grad_(False)
    return norm


def pair(options, name, default):
    """An option of rows and columns: "3x5", or "3" for twice the same."""
    numbers = str(options.get(name, default)).split("x")
    return int(numbers[0]), int(numbers[-1])


def build(text):
    """The nn.Sequential of a net's text. Shapes are found by running what is there on zeros."""
    lines = text.splitlines()
    x = torch.zeros(2, *map(int, lines[0].split()[1:]))
    layers = []
    for line in lines[1:]:
        kind, *words = line.split()
        size = words.pop(0) if words and "=" not in words[0] else None
        options = dict(word.split("=") for word in words)
        bias = options.get("bias") != "no"
        if kind == "conv2d":
            layer = nn.Conv2d(x.shape[1], int(size), pair(options, "kernel", 1), pair(options, "stride", 1),
                              pair(options, "padding", 0), pair(options, "dilation", 1),
                              int(options.get("groups", 1)), bias=bias)
        elif kind == "linear":
            layer = nn.Linear(x.shape[1], int(size), bias=bias)
        elif kind == "batchnorm":
            layer = batch_norm(x.shape, options)
        elif kind == "layernorm":
            layer = nn.LayerNorm(x.shape[1:], eps=float(options.get("eps", 1e-5)),
                                 elementwise_affine=options.get("affine") != "no")
        elif kind == "avgpool":
            layer = nn.AvgPool2d(pair({"kernel": size}, "kernel", 1), pair(options, "stride", size),
                                 pair(options, "padding", 0),
                                 count_include_pad=options.get("count_include_pad") != "no")
        elif kind == "maxpool":
            layer = nn.MaxPool2d(pair({"kernel": size}, "kernel", 1), pair(options, "stride", size),
                                 pair(options, "padding", 0))
        elif kind == "globalavgpool":
            layer = nn.AdaptiveAvgPool2d(1)
        elif kind == "leaky_relu":
            layer = nn.LeakyReLU(float(options.get("negative_slope", 0.01)))
        elif kind == "dropout":
            layer = KeyedDropout(float(numpy.float32(options.get("p", 0.5))), len(layers))
        elif kind == "gelu":
            layer = nn.GELU(options.get("approximate", "none"))
        else:
            layer = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "flatten": nn.Flatten}[kind]()
        with torch.no_grad():
            x = layer.eval()(x)
        layers.append(layer)
    return nn.Sequential(*layers), x.shape[1]


def randomize(net):
    """Every tensor away from its usual start, so that no mistake hides behind ones and zeros."""
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape))
        elif value.is_floating_point():
            fan = value[0].numel() if value.dim() > 1 and not key.endswith("bias") else 1
            value.copy_(torch.randn(value.shape) / fan ** 0.5 * (1.5 if fan > 1 else 0.5))
            if fan == 1 and key.endswith("weight"):
                value.add_(1)


def train(text, state, pixels, labels, batch, epochs, dtype):
    net = build(text)[0].to(dtype)
    net.load_state_dict(state)
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=LEARNING_RATE)
    losses = []
    for epoch in range(1, epochs + 1):
        for first in range(0, len(pixels), batch):
            for layer in net:
                layer.epoch, layer.samples = epoch, numpy.arange(first, min(first + batch, len(pixels)))
            loss = nn.functional.cross_entropy(net(pixels[first:first + batch].to(dtype) / 255),
                                               labels[first:first + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        logits = net(pixels.to(dtype) / 255)
    return numpy.array(losses), logits.numpy(), net.state_dict()


def store(cases, tensors, metadata):
    """Trains each of the cases; its numbers go into tensors, its texts into metadata."""
    for name, batch, samples, epochs, lines in cases:
        text = lines.replace("; ", "\n") + "\n"
        net, classes = build(text)
        randomize(net)
        state = {key: value.clone() for key, value in net.state_dict().items()}
        shape = tuple(map(int, text.splitlines()[0].split()[1:]))
        labels = torch.randint(0, classes, (samples,))
        # a class shows as a brightness, so that there is something to learn
        brightness = labels.reshape(-1, 1, 1, 1) * 50 // classes
        pixels = (torch.randint(0, 200, (samples, *shape)) + brightness).to(torch.uint8)
        losses, logits, final = train(text, state, pixels, labels, batch, epochs, torch.float64)
        losses32, logits32, final32 = train(text, state, pixels, labels, batch, epochs, torch.float32)
        metadata[name] = text
        metadata[f"{name}.fit"] = f"fit batch={batch} epochs={epochs} lr={LEARNING_RATE}"
        tensors[f"{name}.pixels"] = pixels.numpy()
        tensors[f"{name}.labels"] = labels.to(torch.uint8).numpy()
        tensors[f"{name}.loss"] = losses
        tensors[f"{name}.logits"] = logits
        far = 0
        for key, value in state.items():
            if value.is_floating_point():
                tensors[f"{name}.init.{key}"] = value.numpy()
                tensors[f"{name}.final.{key}"] = final[key].float().numpy()
                far = max(far, float((final32[key] - final[key]).norm() / final[key].norm()))
            else:
                tensors[f"{name}.final.{key}"] = final[key].numpy()
        print(f"{name:22} {len(losses):3} steps, loss {losses[0]:.3f} to {losses[-1]:.3f}; PyTorch float32: losses "
              f"{numpy.abs(losses32 / losses - 1).max():.1e}, tensors {far:.1e}, "
              f"outputs {numpy.abs(logits32 - logits).max() / numpy.abs(logits).max():.1e}")


def main():
    torch.manual_seed(852)
    torch.set_num_threads(1)
    tensors, metadata = {}, {}
    store(CASES, tensors, metadata)
    golden_file.write("nets.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
