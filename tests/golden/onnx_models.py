# SPDX-License-Identifier: MIT
"""Small PyTorch models whose exports cover what is read of ONNX: name -> (module, shape of a sample)."""
import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self, body, shortcut=None, first=True):
        super().__init__()
        self.body, self.shortcut, self.first = body, shortcut or nn.Sequential(), first

    def forward(self, x):
        return self.body(x) + self.shortcut(x) if self.first else self.shortcut(x) + self.body(x)


class Pad(nn.Module):
    """Option A of He et al. 2015."""

    def __init__(self, stride, more):
        super().__init__()
        self.stride, self.more = stride, more

    def forward(self, x):
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.more))


class Concat(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Normalize(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


def bn_lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(256, 20), nn.BatchNorm1d(20), nn.Sigmoid(), nn.Linear(20, 10))


def residual():
    def body(i, o, stride):
        return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
                             nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o))
    project = nn.Sequential(nn.Conv2d(6, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        Residual(body(4, 4, 1)), nn.ReLU(), Residual(body(4, 6, 2), Pad(2, 2)), nn.ReLU(),
        Residual(body(6, 8, 2), project), nn.ReLU(), Residual(body(8, 8, 1), first=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def branches():
    inner = Residual(nn.Sequential(nn.Conv2d(5, 5, 1), Concat(nn.Conv2d(5, 2, 1), nn.Conv2d(5, 3, 3, padding=1))))
    return nn.Sequential(
        Concat(nn.Conv2d(2, 3, 3, padding=1), nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(2, 2, 1)), nn.Identity()),
        nn.Conv2d(7, 5, 1), inner, Call(torch.relu), Call(lambda x: x.mean((2, 3))), nn.Linear(5, 4))


def activations():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 1), nn.GELU("tanh"), nn.Conv2d(4, 4, 1), nn.LeakyReLU(0.1),
        nn.Conv2d(4, 4, 1), nn.Tanh(), Call(lambda x: torch.clamp(x, min=0)), nn.PReLU(init=0.2), nn.Dropout(0.3),
        Call(lambda x: x.view(x.size(0), -1)), nn.Linear(64, 6), Call(lambda x: torch.max(x, 0.3 * x)),
        Call(lambda x: 0.5 * x * (1 + torch.erf(x / 2 ** 0.5))), nn.Linear(6, 3), nn.Softmax(1))


def norms():
    return nn.Sequential(
        Normalize([0.5, 0.4, 0.3], [0.25, 0.5, 0.75]), nn.Conv2d(3, 4, 3, stride=2), nn.LayerNorm([4, 4, 4]),
        nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.LayerNorm(64),
        nn.Linear(64, 5, bias=False), nn.BatchNorm1d(5), nn.LayerNorm(5), nn.Linear(5, 3))


def plain_norms():
    """Below opset 17: PyTorch 1.13 writes a layer norm without scale there, which its own checker refuses."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 3, 3], elementwise_affine=False, eps=1e-6), nn.Flatten(),
                         nn.LayerNorm(18, elementwise_affine=False), nn.Linear(18, 3))


def windows():
    return nn.Sequential(
        nn.ZeroPad2d(1), nn.Conv2d(2, 4, (3, 2), (2, 1), groups=2), nn.AvgPool2d(2, 1, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Conv2d(4, 4, 3, dilation=2, padding=(2, 1)),
        nn.MaxPool2d((2, 1)), Call(lambda x: x * 2 - 0.25), nn.Flatten(), nn.Linear(12, 3))


def sums():
    """Sums of three, in a row, and in each other."""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)
            self.head = nn.Linear(32, 3)

        def forward(self, x):
            y = self.a(x) + self.b(x) + x
            y = y + self.c(torch.sigmoid(y) + y)
            return self.head(y.flatten(1))
    return Net()


MODELS = {
    "bn-lenet": (bn_lenet, (1, 28, 28)),
    "residual": (residual, (3, 12, 10)),
    "branches": (branches, (2, 6, 7)),
    "activations": (activations, (2, 6, 6)),
    "norms": (norms, (3, 9, 9)),
    "plain-norms": (plain_norms, (1, 5, 5)),
    "windows": (windows, (2, 9, 7)),
    "sums": (sums, (2, 4, 4)),
}


def make(name):
    """The model with statistics and gammas of its own, in evaluation."""
    build, shape = MODELS[name]
    torch.manual_seed(sum(map(ord, name)))
    model = build()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval(), shape


def export(model, shape, path, opset, training=False, fixed=False, folded=True):
    """PyTorch's exporter; `training`: batch norms stay by themselves."""
    modes = torch.onnx.TrainingMode
    names = {} if fixed else dict(dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    torch.onnx.export(model, torch.zeros((1,) + shape), path, opset_version=opset, input_names=["x"],
                      output_names=["y"], training=modes.PRESERVE if training else modes.EVAL,
                      do_constant_folding=folded, **names)


def logits(model):
    """The model without a softmax at its end."""
    return model[:-1] if isinstance(model, nn.Sequential) and isinstance(model[-1], nn.Softmax) else model
