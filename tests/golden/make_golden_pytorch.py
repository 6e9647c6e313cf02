# SPDX-License-Identifier: MIT
"""Random nets as PyTorch's modules: `make_golden_pytorch.py BUILD` lets BUILD/tests/test_pytorch print some, runs the
printed texts, and writes what tests/test_pytorch.c compares ours with, so that it needs no PyTorch. By hand, in this
folder; anew whenever the printed text changes.

Of each net: its texts, a state_dict with PyTorch's own first weights and random statistics, pixels, logits in float64,
and of nets without dropout the moving statistics after one batch in training."""
import pathlib
import subprocess
import sys
import tempfile

import torch
from torch import nn

import golden_file

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "pytorch"))
from check import module_of  # noqa: E402

NETS, WITH_DROPOUT, NUMBERS, SAMPLES = 20, 5, 2500, 6


def randomize(net, generator):
    """Statistics and gammas as training leaves them; biases of convolutions and linear layers stay PyTorch's."""
    for name, tensor in net.state_dict().items():
        kind = name.rpartition(".")[2]
        values = torch.rand(tensor.shape, generator=generator)
        norm = not isinstance(net.get_submodule(name.rpartition(".")[0]), (nn.Conv2d, nn.Linear))
        if kind == "running_var":
            tensor.copy_(0.25 + 2 * values)
        elif kind == "running_mean" or (norm and kind == "bias"):
            tensor.copy_(values - 0.5)
        elif norm and kind == "weight":
            tensor.copy_(0.5 + values)
        elif kind == "num_batches_tracked":
            tensor.copy_(torch.tensor(int(10 * values)))


def results(module, generator):
    net = module.build().eval()
    randomize(net, generator)
    shape = [int(word) for word in module.NET.split("\n", 1)[0].split()[1:]]
    pixels = torch.randint(0, 256, (SAMPLES, *shape), generator=generator, dtype=torch.uint8)
    found = {f"state.{name}": tensor.clone() for name, tensor in net.state_dict().items()}
    found["pixels"] = pixels
    net = net.double()
    with torch.no_grad():
        found["logits"] = net(pixels.double() / 255)
        if "dropout" not in module.NET:
            net.train()(pixels.double() / 255)
            found |= {f"after.{name}": tensor.float() if tensor.is_floating_point() else tensor
                      for name, tensor in net.state_dict().items() if "running" in name or "tracked" in name}
    return {name: tensor.numpy() for name, tensor in found.items()}


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(2)
    tensors, texts, count, dropping = {}, {"torch": torch.__version__}, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([pathlib.Path(sys.argv[1]) / "tests/test_pytorch", "write", folder, "200", "0"], check=True)
        for i in range(200):
            path = pathlib.Path(folder) / f"random-{i}.py"
            module = module_of(path)
            drops = "dropout" in module.NET
            if count == NETS or sum(tensor.numel() for tensor in module.build().state_dict().values()) > NUMBERS or (
                    drops and dropping == WITH_DROPOUT):
                continue
            dropping += drops
            texts[f"{count}.net"], texts[f"{count}.python"] = module.NET, path.read_text()
            for note in ("labels", "input.mean", "input.std"):
                if f"evenkeel.note.{note}" in module.METADATA:
                    texts[f"{count}.{note}"] = module.METADATA[f"evenkeel.note.{note}"]
            for name, array in results(module, generator).items():
                tensors[f"{count}.{name}"] = array
            count += 1
    golden_file.write("pytorch.safetensors", tensors, texts)
    print(f"{count} nets, {sum(f'{i}.labels' in texts for i in range(count))} with labels")


if __name__ == "__main__":
    main()
