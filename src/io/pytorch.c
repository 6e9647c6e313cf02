/* SPDX-License-Identifier: MIT
 * A net as the Python text of the PyTorch module whose state_dict its model file is. docs/pytorch.md. */
#include "io/json.h"
#include "io/model.h"

#include "base/memory.h"
#include "base/text.h"
#include "net/net.h"
#include "net/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    const ek_net *net;
    ek_text text;
    int next; /* layer */
} writer;

/* ---- Words --------------------------------------------------------------------------------------------------- */

static void indent(writer *w, int depth)
{
    for (int i = 0; i < depth; i++)
        ek_text_say(&w->text, "    ");
}

/* A string of Python's. It may come from a file: whatever could end it, or steer a terminal, is escaped, and what is
 * no UTF-8 becomes U+FFFD. */
static void say_string(writer *w, const char *string)
{
    const unsigned char *text = (const unsigned char *)string;
    ek_text_say(&w->text, "\"");
    for (size_t left = strlen(string), length; left > 0; text += length, left -= length) {
        length = ek_utf8_length(text, left);
        const bool control = *text < 0x20 || *text == 0x7f || (length == 2 && *text == 0xc2 && text[1] < 0xa0);
        if (length == 0) {
            length = 1;
            ek_text_say(&w->text, "\\ufffd");
        } else if (*text == '\n') {
            ek_text_say(&w->text, "\\n");
        } else if (control) {
            ek_text_sayf(&w->text, "\\x%02x", length == 2 ? text[1] : text[0]);
        } else if (*text == '"' || *text == '\\') {
            ek_text_sayf(&w->text, "\\%c", *text);
        } else {
            ek_text_put(&w->text, (const char *)text, length);
        }
    }
    ek_text_say(&w->text, "\"");
}

/* ---- What PyTorch has no module for -------------------------------------------------------------------------- */

static const char residual_text[] = "class Residual(nn.Module):\n"
                                    "    def __init__(self, body, shortcut):\n"
                                    "        super().__init__()\n"
                                    "        self.body, self.shortcut = body, shortcut\n"
                                    "\n"
                                    "    def forward(self, x):\n"
                                    "        return self.body(x) + self.shortcut(x)\n";

static const char pad_text[] =
    "class Pad(nn.Module):\n"
    "    \"\"\"Every stride-th row and column, and `channels` channels of zeros behind those there are.\"\"\"\n"
    "\n"
    "    def __init__(self, channels, stride):\n"
    "        super().__init__()\n"
    "        self.channels, self.stride = channels, stride\n"
    "\n"
    "    def forward(self, x):\n"
    "        return nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.channels))\n";

static const char concat_text[] = "class Concat(nn.Module):\n"
                                  "    def __init__(self, *branches):\n"
                                  "        super().__init__()\n"
                                  "        self.branches = nn.ModuleList(branches)\n"
                                  "\n"
                                  "    def forward(self, x):\n"
                                  "        return torch.cat([branch(x) for branch in self.branches], 1)\n";

static const char batchnorm_text[] =
    "class BatchNorm(nn.Module):\n"
    "    \"\"\"Batch normalisation with options that PyTorch's has not.\"\"\"\n"
    "\n"
    "    def __init__(self, channels, eps=1e-5, momentum=0.1, scale=True, center=True, tracking=True,\n"
    "                 normalize=\"both\", moving_variance=\"unbiased\", use_moving=False, hold_moving=False):\n"
    "        super().__init__()\n"
    "        self.eps, self.momentum, self.tracking = eps, momentum, tracking\n"
    "        self.normalize, self.moving_variance = normalize, moving_variance\n"
    "        self.use_moving, self.hold_moving = use_moving, hold_moving\n"
    "        self.weight = nn.Parameter(torch.ones(channels)) if scale else None\n"
    "        self.bias = nn.Parameter(torch.zeros(channels)) if center else None\n"
    "        if tracking:\n"
    "            self.register_buffer(\"running_mean\", torch.zeros(channels))\n"
    "            self.register_buffer(\"running_var\", torch.ones(channels))\n"
    "            self.register_buffer(\"num_batches_tracked\", torch.tensor(0))\n"
    "\n"
    "    def forward(self, x):\n"
    "        if self.tracking:\n"
    "            mean, var = self.running_mean.clone(), self.running_var.clone()\n"
    "        if self.training or not self.tracking:\n"
    "            over = [d for d in range(x.dim()) if d != 1]\n"
    "            batch_var, batch_mean = torch.var_mean(x, over, unbiased=False)\n"
    "            if self.tracking and not self.hold_moving:\n"
    "                self.update(batch_mean.detach(), batch_var.detach(), x.numel() // x.shape[1])\n"
    "            if not self.use_moving:\n"
    "                mean, var = batch_mean, batch_var\n"
    "        shape = [1, -1] + [1] * (x.dim() - 2)\n"
    "        if self.normalize != \"deviation\":\n"
    "            x = x - mean.view(shape)\n"
    "        if self.normalize != \"mean\":\n"
    "            x = x / (var + self.eps).sqrt().view(shape)\n"
    "        if self.weight is not None:\n"
    "            x = x * self.weight.view(shape)\n"
    "        return x if self.bias is None else x + self.bias.view(shape)\n"
    "\n"
    "    @torch.no_grad()\n"
    "    def update(self, mean, var, count):\n"
    "        self.num_batches_tracked += 1\n"
    "        weight = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum\n"
    "        if self.moving_variance == \"unbiased\":\n"
    "            var = var * (count / (count - 1))\n"
    "        self.running_mean.lerp_(mean, weight)\n"
    "        self.running_var.lerp_(var, weight)\n";

static const char normalized_text[] =
    "class Normalized(nn.Sequential):\n"
    "    \"\"\"An nn.Sequential that normalises what it takes, by channel; its slices do not.\"\"\"\n"
    "\n"
    "    def __init__(self, mean, std, *layers):\n"
    "        super().__init__(*layers)\n"
    "        shape = [-1, 1, 1]\n"
    "        self.register_buffer(\"mean\", torch.tensor(mean, dtype=torch.float32).view(shape), persistent=False)\n"
    "        self.register_buffer(\"std\", torch.tensor(std, dtype=torch.float32).view(shape), persistent=False)\n"
    "\n"
    "    def __getitem__(self, i):\n"
    "        return nn.Sequential(*self)[i]\n"
    "\n"
    "    def forward(self, x):\n"
    "        return super().forward((x - self.mean) / self.std)\n";

/* Whether the layer's batch norm is one that PyTorch has. */
static bool is_plain(const ek_layer *l)
{
    const bool fixed = l->o.batchnorm.affine && l->o.batchnorm.scale != l->o.batchnorm.center;
    return !fixed && l->o.batchnorm.normalize == EK_NORMALIZE_BOTH && !l->o.batchnorm.use_moving &&
           (!l->o.batchnorm.tracking ||
            (l->o.batchnorm.moving_variance == EK_MOVING_UNBIASED && !l->o.batchnorm.hold_moving));
}

static bool needs_batchnorm(const ek_layer *l)
{
    return l->kind == EK_LAYER_BATCHNORM && !is_plain(l);
}

static bool needs_residual(const ek_layer *l)
{
    return l->kind == EK_LAYER_RESIDUAL;
}

static bool needs_pad(const ek_layer *l)
{
    return l->kind == EK_LAYER_RESIDUAL && l->o.residual.pad;
}

static bool needs_concat(const ek_layer *l)
{
    return l->kind == EK_LAYER_CONCAT;
}

/* The classes that the net needs. */
static void say_classes(writer *w, bool normalized)
{
    static const struct {
        bool (*needs)(const ek_layer *layer);
        const char *text;
    } classes[] = {{needs_residual, residual_text},
                   {needs_pad, pad_text},
                   {needs_concat, concat_text},
                   {needs_batchnorm, batchnorm_text}};
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
        bool needed = false;
        for (int i = 0; i < w->net->layer_count; i++)
            needed = needed || classes[c].needs(&w->net->layers[i]);
        if (needed) {
            ek_text_say(&w->text, "\n\n");
            ek_text_say(&w->text, classes[c].text);
        }
    }
    if (normalized) {
        ek_text_say(&w->text, "\n\n");
        ek_text_say(&w->text, normalized_text);
    }
}

/* ---- Layers -------------------------------------------------------------------------------------------------- */

/* ", name=3" or ", name=(3, 5)". */
static void say_pair(writer *w, const char *name, const int pair[2])
{
    ek_text_sayf(&w->text, ", %s%s", name, *name ? "=" : "");
    ek_text_sayf(&w->text, pair[0] == pair[1] ? "%d" : "(%d, %d)", pair[0], pair[1]);
}

/* The same where it is not PyTorch's default. */
static void say_pair_unless(writer *w, const char *name, const int pair[2], const int usual[2])
{
    if (pair[0] != usual[0] || pair[1] != usual[1])
        say_pair(w, name, pair);
}

static void say_float_unless(writer *w, const char *name, float value, float usual)
{
    char number[EK_FLOAT_TEXT];
    if (value != usual)
        ek_text_sayf(&w->text, ", %s=%s", name, ek_float_text(value, number));
}

static void say_conv2d(writer *w, const ek_layer *l)
{
    static const int none[2] = {0, 0}, one[2] = {1, 1};
    ek_text_sayf(&w->text, "nn.Conv2d(%d, %d", l->in.c, l->out.c);
    say_pair(w, "", l->o.conv.kernel);
    say_pair_unless(w, "stride", l->o.conv.stride, one);
    say_pair_unless(w, "padding", l->o.conv.padding, none);
    say_pair_unless(w, "dilation", l->o.conv.dilation, one);
    if (l->o.conv.groups != 1)
        ek_text_sayf(&w->text, ", groups=%d", l->o.conv.groups);
    ek_text_say(&w->text, l->o.conv.bias ? ")" : ", bias=False)");
}

static void say_momentum(writer *w, float momentum)
{
    if (momentum < 0)
        ek_text_say(&w->text, ", momentum=None");
    else
        say_float_unless(w, "momentum", momentum, 0.1f);
}

static void say_batchnorm(writer *w, const ek_layer *l)
{
    const bool affine = l->o.batchnorm.affine, scale = affine && l->o.batchnorm.scale,
               center = affine && l->o.batchnorm.center;
    const bool plain = is_plain(l);
    ek_text_sayf(&w->text, "%s(%d", !plain ? "BatchNorm" : l->in.flat ? "nn.BatchNorm1d" : "nn.BatchNorm2d", l->in.c);
    say_float_unless(w, "eps", l->o.batchnorm.eps, 1e-5f);
    say_momentum(w, l->o.batchnorm.momentum);
    if (plain) {
        ek_text_say(&w->text, scale ? "" : ", affine=False");
        ek_text_say(&w->text, l->o.batchnorm.tracking ? "" : ", track_running_stats=False");
    } else {
        static const char *const normalize[] = {"", ", normalize=\"mean\"", ", normalize=\"deviation\""};
        ek_text_say(&w->text, scale ? "" : ", scale=False");
        ek_text_say(&w->text, center ? "" : ", center=False");
        ek_text_say(&w->text, l->o.batchnorm.tracking ? "" : ", tracking=False");
        ek_text_say(&w->text, normalize[l->o.batchnorm.normalize]);
        ek_text_say(&w->text,
                    l->o.batchnorm.moving_variance == EK_MOVING_POPULATION ? ", moving_variance=\"population\"" : "");
        ek_text_say(&w->text, l->o.batchnorm.use_moving ? ", use_moving=True" : "");
        ek_text_say(&w->text, l->o.batchnorm.hold_moving ? ", hold_moving=True" : "");
    }
    ek_text_say(&w->text, l->o.batchnorm.hold_affine && (scale || center) ? ").requires_grad_(False)" : ")");
}

static void say_layernorm(writer *w, const ek_layer *l)
{
    if (l->in.flat)
        ek_text_sayf(&w->text, "nn.LayerNorm(%d", l->in.c);
    else
        ek_text_sayf(&w->text, "nn.LayerNorm([%d, %d, %d]", l->in.c, l->in.h, l->in.w);
    say_float_unless(w, "eps", l->o.layernorm.eps, 1e-5f);
    ek_text_say(&w->text, l->o.layernorm.affine ? ")" : ", elementwise_affine=False)");
}

static void say_pool(writer *w, const ek_layer *l)
{
    static const int none[2] = {0, 0};
    const int *kernel = l->o.pool.kernel;
    ek_text_say(&w->text, l->kind == EK_LAYER_MAXPOOL2D ? "nn.MaxPool2d(" : "nn.AvgPool2d(");
    ek_text_sayf(&w->text, kernel[0] == kernel[1] ? "%d" : "(%d, %d)", kernel[0], kernel[1]);
    say_pair_unless(w, "stride", l->o.pool.stride, kernel);
    say_pair_unless(w, "padding", l->o.pool.padding, none);
    ek_text_say(&w->text,
                l->kind == EK_LAYER_AVGPOOL2D && !l->o.pool.count_padding ? ", count_include_pad=False)" : ")");
}

/* A layer that is no block. */
static void say_simple(writer *w, const ek_layer *l)
{
    char number[EK_FLOAT_TEXT];
    switch (l->kind) {
    case EK_LAYER_CONV2D:
        say_conv2d(w, l);
        break;
    case EK_LAYER_LINEAR:
        ek_text_sayf(&w->text, "nn.Linear(%d, %d%s)", l->in.c, l->out.c, l->o.linear.bias ? "" : ", bias=False");
        break;
    case EK_LAYER_BATCHNORM:
        say_batchnorm(w, l);
        break;
    case EK_LAYER_LAYERNORM:
        say_layernorm(w, l);
        break;
    case EK_LAYER_LEAKY_RELU:
        ek_text_sayf(&w->text, "nn.LeakyReLU(%s)", ek_float_text(l->o.leaky_relu.negative_slope, number));
        break;
    case EK_LAYER_GELU:
        ek_text_say(&w->text, l->o.gelu.by_tanh ? "nn.GELU(approximate=\"tanh\")" : "nn.GELU()");
        break;
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_AVGPOOL2D:
        say_pool(w, l);
        break;
    case EK_LAYER_DROPOUT:
        ek_text_sayf(&w->text, "nn.Dropout(%s)", ek_float_text(l->o.dropout.p, number));
        break;
    case EK_LAYER_RELU:
        ek_text_say(&w->text, "nn.ReLU()");
        break;
    case EK_LAYER_SIGMOID:
        ek_text_say(&w->text, "nn.Sigmoid()");
        break;
    case EK_LAYER_TANH:
        ek_text_say(&w->text, "nn.Tanh()");
        break;
    case EK_LAYER_GLOBALAVGPOOL:
        ek_text_say(&w->text, "nn.AdaptiveAvgPool2d(1)");
        break;
    case EK_LAYER_FLATTEN:
        ek_text_say(&w->text, "nn.Flatten()");
        break;
    case EK_LAYER_RESIDUAL: /* not here */
    case EK_LAYER_CONCAT:
        break;
    }
}

static void say_layer(writer *w, int depth);

/* A part of a block as an argument: "nn.Sequential(...)," on lines of its own. */
static void say_part(writer *w, int block, int part, int depth)
{
    const ek_layer *layers = w->net->layers;
    indent(w, depth);
    if (w->next >= layers[block].end || layers[w->next].part != part) {
        ek_text_say(&w->text, "nn.Sequential(),\n");
        return;
    }
    ek_text_say(&w->text, "nn.Sequential(\n");
    while (w->next < layers[block].end && layers[w->next].part == part)
        say_layer(w, depth + 1);
    indent(w, depth);
    ek_text_say(&w->text, "),\n");
}

/* The shortcut that no layers make. */
static void say_shortcut(writer *w, const ek_layer *l, int depth)
{
    indent(w, depth);
    if (l->o.residual.pad)
        ek_text_sayf(&w->text, "Pad(%d, %d),\n", l->out.c - l->in.c, l->o.residual.stride);
    else
        ek_text_say(&w->text, "nn.Identity(),\n");
}

/* The next layer with all that is in it, each line with the layer's name: recursion ends at EK_DEPTH_MAX. */
static void say_layer(writer *w, int depth)
{
    const int i = w->next++;
    const ek_layer *l = &w->net->layers[i];
    indent(w, depth);
    if (!ek_is_block(l->kind)) {
        say_simple(w, l);
        ek_text_sayf(&w->text, ",  # %s\n", l->path);
        return;
    }
    ek_text_sayf(&w->text, "%s(  # %s\n", l->kind == EK_LAYER_RESIDUAL ? "Residual" : "Concat", l->path);
    for (int part = 0; part < l->parts; part++)
        say_part(w, i, part, depth + 1);
    if (l->kind == EK_LAYER_RESIDUAL && l->parts == 1)
        say_shortcut(w, l, depth + 1);
    indent(w, depth);
    ek_text_say(&w->text, "),\n");
}

/* ---- The whole ----------------------------------------------------------------------------------------------- */

static void say_numbers(writer *w, int count, const float *values)
{
    char number[EK_FLOAT_TEXT];
    ek_text_say(&w->text, "        [");
    for (int i = 0; i < count; i++)
        ek_text_sayf(&w->text, "%s%s", i ? ", " : "", ek_float_text(values[i], number));
    ek_text_say(&w->text, "],\n");
}

/* mean: NULL, or with std behind it what the input is normalised with. */
static void say_build(writer *w, const float *mean)
{
    ek_text_say(&w->text, "\n\ndef build():\n"
                          "    \"\"\"The net with weights as PyTorch starts them.\"\"\"\n");
    ek_text_say(&w->text, mean ? "    return Normalized(\n" : "    return nn.Sequential(\n");
    if (mean) {
        say_numbers(w, w->net->input.c, mean);
        say_numbers(w, w->net->input.c, mean + w->net->input.c);
    }
    while (w->next < w->net->layer_count)
        say_layer(w, 2);
    ek_text_say(&w->text, "    )\n");
}

static void say_head(writer *w)
{
    const ek_dims in = w->net->input, out = ek_net_output(w->net);
    char shape[64];
    snprintf(shape, sizeof shape, out.flat ? "[N, %d]" : "[N, %d, %d, %d]", out.c, out.h, out.w);
    ek_text_sayf(&w->text,
                 "\"\"\"A net of Evenkeel's in PyTorch: its state_dict is the model file, tensor by tensor.\n\n"
                 "    from FILE import load, save       # this file, without its .py\n"
                 "    net = load(\"model.safetensors\")   # strictly, for prediction\n"
                 "    logits = net(images)              # [N, %d, %d, %d], pixels from 0 to 1; gives %s\n",
                 in.c, in.h, in.w, shape);
    ek_text_say(&w->text, "    save(net, \"back.safetensors\")     # a model file again\n\n");
    ek_text_say(&w->text,
                "Written by `evenkeel export --to pytorch`.\n\"\"\"\n\nimport torch\nfrom torch import nn\n");
}

static void say_labels(writer *w, const char *labels)
{
    ek_text_say(&w->text, "\n# What the outputs stand for.\nLABELS = [\n");
    for (size_t length; *labels; labels += length + (labels[length] != 0)) {
        length = strcspn(labels, "\n");
        char *label = ek_calloc(length + 1, 1);
        w->text.failed = w->text.failed || !label;
        if (!label)
            return;
        memcpy(label, labels, length);
        ek_text_say(&w->text, "    ");
        say_string(w, label);
        ek_text_say(&w->text, ",\n");
        ek_free(label);
    }
    ek_text_say(&w->text, "]\n");
}

/* What makes a state_dict a model file: the net's text, and those notes that stay true when its weights change. */
static void say_metadata(writer *w, const char *text)
{
    static const char *const notes[] = {"labels", "input.mean", "input.std"};
    ek_text_say(&w->text, "\n\n# What makes a state_dict a model file of Evenkeel's.\nNET = \"\"\"\\\n");
    ek_text_say(&w->text, text); /* of the language's words and numbers: nothing in it needs an escape */
    ek_text_say(&w->text, "\"\"\"\nMETADATA = {\n    \"format\": \"pt\",\n");
    ek_text_sayf(&w->text, "    \"%s\": \"%d\",\n    \"%s\": NET,\n", EK_MODEL_KEY_VERSION, EK_MODEL_VERSION,
                 EK_MODEL_KEY_NET);
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        const char *value = ek_net_note(w->net, notes[i]);
        if (!value)
            continue;
        ek_text_sayf(&w->text, "    \"" EK_MODEL_KEY_NOTE "%s\": ", notes[i]);
        say_string(w, value);
        ek_text_say(&w->text, ",\n");
    }
    ek_text_say(&w->text, "}\n");
}

static const char files_text[] =
    "\n\ndef load(path):\n"
    "    \"\"\"The net with a file's weights, a model of Evenkeel's or any state_dict; for prediction.\"\"\"\n"
    "    from safetensors.torch import load_file\n"
    "\n"
    "    net = build()\n"
    "    net.load_state_dict(load_file(path), strict=True)\n"
    "    return net.eval()\n"
    "\n\n"
    "def save(net, path):\n"
    "    \"\"\"Writes the net as a model file of Evenkeel's.\"\"\"\n"
    "    from safetensors.torch import save_file\n"
    "\n"
    "    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path, METADATA)\n";

static void say_all(writer *w, const char *text, const float *mean)
{
    const char *labels = ek_net_note(w->net, "labels");
    say_head(w);
    if (labels && *labels)
        say_labels(w, labels);
    say_classes(w, mean != NULL);
    say_build(w, mean);
    ek_text_say(&w->text, files_text);
    say_metadata(w, text);
}

char *ek_net_pytorch_text(const ek_net *net)
{
    bool normalized = false;
    if (ek_net_check(net) || ek_net_check_ended(net))
        return NULL;
    if (net->layer_count == 0) {
        ek_fail(EK_ERR_STATE, "the net has no layers; add some");
        return NULL;
    }
    const size_t channels = (size_t)net->input.c;
    float *mean = ek_calloc(2 * channels, sizeof *mean);
    char *text = mean ? ek_net_text(net) : NULL;
    writer w = {.net = net};
    w.text.failed = !text || ek_net_normalization(net, &normalized, mean, mean + channels);
    if (!w.text.failed)
        say_all(&w, text, normalized ? mean : NULL);
    ek_free(mean);
    free(text);
    return ek_text_end(&w.text);
}
