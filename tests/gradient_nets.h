/* SPDX-License-Identifier: MIT
 * The nets whose programs are compared with the scalar reference, and whose reference with finite differences. */
#ifndef EK_TESTS_GRADIENT_NETS_H
#define EK_TESTS_GRADIENT_NETS_H

/* Every kind of layer with every option, in the neighbourhoods that plans treat differently. */
static const char *const nets[] = {
    /* the book's pattern; a pool that fits a unit, and ones that do not */
    "input 2 8 6\nconv2d 5 kernel=3 padding=1\nbatchnorm\nsigmoid\navgpool 2\nflatten\nlinear 7\n"
    "batchnorm\nsigmoid\n"
    "linear 4\n",
    "input 1 9 7\nconv2d 3 kernel=5 padding=2 stride=2\nbatchnorm affine=no\nsigmoid\navgpool 3 stride=2\nflatten\n"
    "linear 3\n",
    "input 1 7 7\nconv2d 4 kernel=2\nsigmoid\navgpool 3\nconv2d 3 kernel=2\nsigmoid\nflatten\nlinear 5\n",
    "input 1 7 8\nconv2d 2 kernel=3 padding=1\nsigmoid\navgpool 2\nflatten\nlinear 3\n",
    "input 1 8 7\nconv2d 2 kernel=3 padding=1\nbatchnorm\navgpool 3\nflatten\nlinear 3\n",
    "input 1 8 7\nconv2d 2 kernel=3 padding=1\nbatchnorm\nsigmoid\navgpool 2\nflatten\nlinear 3\n",
    "input 3 7 5\navgpool 2 stride=1\nconv2d 2 kernel=3\nbatchnorm\navgpool 2\nflatten\nlinear 3\n",
    /* without norm, without bias, with strides, deeper padding */
    "input 1 12 12\nconv2d 6 kernel=5 padding=2\nsigmoid\navgpool 2\nconv2d 5 kernel=3\nsigmoid\n"
    "avgpool 2\nflatten\n"
    "linear 9\nsigmoid\nlinear 4\n",
    "input 2 7 9\nconv2d 3 kernel=3 stride=3 bias=no\nconv2d 4 kernel=2 padding=2 stride=2\nsigmoid\nflatten\n"
    "linear 3 bias=no\n",
    "input 17 3 3\nconv2d 17 kernel=3 padding=1\nsigmoid\nconv2d 18\nbatchnorm\nsigmoid\nflatten\n"
    "linear 17\nsigmoid\n"
    "linear 19\n",
    /* every switch of batchnorm */
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm tracking=no\nsigmoid\nflatten\nlinear 6\nbatchnorm tracking=no\n"
    "linear 3\n",
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm use_moving=yes\nsigmoid\nflatten\nlinear 6\n"
    "batchnorm use_moving=yes\n"
    "sigmoid\nlinear 3\n",
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm use_moving=yes hold_moving=yes\nsigmoid\navgpool 2\n"
    "flatten\nlinear 6\n"
    "batchnorm use_moving=yes hold_moving=yes hold_affine=yes\nlinear 3\n",
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm hold_moving=yes hold_affine=yes\nsigmoid\navgpool 2\n"
    "flatten\nlinear 6\n"
    "batchnorm affine=no hold_moving=yes\nsigmoid\nlinear 3\n",
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm moving_variance=population momentum=0.3\nsigmoid\nflatten\nlinear 6\n"
    "batchnorm momentum=cumulative\nlinear 3\n",
    "input 2 6 6\nconv2d 3 kernel=3\nbatchnorm scale=no\nsigmoid\navgpool 2\nconv2d 5 kernel=2\nbatchnorm center=no\n"
    "relu\nflatten\nlinear 6\nbatchnorm scale=no center=no\nsigmoid\nlinear 4\nbatchnorm center=no use_moving=yes\n"
    "sigmoid\nlinear 3\nbatchnorm scale=no hold_affine=yes\n",
    "input 1 8 8\nconv2d 3 kernel=3\nbatchnorm eps=0\nsigmoid\navgpool 2\nflatten\nlinear 3\n",
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm eps=0.5 momentum=1\nsigmoid\nflatten\nlinear 3\n",
    /* batchnorm elsewhere: first, last, after the activation, behind flatten, twice */
    "input 2 5 5\nbatchnorm\nconv2d 3 kernel=3\nsigmoid\nflatten\nlinear 3\n",
    "input 2 5 5\nbatchnorm affine=no\nconv2d 3 kernel=3\nsigmoid\nflatten\nlinear 3\n",
    "input 2 6 6\nbatchnorm hold_affine=yes\nsigmoid\navgpool 2\nconv2d 3 kernel=3\nsigmoid\nflatten\nlinear 3\n",
    "input 2 6 6\nconv2d 3 kernel=3\nsigmoid\nbatchnorm\navgpool 2\nflatten\nlinear 5\nsigmoid\n"
    "batchnorm\nlinear 3\n",
    "input 2 5 5\nconv2d 3 kernel=3\nflatten\nbatchnorm\nsigmoid\nlinear 4\nbatchnorm\n",
    "input 2 5 5\nconv2d 3 kernel=3\nbatchnorm\nbatchnorm\nsigmoid\nsigmoid\nflatten\nlinear 4\nsigmoid\n",
    "input 2 4 4\nconv2d 3 kernel=3\navgpool 2\nbatchnorm\nconv2d 4\n",
    "input 2 4 4\nsigmoid\navgpool 2\nsigmoid\navgpool 2\nflatten\nlinear 3\n",
    /* layernorm: after convolutions, after linear layers, first, last, without affine and eps */
    "input 2 5 5\nconv2d 3 kernel=3\nlayernorm\nsigmoid\nflatten\nlinear 6\nlayernorm\nsigmoid\nlinear 3\n",
    "input 2 5 5\nlayernorm\nconv2d 3 kernel=3\nlayernorm affine=no\nsigmoid\navgpool 3\nflatten\n"
    "linear 4\nlayernorm\n",
    "input 2 5 5\nlayernorm affine=no eps=0\nconv2d 3 kernel=3\nlayernorm eps=0.1\nbatchnorm\nsigmoid\n"
    "flatten\nlinear 4\n",
    /* convolutions whose rows and columns differ, dilated, in groups, depthwise */
    "input 2 9 8\nconv2d 4 kernel=3x1 padding=1x0 stride=1x2\nbatchnorm\nrelu\nconv2d 6 kernel=3x2 padding=2x1 "
    "dilation=2x1 groups=2\nsigmoid\nflatten\nlinear 3\n",
    "input 1 8 9\nconv2d 6 kernel=2x3\nsigmoid\nconv2d 6 kernel=3 padding=1 groups=6 bias=no\nbatchnorm\nrelu\n"
    "conv2d 4\nsigmoid\nconv2d 8 kernel=3 dilation=2 padding=2 groups=4 stride=2\nflatten\nlinear 3\n",
    "input 4 1 1\nconv2d 6 groups=2\nsigmoid\nconv2d 3 groups=3\nflatten\n",
    /* averages with padding, of oblong windows */
    "input 2 7 8\navgpool 3x2 stride=2x1 padding=1\nconv2d 3 kernel=2\nsigmoid\nmaxpool 2x3 padding=1x0\n"
    "avgpool 2 stride=1 padding=1 count_include_pad=no\nflatten\nlinear 3\n",
    /* relu and maxima: in units, overlapping, with padding, without an activation before them */
    "input 2 8 6\nconv2d 5 kernel=3 padding=1\nbatchnorm\nrelu\nmaxpool 2\nconv2d 4 kernel=3 padding=1\nrelu\n"
    "flatten\nlinear 7\nbatchnorm\nrelu\nlinear 4\n",
    "input 1 9 8\nconv2d 4 kernel=3 padding=1\nbatchnorm\nrelu\nmaxpool 3 stride=2 padding=1\nconv2d 3\nsigmoid\n"
    "maxpool 2\nflatten\nlinear 3\n",
    "input 2 7 7\nmaxpool 3 stride=1\nconv2d 3 kernel=2\nmaxpool 2\nbatchnorm\nmaxpool 2 padding=1\nrelu\nflatten\n"
    "linear 3\n",
    "input 2 6 6\nrelu\navgpool 2\nconv2d 3 kernel=2\nrelu\nbatchnorm\nmaxpool 2\nflatten\nlinear 3\n",
    /* activations that go by their output, and one that does not: with a norm, without, first, pooled, behind sums */
    "input 2 8 6\nconv2d 5 kernel=3 padding=1\nbatchnorm\nleaky_relu\nmaxpool 2\nconv2d 4 kernel=3 padding=1\n"
    "leaky_relu negative_slope=0.375\nflatten\nlinear 7\nbatchnorm\ntanh\nlinear 4\n",
    "input 2 8 6\nconv2d 5 kernel=3 padding=1\nbatchnorm\ngelu\nmaxpool 2\nconv2d 4 kernel=3 padding=1\ngelu\n"
    "avgpool 2\nflatten\nlinear 7\nbatchnorm affine=no\ngelu\nlinear 6\ngelu\nlinear 4\n",
    "input 2 9 6\ngelu\nconv2d 4 kernel=3 padding=1\nbatchnorm use_moving=yes\ngelu approximate=tanh\navgpool 3\n"
    "conv2d 5\ngelu approximate=tanh\nmaxpool 3x2 stride=1\nflatten\nlinear 3\n",
    "input 1 6 6\nconv2d 3 kernel=3\ntanh\navgpool 2\nconv2d 3\nleaky_relu negative_slope=0\nmaxpool 2\nflatten\n"
    "linear 4\ngelu\ngelu\nbatchnorm\n",
    "input 2 5 5\nconv2d 4\ngelu\nresidual { conv2d 4 kernel=3 padding=1\nbatchnorm }\ngelu\nresidual { conv2d 4\n"
    "batchnorm }\nleaky_relu\nresidual { gelu }\ntanh\nconcat { branch { gelu } branch { conv2d 2\ntanh }\n"
    "branch { } }\ngelu\nglobalavgpool\nflatten\nlinear 3\n",
    /* dropout: first, behind maps, units and poolings, before a norm, in sums and branches; of nothing, of all */
    "input 2 6 5\ndropout p=0.2\nconv2d 3 kernel=3\ndropout\nbatchnorm\nsigmoid\ndropout p=0.3\navgpool 2 stride=1\n"
    "dropout p=0.1\nconv2d 4\nbatchnorm\ntanh\nmaxpool 2\ndropout\ndropout p=0.4\nflatten\nlinear 5\n",
    "input 1 5 5\nconv2d 3 kernel=3\ndropout p=0\nbatchnorm\ngelu\ndropout p=0.25\nresidual { conv2d 3\n"
    "batchnorm\ndropout p=0.5\n}\nsigmoid\nresidual { dropout p=0.3 }\nconcat { branch { dropout p=0.6 }\n"
    "branch { conv2d 2\ndropout }\nbranch { } }\nflatten\nlinear 9\ndropout p=0.2\nlinear 3\n",
    "input 1 4 4\nflatten\nlinear 7\nsigmoid\nresidual { linear 7\ndropout p=1\n}\nlinear 4\ndropout p=0.2\n",
    /* global averages: of squares, which join a unit, and of others */
    "input 1 8 8\nconv2d 4 kernel=3\nbatchnorm\nrelu\nglobalavgpool\nflatten\nlinear 3\n",
    "input 1 8 6\nconv2d 4 kernel=3\nbatchnorm\nsigmoid\nglobalavgpool\nconv2d 5\nrelu\nflatten\nlinear 3\n",
    "input 2 5 7\nglobalavgpool\nflatten\nlinear 4\nrelu\nlinear 3\n",
    /* convolutions by Winograd's algorithm, every padding, behind a direct one */
    "input 3 8 8\nconv2d 24 kernel=3 padding=1\nbatchnorm\nsigmoid\nconv2d 32 kernel=3 padding=1\nbatchnorm\nsigmoid\n"
    "avgpool 8\nflatten\nlinear 5\n",
    "input 24 10 9\nconv2d 32 kernel=3\nsigmoid\nconv2d 24 kernel=3\nsigmoid\nflatten\nlinear 3\n",
    "input 2 12 11\nconv2d 32 kernel=1\nsigmoid\nconv2d 40 kernel=3 padding=2 bias=no\nsigmoid\navgpool 6\n"
    "flatten\nlinear 3\n",
    /* linear layers alone, one of more than a piece of rows */
    "input 1 1 1\nflatten\nlinear 40\nsigmoid\nlinear 2\n",
    "input 1 5 7\nflatten\nlinear 33\nbatchnorm\nsigmoid\nlinear 26\nbatchnorm\nsigmoid\nlinear 11\n",
    /* residuals: identity, twice, with an activation behind the sum; the norm at the body's end joins the sum */
    "input 2 6 6\nconv2d 5 kernel=3 padding=1\nbatchnorm\nsigmoid\nrepeat 2 {\nresidual {\n"
    "conv2d 5 kernel=3 padding=1 bias=no\nbatchnorm\nsigmoid\nconv2d 5 kernel=3 padding=1\nbatchnorm\n}\nsigmoid\n}\n"
    "flatten\nlinear 3\n",
    /* padded shortcuts: rows and channels, odd extents, channels alone, without a norm */
    "input 2 7 5\nconv2d 3 kernel=3 padding=1\nsigmoid\nresidual shortcut=pad stride=2 {\n"
    "conv2d 4 kernel=3 padding=1 stride=2\nbatchnorm\nsigmoid\nconv2d 7 kernel=3 padding=1\nbatchnorm\n}\nsigmoid\n"
    "residual shortcut=pad {\nconv2d 8\n}\nsigmoid\nresidual shortcut=pad stride=3 {\nconv2d 8 stride=3\n}\n"
    "flatten\nlinear 3\n",
    /* projected: a convolution, one with a norm, an average */
    "input 2 6 6\nconv2d 3 kernel=3 padding=1\nsigmoid\nresidual {\nconv2d 4 kernel=3 padding=1 stride=2\nbatchnorm\n"
    "} shortcut {\nconv2d 4 stride=2\nbatchnorm\n}\nsigmoid\nresidual {\nconv2d 5\nsigmoid\n} shortcut {\nconv2d 5\n}\n"
    "residual { conv2d 5 kernel=3 }\nshortcut { avgpool 3 }\nflatten\nlinear 3\n",
    /* pre-activation order: sums read by a norm and by the next sum, three deep */
    "input 2 4 4\nconv2d 4 kernel=3 padding=1\nrepeat 3 {\nresidual {\nbatchnorm\nsigmoid\n"
    "conv2d 4 kernel=3 padding=1\nbatchnorm\nsigmoid\nconv2d 4 kernel=3 padding=1\n}\n}\nbatchnorm\nsigmoid\nflatten\n"
    "linear 3\n",
    /* the net's input in a sum, a sum as the logits, a body that is a flatten */
    "input 3 1 1\nresidual { conv2d 3 }\nflatten\nresidual { linear 3 }\n",
    "input 2 3 2\nconv2d 2\nflatten\nresidual { linear 12\nbatchnorm\n}\nlinear 3\n",
    "input 2 1 1\nconv2d 3\nresidual { flatten } shortcut { flatten }\nlinear 4\nresidual { sigmoid\nbatchnorm }\n",
    /* branches, one empty, one that ends in what others read, branches in branches, features */
    "input 2 5 5\nconv2d 3 kernel=3\nsigmoid\nconcat {\nbranch { conv2d 2 bias=no }\nbranch { }\n"
    "branch { conv2d 2\nbatchnorm\nsigmoid }\nbranch { conv2d 4 kernel=3 padding=1\nsigmoid }\n}\nbatchnorm\n"
    "conv2d 3 kernel=2\nflatten\nconcat { branch { linear 2 } branch { sigmoid }\n"
    "branch { concat { branch { linear 3 }\n"
    "branch { batchnorm } } } }\nlinear 3\n",
    "input 1 4 4\nconcat { branch { conv2d 2 } branch { } branch { batchnorm } }\nconv2d 3 kernel=3\nflatten\n"
    "concat { branch { linear 1 } branch { linear 2 } }\n",
    /* blocks in blocks; an output with four readers */
    "input 2 4 4\nconv2d 3\nsigmoid\nresidual {\nconcat { branch { conv2d 1 }\n"
    "branch { residual { conv2d 3\nbatchnorm } } }\n"
    "conv2d 3\n} shortcut {\nresidual { conv2d 3\nbatchnorm\n}\nsigmoid\n}\nbatchnorm\nconcat { branch { } branch { }\n"
    "branch { residual { sigmoid } }\nbranch { residual { residual { conv2d 3 } } }\n}\nlayernorm\nflatten\nlinear 3\n",
    /* frozen norms in sums */
    "input 2 4 4\nconv2d 3\nresidual { conv2d 3\nbatchnorm use_moving=yes }\nsigmoid\nresidual { conv2d 3\n"
    "batchnorm tracking=no }\nsigmoid\nresidual { sigmoid\nconv2d 3\nbatchnorm hold_affine=yes\n}\nflatten\nlinear 3\n",
    /* the mean alone, the deviation alone: in units and sums, held, moving, with other options, after the activation;
     * a bias before the second kind has a gradient */
    "input 2 7 6\nconv2d 4 kernel=3\nbatchnorm normalize=mean\nsigmoid\navgpool 2\nconv2d 5 kernel=2\n"
    "batchnorm normalize=mean eps=0\nrelu\nflatten\nlinear 6\nbatchnorm normalize=mean scale=no\nsigmoid\nlinear 4\n",
    "input 2 3 3\nflatten\nlinear 4\nbatchnorm normalize=mean use_moving=yes\nsigmoid\n"
    "batchnorm normalize=mean affine=no momentum=cumulative\n"
    "linear 3\nbatchnorm normalize=mean tracking=no hold_affine=yes\n",
    "input 2 7 6\nconv2d 4 kernel=3\nbatchnorm normalize=deviation\nsigmoid\navgpool 2\nconv2d 5 kernel=2\n"
    "batchnorm normalize=deviation eps=0.1 moving_variance=population\nrelu\nflatten\nlinear 3\n",
    "input 2 4 4\nbatchnorm normalize=deviation center=no\nflatten\nlinear 6\nbatchnorm normalize=deviation "
    "use_moving=yes\nsigmoid\nbatchnorm normalize=deviation affine=no momentum=cumulative eps=1\nlinear 3\n",
    "input 2 3 3\nconv2d 3 kernel=2\nbatchnorm normalize=deviation tracking=no\nsigmoid\nflatten\nlinear 3\n"
    "batchnorm normalize=deviation hold_affine=yes\n",
    "input 1 6 6\nconv2d 3 kernel=3\nbatchnorm normalize=deviation use_moving=yes hold_moving=yes\nsigmoid\navgpool 2\n"
    "flatten\nlinear 6\nbatchnorm normalize=mean use_moving=yes hold_moving=yes hold_affine=yes\nlinear 3\n",
    "input 2 5 5\nconv2d 3 kernel=3 padding=1\nresidual {\nconv2d 3 kernel=3 padding=1\n"
    "batchnorm normalize=deviation\n}\nrelu\nresidual {\nconv2d 3\nbatchnorm normalize=mean\nsigmoid\n"
    "conv2d 3 bias=no\nbatchnorm normalize=mean\n}\nsigmoid\nflatten\nlinear 3\n",
    "input 2 5 5\nconv2d 3 kernel=3\nresidual { conv2d 3\nbatchnorm normalize=deviation use_moving=yes\n"
    "} shortcut { conv2d 3\nbatchnorm normalize=deviation hold_moving=yes eps=0.5\n}\nrelu\n"
    "batchnorm normalize=mean\nmaxpool 2\nflatten\nlinear 3\n",
    /* before activations whose backward asks for z once more */
    "input 2 6 6\nconv2d 4 kernel=3\nbatchnorm normalize=deviation\ngelu\navgpool 2\nconv2d 5 kernel=2\n"
    "batchnorm normalize=mean\ngelu\nflatten\nlinear 6\nbatchnorm normalize=deviation use_moving=yes\ngelu\nlinear 3\n",
    "input 2 4 4\nconv2d 3\nresidual { conv2d 3\nbatchnorm normalize=deviation }\ngelu\nflatten\nlinear 3\n",
    /* norms without gamma or beta in sums */
    "input 2 5 4\nconv2d 3\nresidual { conv2d 3 kernel=3 padding=1\nbatchnorm scale=no }\nsigmoid\nresidual {\n"
    "conv2d 3\nbatchnorm center=no }\nrelu\nresidual { batchnorm scale=no\nsigmoid\nconv2d 3\nbatchnorm affine=no\n"
    "}\nflatten\nlinear 3\n",
    /* groups enough to be cut into pieces, some groups each */
    "input 1 11 11\nconv2d 20 kernel=3\nsigmoid\nconv2d 40 kernel=5 padding=2 groups=5\nsigmoid\navgpool 9\nflatten\n"
    "linear 3\n",
};

#endif
