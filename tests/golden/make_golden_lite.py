# SPDX-License-Identifier: MIT
"""Batch normalisation's lite versions (d2l section 8.5, exercises 4 and 5) in PyTorch, in float64: the mean alone, the
deviation alone, gamma or beta fixed. PyTorch has none of them: formulas written out, autograd's gradients.

Single operations as in make_golden_ops.py and short trainings as in make_golden_nets.py, in lite.safetensors. Run by
hand, in this folder. README.md says what the file holds.
"""

import torch

import golden_file
import make_golden_nets

tensors, metadata = {}, {}


def operation(case, shape, normalize, eps=1e-5, momentum=0.1, affine=True, tracked=True, population=False,
              mode="training", use_moving=False, hold_moving=False, offset=0.0, scale=1.0):
    """x = offset + scale * normal."""
    metadata[case] = (f"batch_norm normalize={normalize} mode={mode} eps={eps:g} momentum={momentum} "
                      f"tracked={int(tracked)} population={int(population)} use_moving={int(use_moving)} "
                      f"hold_moving={int(hold_moving)}")
    words = {"normalize": normalize, "eps": str(eps), "momentum": str(momentum),
             "tracking": "yes" if tracked else "no", "affine": "yes" if affine else "no",
             "use_moving": "yes" if use_moving else "no", "hold_moving": "yes" if hold_moving else "no",
             "moving_variance": "population" if population else "unbiased"}
    norm = make_golden_nets.LiteNorm(shape[1], words)
    inputs = {"x": offset + scale * torch.randn(*shape)}
    if affine:
        inputs["gamma"], inputs["beta"] = 1 + 0.5 * torch.randn(shape[1]), 0.5 * torch.randn(shape[1])
        norm.weight.data, norm.bias.data = inputs["gamma"].clone(), inputs["beta"].clone()
    if tracked:
        inputs["moving_mean"] = offset + 0.5 * scale * torch.randn(shape[1])
        inputs["moving_var"] = scale ** 2 * (0.5 + torch.rand(shape[1]))
        norm.running_mean.copy_(inputs["moving_mean"])
        norm.running_var.copy_(inputs["moving_var"])
    norm.double().train(mode == "training")
    x = inputs["x"].double().requires_grad_()
    dy = torch.randn(*shape)
    y = norm(x)
    y.backward(dy.double())
    outputs = {"y": y, "dx": x.grad}
    if affine:
        outputs["dgamma"], outputs["dbeta"] = norm.weight.grad, norm.bias.grad
    if tracked and mode == "training" and not hold_moving:
        outputs["new_moving_mean"], outputs["new_moving_var"] = norm.running_mean, norm.running_var
    for key, value in {**inputs, "dy": dy, **outputs}.items():
        tensors[f"{case}.{key}"] = value.detach().numpy()


def bn_lenet(options):
    """The layers of BN-LeNet, d2l section 8.5.4, fewer in the linear ones, on images of 20x20."""
    norm = f"batchnorm {options}; sigmoid"
    return (f"input 1 20 20; conv2d 6 kernel=5; {norm}; avgpool 2; conv2d 16 kernel=5; {norm}; avgpool 2; flatten; "
            f"linear 30; {norm}; linear 20; {norm}; linear 10")


# name, batch size, samples, epochs, net
NETS = [
    ("lenet_mean", 32, 80, 3, bn_lenet("normalize=mean")),
    ("lenet_deviation", 32, 80, 3, bn_lenet("normalize=deviation")),
    ("lenet_fixed_gamma", 32, 80, 3, bn_lenet("scale=no")),
    ("lenet_fixed_beta", 32, 80, 3, bn_lenet("center=no")),
    ("lenet_deviation_fixed", 32, 80, 3, bn_lenet("normalize=deviation scale=no center=no")),
    ("mean_options", 13, 41, 2,
     "input 2 6 5; batchnorm normalize=mean affine=no; conv2d 4 kernel=3; batchnorm normalize=mean tracking=no; relu; "
     "conv2d 5 kernel=2; batchnorm normalize=mean hold_moving=yes hold_affine=yes; sigmoid; flatten; linear 7; "
     "batchnorm normalize=mean moving_variance=population momentum=0.3; sigmoid; linear 6; batchnorm normalize=mean "
     "momentum=cumulative center=no; sigmoid; linear 4"),
    ("deviation_options", 13, 41, 2,
     "input 2 6 5; batchnorm normalize=deviation affine=no; conv2d 4 kernel=3; batchnorm normalize=deviation "
     "tracking=no eps=0.001; relu; conv2d 5 kernel=2; batchnorm normalize=deviation hold_moving=yes hold_affine=yes; "
     "sigmoid; flatten; linear 7; batchnorm normalize=deviation moving_variance=population momentum=0.3; sigmoid; "
     "linear 6; batchnorm normalize=deviation momentum=cumulative scale=no eps=0.5; sigmoid; linear 4"),
    ("moving_options", 9, 30, 2,
     "input 1 6 6; conv2d 4 kernel=3; batchnorm normalize=mean use_moving=yes; sigmoid; conv2d 5 kernel=2; batchnorm "
     "normalize=deviation use_moving=yes; sigmoid; flatten; linear 6; batchnorm normalize=deviation use_moving=yes "
     "hold_moving=yes; sigmoid; linear 4; batchnorm scale=no use_moving=yes hold_moving=yes"),
    ("after_activation", 14, 40, 2,
     "input 2 7 7; conv2d 4 kernel=3; sigmoid; batchnorm; conv2d 5 kernel=2; relu; batchnorm normalize=mean; "
     "avgpool 2; flatten; linear 6; sigmoid; batchnorm normalize=deviation eps=0.01; linear 5; sigmoid; "
     "batchnorm scale=no eps=0.01; linear 4"),
]


def main():
    torch.manual_seed(854)
    torch.set_num_threads(1)
    for normalize in ("mean", "deviation"):
        def case(name, *arguments, **options):
            operation(f"{normalize}_{name}", *arguments, normalize, **options)
        case("4d", (5, 3, 5, 3))
        case("2d", (17, 7))
        case("two", (2, 5))
        case("eps", (9, 4, 3, 3), eps=1e-3, momentum=0.3)
        case("eps_zero", (16, 3, 2, 3), eps=0.0)
        case("population", (5, 4, 3, 3), population=True)
        case("no_affine", (6, 3, 2, 5), affine=False)
        case("untracked", (4, 3, 4, 3), tracked=False)
        case("untracked_prediction", (7, 5), tracked=False, mode="prediction")
        case("prediction", (5, 3, 3, 5), mode="prediction")
        case("use_moving", (5, 3, 3, 5), use_moving=True, hold_moving=True)
        case("use_moving_update", (8, 5), use_moving=True)
        case("hold_moving", (6, 3, 3, 3), hold_moving=True)
        case("offset_1e4", (7, 3, 5, 3), offset=1e4)
        case("tiny", (9, 3, 2, 2), scale=1e-6)
        case("huge", (9, 3, 2, 2), scale=1e12)
    print(f"{len(metadata)} operations")
    make_golden_nets.store(NETS, tensors, metadata)
    golden_file.write("lite.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
