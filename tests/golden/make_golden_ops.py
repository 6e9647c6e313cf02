# SPDX-License-Identifier: MIT
"""Single operations in PyTorch, in float64 from float32 inputs: outputs and every gradient, in ops.safetensors.

Run by hand, in this folder. A case is an entry of the metadata, "NAME": "OPERATION key=value ...", and tensors
"NAME.x", "NAME.y", "NAME.dy", ...: inputs are float32, what PyTorch computed is float64. README.md lists them.
"""

import numpy
import torch
from torch.nn import functional

import golden_file

tensors, cases = {}, {}


def normal(*shape):
    """Standard normal float32 numbers."""
    return torch.randn(*shape)


def store(case, **values):
    for key, value in values.items():
        tensors[f"{case}.{key}"] = value.detach().numpy()


def differentiate(case, function, dy, **inputs):
    """Runs function on the inputs as float64; stores inputs, y, dy, and the gradient of sum(y*dy) for each input."""
    leaves = {key: value.double().requires_grad_() for key, value in inputs.items()}
    y = function(**leaves)
    dy = normal(*y.shape) if dy is None else dy
    y.backward(dy.double())
    store(case, **inputs, dy=dy, y=y, **{"d" + key: leaf.grad for key, leaf in leaves.items()})


def conv2d(case, n, c, h, w, k, kernel, padding=0, stride=1, bias=True):
    cases[case] = f"conv2d kernel={kernel} padding={padding} stride={stride} bias={int(bias)}"
    inputs = {"x": normal(n, c, h, w), "weight": normal(k, c, kernel, kernel) / (c * kernel * kernel) ** 0.5}
    if bias:
        inputs["bias"] = normal(k)
    differentiate(case, lambda x, weight, bias=None: functional.conv2d(x, weight, bias, stride, padding), None,
                  **inputs)


def conv2d_pairs(case, n, c, h, w, k, kernel, padding=(0, 0), stride=(1, 1), dilation=(1, 1), groups=1):
    """Each of kernel, padding, stride and dilation for rows and columns."""
    pairs = {"kernel": kernel, "padding": padding, "stride": stride, "dilation": dilation}
    words = [f"{name}_{axis}={pair[i]}" for name, pair in pairs.items() for i, axis in enumerate("hw")]
    cases[case] = f"conv2d_pairs {' '.join(words)} groups={groups}"
    inputs = {"x": normal(n, c, h, w), "bias": normal(k),
              "weight": normal(k, c // groups, *kernel) / (c // groups * kernel[0] * kernel[1]) ** 0.5}
    differentiate(case, lambda x, bias, weight: functional.conv2d(x, weight, bias, stride, padding, dilation, groups),
                  None, **inputs)


def linear(case, n, c, k, bias=True):
    cases[case] = f"linear bias={int(bias)}"
    inputs = {"x": normal(n, c), "weight": normal(k, c) / c ** 0.5}
    if bias:
        inputs["bias"] = normal(k)
    differentiate(case, functional.linear, None, **inputs)


def batch_norm(case, shape, eps=1e-5, momentum=0.1, affine=True, tracked=True, population=False, mode="training",
               use_moving=False, hold_moving=False, offset=0.0, scale=1.0, constant=None):
    """x = offset + scale * normal; channel `constant`, if any, holds one value alone."""
    cases[case] = (f"batch_norm mode={mode} eps={eps:g} momentum={momentum} tracked={int(tracked)} "
                   f"population={int(population)} use_moving={int(use_moving)} hold_moving={int(hold_moving)}")
    c, m = shape[1], int(numpy.prod(shape)) // shape[1]
    x = offset + scale * normal(*shape)
    if constant is not None:
        x[:, constant] = 0.3
    inputs = {"x": x}
    if affine:
        inputs["gamma"], inputs["beta"] = 1 + 0.5 * normal(c), 0.5 * normal(c)
    mean, var = (offset + 0.5 * scale * normal(c), scale ** 2 * (0.5 + torch.rand(c))) if tracked else (None, None)
    batch_statistics = not use_moving and (mode == "training" or not tracked)
    if tracked:
        store(case, moving_mean=mean, moving_var=var)
        mean, var = mean.double(), var.double()
    updates = tracked and mode == "training" and not hold_moving
    before = var.clone() if tracked else None

    def function(x, gamma=None, beta=None):
        if batch_statistics and not updates:
            return functional.batch_norm(x, None, None, gamma, beta, True, 0.0, eps)
        return functional.batch_norm(x, mean, var, gamma, beta, batch_statistics, momentum, eps)

    differentiate(case, function, None, **inputs)
    if population:  # PyTorch has no such switch: its moving variance again, without the factor M/(M-1)
        var = (1 - momentum) * before + (var - (1 - momentum) * before) * (m - 1) / m
    if updates:
        store(case, new_moving_mean=mean, new_moving_var=var)


def batch_norm_cumulative(case, shape, steps):
    """momentum=None over several batches of different sizes: the moving statistics are plain averages."""
    cases[case] = f"batch_norm_cumulative steps={steps} eps=1e-05"
    c = shape[1]
    layer = torch.nn.BatchNorm2d(c, momentum=None).double()
    for step in range(steps):
        x = 1 + step + normal(shape[0] + step, *shape[1:])
        store(f"{case}.step{step}", x=x, y=layer(x.double()), new_moving_mean=layer.running_mean.clone(),
              new_moving_var=layer.running_var.clone())


def layer_norm(case, shape, eps=1e-5, affine=True, offset=0.0):
    cases[case] = f"layer_norm eps={eps:g}"
    inputs = {"x": offset + normal(*shape)}
    if affine:
        inputs["gamma"], inputs["beta"] = 1 + 0.5 * normal(*shape[1:]), 0.5 * normal(*shape[1:])
    differentiate(case, lambda x, gamma=None, beta=None: functional.layer_norm(x, shape[1:], gamma, beta, eps), None,
                  **inputs)


def sigmoid(case, x):
    cases[case] = "sigmoid"
    differentiate(case, torch.sigmoid, None, x=x)


def relu(case, x):
    cases[case] = "relu"
    differentiate(case, torch.relu, None, x=x)


def leaky_relu(case, x, negative_slope):
    cases[case] = f"leaky_relu negative_slope={negative_slope}"
    differentiate(case, lambda x: functional.leaky_relu(x, negative_slope), None, x=x)


def tanh(case, x):
    cases[case] = "tanh"
    differentiate(case, torch.tanh, None, x=x)


def gelu(case, x, approximate):
    cases[case] = f"gelu tanh={int(approximate == 'tanh')}"
    differentiate(case, lambda x: functional.gelu(x, approximate=approximate), None, x=x)


def max_pool(case, n, c, h, w, kernel, stride, padding=0, levels=None):
    """Of whole numbers of so many levels, so that maxima tie, or of normal ones."""
    cases[case] = f"max_pool kernel={kernel} stride={stride} padding={padding}"
    x = normal(n, c, h, w) if levels is None else torch.randint(levels, (n, c, h, w)).float()
    differentiate(case, lambda x: functional.max_pool2d(x, kernel, stride, padding), None, x=x)


def global_avg_pool(case, n, c, h, w):
    cases[case] = "global_avg_pool"
    differentiate(case, lambda x: functional.adaptive_avg_pool2d(x, 1), None, x=normal(n, c, h, w))


def avg_pool(case, n, c, h, w, kernel, stride):
    cases[case] = f"avg_pool kernel={kernel} stride={stride}"
    differentiate(case, lambda x: functional.avg_pool2d(x, kernel, stride), None, x=normal(n, c, h, w))


def avg_pool_pairs(case, n, c, h, w, kernel, stride, padding, count_include_pad):
    pairs = {"kernel": kernel, "padding": padding, "stride": stride}
    words = [f"{name}_{axis}={pair[i]}" for name, pair in pairs.items() for i, axis in enumerate("hw")]
    cases[case] = f"avg_pool_pairs {' '.join(words)} count_include_pad={int(count_include_pad)}"
    differentiate(case, lambda x: functional.avg_pool2d(x, kernel, stride, padding, False, count_include_pad), None,
                  x=normal(n, c, h, w))


def cross_entropy(case, logits, labels):
    """y is the mean loss, a scalar; losses are the samples' own."""
    cases[case] = "cross_entropy"
    labels = torch.as_tensor(labels)
    tensors[f"{case}.labels"] = labels.numpy()
    differentiate(case, lambda x: functional.cross_entropy(x, labels), torch.tensor(1.0), x=logits)
    store(case, losses=functional.cross_entropy(logits.double(), labels, reduction="none"))


def main():
    torch.manual_seed(85)
    torch.set_num_threads(1)

    conv2d("conv_k5", 5, 1, 11, 9, 6, 5)
    conv2d("conv_k5_padded", 1, 3, 7, 6, 7, 5, padding=2)
    conv2d("conv_k3_stride", 16, 2, 7, 5, 3, 3, padding=1, stride=2)
    conv2d("conv_k3", 17, 3, 5, 4, 5, 3)
    conv2d("conv_k1", 33, 4, 3, 2, 5, 1)
    conv2d("conv_k1_stride", 5, 3, 5, 7, 13, 1, stride=2, bias=False)
    conv2d("conv_k3_wide", 5, 6, 5, 5, 16, 3, padding=1, bias=False)
    conv2d("conv_padding_wide", 3, 2, 3, 3, 4, 3, padding=3, stride=3)
    conv2d("conv_whole", 4, 2, 5, 3, 3, 3, stride=5)  # a single output column, rows left over

    linear("linear_1", 1, 7, 5)
    linear("linear_17", 17, 31, 12)
    linear("linear_33", 33, 12, 17, bias=False)
    linear("linear_long", 5, 256, 3)

    batch_norm("bn_4d", (5, 3, 5, 3))
    batch_norm("bn_2d", (17, 7))
    batch_norm("bn_2d_two", (2, 5))
    batch_norm("bn_33", (33, 2, 3, 3), momentum=0.3, eps=1e-3)
    batch_norm("bn_population", (5, 4, 3, 3), population=True)
    batch_norm("bn_population_2d", (9, 3), population=True, momentum=1.0)
    batch_norm("bn_no_affine", (6, 3, 2, 5), affine=False)
    batch_norm("bn_untracked", (4, 3, 4, 3), tracked=False)
    batch_norm("bn_untracked_prediction", (7, 5), tracked=False, mode="prediction")
    batch_norm("bn_eps_zero", (16, 3, 2, 3), eps=0.0)
    batch_norm("bn_eps_large", (5, 3, 3, 3), eps=1e-3, scale=0.05)
    batch_norm("bn_prediction", (5, 3, 3, 5), mode="prediction")
    batch_norm("bn_prediction_2d", (1, 9), mode="prediction")
    batch_norm("bn_prediction_no_affine", (3, 4), mode="prediction", affine=False)
    batch_norm("bn_use_moving", (5, 3, 3, 5), use_moving=True, hold_moving=True)
    batch_norm("bn_use_moving_2d", (8, 5), use_moving=True, hold_moving=True)
    batch_norm("bn_hold_moving", (6, 3, 3, 3), hold_moving=True)
    batch_norm("bn_one_channel", (3, 1, 5, 5))
    batch_norm("bn_one_location", (35, 3, 1, 1))
    batch_norm("bn_constant_channel", (5, 3, 3, 2), constant=1)
    batch_norm("bn_offset_1e4", (7, 3, 5, 3), offset=1e4)
    batch_norm("bn_offset_1e6", (5, 2, 3, 5), offset=-1e6)
    batch_norm("bn_tiny", (9, 3, 2, 2), scale=1e-6)
    batch_norm("bn_huge", (9, 3, 2, 2), scale=1e12)
    batch_norm_cumulative("bn_cumulative", (4, 3, 3, 2), 3)

    layer_norm("ln_4d", (3, 4, 3, 5))
    layer_norm("ln_2d", (17, 9))
    layer_norm("ln_no_affine", (5, 21), affine=False)
    layer_norm("ln_eps_zero", (4, 3, 2, 3), eps=0.0)
    layer_norm("ln_offset", (5, 2, 5, 3), offset=1e4, eps=1e-3)

    sigmoid("sigmoid", torch.cat([4 * normal(100), torch.tensor([
        0.0, -0.0, 1e-8, -1e-8, 1e-40, 17.0, -17.0, 30.0, -30.0, 80.0, -80.0, 87.0, -87.0, 88.0, -88.0, 89.0, -89.0,
        100.0, -100.0, 104.0, -104.0, 1e4, -1e4, 3e38, -3e38])]))

    avg_pool("pool_2", 5, 3, 6, 4, 2, 2)
    avg_pool("pool_2_odd", 17, 2, 7, 5, 2, 2)
    avg_pool("pool_3_2", 3, 3, 7, 8, 3, 2)
    avg_pool("pool_3_3", 2, 4, 8, 10, 3, 3)
    avg_pool("pool_2_1", 4, 2, 5, 4, 2, 1)
    avg_pool("pool_2_3", 3, 2, 8, 6, 2, 3)
    avg_pool("pool_whole", 5, 3, 4, 4, 4, 4)

    cross_entropy("ce_10", 3 * normal(17, 10), torch.arange(17) % 10)
    cross_entropy("ce_2", normal(5, 2), [0, 1, 1, 0, 1])
    cross_entropy("ce_1", normal(3, 1), [0, 0, 0])
    cross_entropy("ce_extreme", torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [90.0, -90.0, 89.0],
                                              [1e-30, 0.0, -1e-30], [3e38, 0.0, -3e38], [-200.0, -100.0, 0.0]]),
                  [0, 2, 1, 1, 0, 0])

    # What follows is new at the end, so that the numbers before it stay what they were.
    relu("relu", torch.cat([4 * normal(100), torch.tensor([0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38])]))

    max_pool("max_pool_2", 5, 3, 6, 4, 2, 2)
    max_pool("max_pool_3_2_padded", 17, 2, 9, 8, 3, 2, padding=1)
    max_pool("max_pool_3_1_padded", 3, 2, 5, 4, 3, 1, padding=1)
    max_pool("max_pool_4_3_padded", 4, 2, 9, 7, 4, 3, padding=2)
    max_pool("max_pool_2_3", 3, 2, 8, 6, 2, 3)
    max_pool("max_pool_ties", 6, 2, 8, 7, 3, 2, padding=1, levels=3)
    max_pool("max_pool_ties_2", 16, 3, 4, 6, 2, 2, levels=2)

    global_avg_pool("global_7x7", 5, 3, 7, 7)
    global_avg_pool("global_3x5", 17, 4, 3, 5)
    global_avg_pool("global_1x1", 2, 3, 1, 1)

    conv2d_pairs("conv_3x5", 5, 3, 9, 8, 4, (3, 5), padding=(1, 2))
    conv2d_pairs("conv_stride_2x3", 17, 2, 9, 10, 5, (2, 3), padding=(0, 1), stride=(2, 3))
    conv2d_pairs("conv_dilated", 4, 3, 9, 8, 4, (3, 3), padding=(2, 2), dilation=(2, 2))
    conv2d_pairs("conv_dilated_strided", 3, 2, 13, 11, 3, (3, 2), padding=(3, 1), stride=(2, 3), dilation=(3, 2))
    conv2d_pairs("conv_dilated_4_strided_2", 2, 2, 14, 13, 3, (3, 3), padding=(4, 1), stride=(2, 2), dilation=(4, 4))
    conv2d_pairs("conv_groups", 5, 6, 7, 6, 9, (3, 3), padding=(1, 1), groups=3)
    conv2d_pairs("conv_depthwise", 16, 8, 6, 7, 8, (3, 3), padding=(1, 1), groups=8)
    conv2d_pairs("conv_depthwise_twice", 3, 5, 8, 6, 10, (5, 3), padding=(2, 0), stride=(2, 1), groups=5)
    conv2d_pairs("conv_groups_1x1", 5, 6, 1, 1, 4, (1, 1), groups=2)

    avg_pool_pairs("pool_padded", 5, 3, 7, 6, (3, 3), (2, 2), (1, 1), True)
    avg_pool_pairs("pool_padded_inside", 4, 2, 7, 6, (3, 2), (1, 2), (1, 1), False)
    avg_pool_pairs("pool_oblong", 3, 2, 8, 9, (2, 4), (2, 3), (0, 2), True)

    near = torch.cat([3 * normal(100), torch.tensor([
        0.0, -0.0, 1e-40, -1e-40, 1e-8, -1e-8, 0.625, -0.7517916, 5.5, -5.5, 9.0, -9.0, 13.3, -13.3, 14.5, -14.5, 17.0,
        -17.0])])
    far = torch.tensor([30.0, -30.0, 88.0, -88.0, 89.0, -89.0, 104.0, -104.0, 1e4, -1e4, 1e6, -1e6])
    leaky_relu("leaky_relu", near, float(numpy.float32(0.01)))
    leaky_relu("leaky_relu_zero", near, 0.0)
    leaky_relu("leaky_relu_two", far, 2.0)
    tanh("tanh", near)
    tanh("tanh_far", far)
    gelu("gelu", near, "none")
    gelu("gelu_far", far, "none")
    gelu("gelu_tanh", near, "tanh")
    gelu("gelu_tanh_far", far, "tanh")

    golden_file.write("ops.safetensors", tensors, cases)
    print(f"{len(cases)} cases, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
