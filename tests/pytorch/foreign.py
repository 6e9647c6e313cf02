# SPDX-License-Identifier: MIT
"""A residual net as others write it, with their names: `foreign.py save FILE` saves what nn.DataParallel makes of its
state_dict, with an input and the outputs in FILE.seen; `foreign.py text` prints the same net in Evenkeel's language."""
import pathlib
import sys

import torch
from torch import nn

try:
    from safetensors.torch import save_file
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from safetensors.torch import save_file

TEXT = """input 3 12 12
conv2d 8 kernel=3 padding=1 bias=no
batchnorm
relu
residual {
    conv2d 8 kernel=3 padding=1 bias=no
    batchnorm
    relu
    conv2d 8 kernel=3 padding=1 bias=no
    batchnorm
}
relu
residual {
    conv2d 16 kernel=3 padding=1 stride=2 bias=no
    batchnorm
    relu
    conv2d 16 kernel=3 padding=1 bias=no
    batchnorm
} shortcut {
    conv2d 16 stride=2 bias=no
    batchnorm
}
relu
globalavgpool
flatten
linear 10
"""


class BasicBlock(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None if before == channels else nn.Sequential(
            nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.layer1, self.layer2 = nn.Sequential(BasicBlock(8, 8, 1)), nn.Sequential(BasicBlock(8, 16, 2))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def save(path):
    torch.manual_seed(0)
    net = nn.DataParallel(ResNet())
    for _ in range(3):
        net(torch.randn(16, 3, 12, 12))
    save_file(net.state_dict(), path)
    torch.save(net.state_dict(), path + ".pth")
    with torch.inference_mode():
        x = torch.rand(5, 3, 12, 12)
        save_file({"x": x, "logits": net.module.eval()(x)}, path + ".seen")


if sys.argv[1] == "save":
    save(sys.argv[2])
else:
    print(TEXT, end="")
