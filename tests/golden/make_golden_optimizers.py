# SPDX-License-Identifier: MIT
"""PyTorch's optimisers, learning-rate schedules, gradient clipping and label smoothing, in optimizers.safetensors.
What tests/test_optimizer.c compares ours with.

Run by hand, in this folder. README.md says what the file holds.
"""

import math
import warnings

import numpy
import torch
from torch import nn
from torch.optim import lr_scheduler

import golden_file

NET = """input 2 6 5
conv2d 5 kernel=3 bias=no
batchnorm
sigmoid
avgpool 2
flatten
linear 9
layernorm
sigmoid
linear 4
"""
SAMPLES, BATCH, EPOCHS = 75, 16, 5
STEPS_PER_EPOCH = math.ceil(SAMPLES / BATCH)
STEPS = EPOCHS * STEPS_PER_EPOCH

# Learning rates are float32 exactly. What a case does not name is off, or PyTorch's default.
CASES = {
    "sgd": "sgd lr=0.5",
    "momentum": "sgd lr=0.125 momentum=0.9",
    "nesterov": "sgd lr=0.125 momentum=0.9 nesterov=1",
    "decay": "sgd lr=0.5 weight_decay=0.05",
    "decay_all": "sgd lr=0.5 weight_decay=0.05 all=1",
    "momentum_decay": "sgd lr=0.125 momentum=0.8 weight_decay=0.02",
    "nesterov_decay_all": "sgd lr=0.125 momentum=0.8 nesterov=1 weight_decay=0.02 all=1",
    "adam": "adam lr=0.015625",
    "adam_numbers": "adam lr=0.03125 beta1=0.8 beta2=0.95 eps=0.001",
    "adam_decay": "adam lr=0.015625 weight_decay=0.1",
    "adam_decay_all": "adam lr=0.015625 weight_decay=0.1 all=1",
    "adamw": "adamw lr=0.015625 weight_decay=0.5",
    "adamw_all": "adamw lr=0.015625 weight_decay=0.5 all=1 beta1=0.7 eps=0.0001",
    "clip": "sgd lr=0.5 clip=0.4",
    "clip_adam": "adam lr=0.015625 clip=0.25",
    "smoothing": "sgd lr=0.5 smoothing=0.1",
    "step": "sgd lr=0.5 schedule=step step_size=2 gamma=0.5",
    "multistep": "sgd lr=0.5 momentum=0.5 schedule=multistep milestones=1,3 gamma=0.25",
    "cosine": "sgd lr=0.5 momentum=0.5 schedule=cosine",
    "all_together": "adamw lr=0.03125 weight_decay=0.3 clip=0.25 smoothing=0.2 schedule=cosine min_lr=0.001 warmup=7",
}

SCHEDULES = {
    "constant_warm": "fit epochs=4 steps=13 lr=0.5 warmup=9",
    "step": "fit epochs=30 steps=7 lr=0.5 schedule=step step_size=7 gamma=0.3",
    "step_warm": "fit epochs=12 steps=7 lr=0.5 schedule=step step_size=3 gamma=0.1 warmup=33",
    "multistep": "fit epochs=30 steps=7 lr=0.5 schedule=multistep milestones=1,2,11,29 gamma=0.1",
    "multistep_warm": "fit epochs=10 steps=20 lr=0.125 schedule=multistep milestones=2,5 gamma=0.5 warmup=50",
    "cosine": "fit epochs=30 steps=7 lr=0.5 schedule=cosine",
    "cosine_floor_warm": "fit epochs=20 steps=11 lr=0.5 schedule=cosine min_lr=0.0625 warmup=37",
}


def parse(text):
    words = text.split()
    return words[0], dict(word.split("=") for word in words[1:])


def schedulers(optimizer, options, steps, steps_per_epoch):
    """Those that step after each step, and those that step after each epoch."""
    by_step, by_epoch = [], []
    kind, warmup = options.get("schedule"), int(options.get("warmup", 0))
    gamma = float(options.get("gamma", 0.1))
    linear = [lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1)] if warmup else []
    if kind == "cosine":
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup, float(options.get("min_lr", 0)))
        by_step = [lr_scheduler.SequentialLR(optimizer, linear + [cosine], [warmup])] if warmup else [cosine]
    else:
        by_step = linear
    if kind == "step":
        by_epoch = [lr_scheduler.StepLR(optimizer, int(options["step_size"]), gamma)]
    if kind == "multistep":
        by_epoch = [lr_scheduler.MultiStepLR(optimizer, [int(m) for m in options["milestones"].split(",")], gamma)]
    return by_step, by_epoch


def rates(text):
    _, options = parse(text)
    epochs, steps = int(options["epochs"]), int(options["steps"])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=float(options["lr"]))
    by_step, by_epoch = schedulers(optimizer, options, epochs * steps, steps)
    result = []
    for step in range(epochs * steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in by_step + (by_epoch if (step + 1) % steps == 0 else []):
            scheduler.step()
    return numpy.array(result)


def build():
    return nn.Sequential(nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(10, 9), nn.LayerNorm(9), nn.Sigmoid(), nn.Linear(9, 4))


def new_optimizer(net, kind, options):
    weights = [m.weight for m in net if isinstance(m, (nn.Conv2d, nn.Linear))]
    rest = [p for p in net.parameters() if not any(p is w for w in weights)]
    decay = float(options.get("weight_decay", 0))
    groups = [{"params": weights, "weight_decay": decay},
              {"params": rest, "weight_decay": decay if "all" in options else 0}]
    lr = float(options["lr"])
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=float(options.get("momentum", 0)),
                               nesterov="nesterov" in options)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind](
        groups, lr=lr, betas=(float(options.get("beta1", 0.9)), float(options.get("beta2", 0.999))),
        eps=float(options.get("eps", 1e-8)))


def train(text, state, pixels, labels, dtype):
    kind, options = parse(text)
    net = build().to(dtype)
    net.load_state_dict(state)
    net.train()
    optimizer = new_optimizer(net, kind, options)
    by_step, by_epoch = schedulers(optimizer, options, STEPS, STEPS_PER_EPOCH)
    criterion = nn.CrossEntropyLoss(label_smoothing=float(options.get("smoothing", 0)))
    clip = float(options.get("clip", 0))
    losses, lrs, norms = [], [], []
    for _ in range(EPOCHS):
        for first in range(0, SAMPLES, BATCH):
            loss = criterion(net(pixels[first:first + BATCH].to(dtype) / 255), labels[first:first + BATCH])
            optimizer.zero_grad()
            loss.backward()
            if clip:
                norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), clip)))
            lrs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            losses.append(loss.item())
            for scheduler in by_step:
                scheduler.step()
        for scheduler in by_epoch:
            scheduler.step()
    net.eval()
    with torch.no_grad():
        plain = nn.functional.cross_entropy(net(pixels.to(dtype) / 255), labels)
    return numpy.array(losses), numpy.array(lrs), numpy.array(norms), plain.item(), net.state_dict()


def main():
    warnings.simplefilter("ignore")  # SequentialLR uses what lr_scheduler deprecates
    torch.manual_seed(126)
    torch.set_num_threads(1)
    net = build()
    with torch.no_grad():
        for norm in (net[1], net[6]):
            norm.weight.add_(0.3 * torch.randn(norm.weight.shape))
            norm.bias.add_(0.3 * torch.randn(norm.bias.shape))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    labels = torch.randint(0, 4, (SAMPLES,))
    pixels = (torch.randint(0, 200, (SAMPLES, 2, 6, 5)) + labels.reshape(-1, 1, 1, 1) * 13).to(torch.uint8)
    metadata = {"net": NET, "fit": f"fit batch={BATCH} epochs={EPOCHS}"}
    tensors = {"data.pixels": pixels.numpy(), "data.labels": labels.to(torch.uint8).numpy()}
    for key, value in state.items():
        if value.is_floating_point():
            tensors[f"init.{key}"] = value.numpy()
    for name, text in CASES.items():
        losses, lrs, norms, plain, final = train(text, state, pixels, labels, torch.float64)
        losses32, _, _, _, final32 = train(text, state, pixels, labels, torch.float32)
        assert numpy.isfinite(losses).all()
        tensors[f"{name}.loss"], tensors[f"{name}.lr"] = losses, lrs
        tensors[f"{name}.plain_loss"] = numpy.array([plain])
        if len(norms):
            tensors[f"{name}.norm"] = norms
            assert 0 < (norms > float(parse(text)[1]["clip"])).sum()
        far = 0
        for key, value in final.items():
            if value.is_floating_point():
                tensors[f"{name}.final.{key}"] = value.numpy()
                far = max(far, float((final32[key] - value).norm() / value.norm()))
        far_loss = float(numpy.abs(losses32 / losses - 1).max())
        metadata[name] = text
        clipped = f", {sum(norms > float(parse(text)[1]['clip']))} of {len(norms)} clipped" if len(norms) else ""
        print(f"{name:20} loss {losses[0]:.3f} to {losses[-1]:.3f}{clipped}; PyTorch float32: losses {far_loss:.1e}, "
              f"tensors {far:.1e}")
    for name, text in SCHEDULES.items():
        metadata[f"schedule.{name}"] = text
        tensors[f"schedule.{name}.lr"] = rates(text)
    golden_file.write("optimizers.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
