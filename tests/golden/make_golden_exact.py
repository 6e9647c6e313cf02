# SPDX-License-Identifier: MIT
"""Exact statistics of batch norms in PyTorch, in float64: layer after layer, a hook catches a norm's input over all
images, in evaluation with the statistics found so far; its mean and variance become the moving ones.

Run by hand, in this folder. README.md says what exact.safetensors holds.
"""

import torch

import golden_file
import make_golden_nets

# name, images, net
NETS = [
    ("bn_lenet", 70,
     "input 1 20 20; conv2d 6 kernel=5; batchnorm; sigmoid; avgpool 2; conv2d 16 kernel=5; batchnorm; sigmoid; "
     "avgpool 2; flatten; linear 30; batchnorm; sigmoid; linear 20; batchnorm; sigmoid; linear 10"),
    ("options", 45,
     "input 2 9 8; batchnorm; conv2d 5 kernel=3; batchnorm moving_variance=population; relu; dropout p=0.4; "
     "maxpool 2; conv2d 6 kernel=2; batchnorm use_moving=yes hold_moving=yes; gelu; conv2d 7; "
     "batchnorm normalize=mean; tanh; flatten; linear 9; batchnorm normalize=deviation; sigmoid; linear 5; batchnorm"),
]


def measure(net, x):
    """The input of each layer of `net` that has moving statistics to replace, when its turn comes."""
    for layer in net:
        if not hasattr(layer, "running_mean") or isinstance(layer, make_golden_nets.MovingNorm) and not isinstance(
                layer, make_golden_nets.PopulationNorm):
            continue
        seen = []
        hook = layer.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            net(x)
        hook.remove()
        axes = (0, 2, 3)[:seen[0].dim() - 1]
        layer.running_mean.copy_(seen[0].mean(axes))
        layer.running_var.copy_(seen[0].var(axes, unbiased=not isinstance(layer, make_golden_nets.PopulationNorm)))


def main():
    torch.manual_seed(2021)
    torch.set_num_threads(1)
    tensors, metadata = {}, {}
    for name, count, lines in NETS:
        text = lines.replace("; ", "\n") + "\n"
        net, _ = make_golden_nets.build(text)
        make_golden_nets.randomize(net)
        shape = tuple(map(int, text.splitlines()[0].split()[1:]))
        pixels = torch.randint(0, 256, (count, *shape)).to(torch.uint8)
        metadata[name] = text
        tensors[f"{name}.pixels"] = pixels.numpy()
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                tensors[f"{name}.init.{key}"] = value.clone().numpy()
        net = net.double().eval()
        measure(net, pixels.double() / 255)
        for key, value in net.state_dict().items():
            if key.endswith("running_mean") or key.endswith("running_var"):
                tensors[f"{name}.exact.{key}"] = value.numpy()
        with torch.no_grad():
            tensors[f"{name}.logits"] = net(pixels.double() / 255).numpy()
    golden_file.write("exact.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
