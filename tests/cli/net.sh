#!/bin/sh
# SPDX-License-Identifier: MIT
# The built-in nets, nets in files, and training a built-in net on data of another shape.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 40 --test 20

for net in "$here"/../../examples/exercises/*.net; do
    passes "show $(basename "$net")" "^linear|linear 10" "$EVENKEEL" net show "$net"
done
passes "list" "^resnet-110 +residual net of 110 layers" "$EVENKEEL" net list
passes "show" "^ +an image, forward +269722 +40551040$" "$EVENKEEL" net show resnet-20
passes "show has paths" "^3.body.0 +conv2d 16 kernel=3 padding=1 bias=no +16x32x32 +2304 +2359296$" \
    "$EVENKEEL" net show resnet-20
passes "show says what memory" "training in batches of 32 [0-9.]+ MiB, prediction [0-9.]+ MiB \(1 thread\)$" \
    "$EVENKEEL" net show resnet-20 --batch-size 32 --threads 1
passes "memory of micro-batches" "training in batches of 64, 16 at a time, [0-9.]+ MiB" \
    "$EVENKEEL" net show resnet-20 --batch-size 64 --micro-batch 16 --threads 1
passes "show says which biases are idle" "^biases computed away, by the batch norms behind them: 0, 4, 9, 12$" \
    "$EVENKEEL" net show bn-lenet
passes "show for other images and classes" "^23 +linear 7 +7 +455 +448$" \
    "$EVENKEEL" net show resnet-20 --input 1x28x28 --classes 7
passes "show with the plan" "^join_sums +block layer 3.body.4: 16x32x32, norm, relu$" "$EVENKEEL" net show resnet-20 --plan
passes "show as text" "^residual shortcut=pad stride=2 \{$" "$EVENKEEL" net show resnet-20 --text
"$EVENKEEL" net show resnet-20 --text >mine.net
passes "show of a file" "^ +an image, forward +269722 +40551040$" "$EVENKEEL" net show mine.net
"$EVENKEEL" net show lenet --input 1x28x28 --text >lenet.net
"$EVENKEEL" train --data tiny --net lenet.net --epochs 1 --batch-size 20 --quiet -o lenet.safetensors
passes "show of a model" "" "$EVENKEEL" net show lenet.safetensors --text
report "is its net's text" "$(cmp lenet.net out 2>&1)"
printf 'input 1 28 28\nconv2d 4 kernel=3 padding=1 stride=2 bias=no\nflatten\nlinear 10\n' >wide.net
"$EVENKEEL" train --data tiny --net wide.net --epochs 1 --batch-size 20 --quiet -o wide.safetensors
"$EVENKEEL" inspect wide.safetensors | sed -n '/multiply-adds/,/forward/p' >out
same "inspect's columns, whatever is in them" 1 "$(awk '{print length($0)}' out | sort -u | wc -l)"
run "$EVENKEEL" net show resnet-20-proj --json
same "show as JSON" "272474 9.shortcut.0" "$(python3 -c 'import json, sys
net = json.load(sys.stdin)
print(net["parameters"], [l["path"] for l in net["layers"] if "shortcut" in l["path"]][0])' <out)"

fails "show of nothing" 1 "neither a net nor a file 'resnet-21'; did you mean 'resnet-20'" "$EVENKEEL" net show resnet-21
fails "no such shape" 2 "--input: '3x32' is no shape" "$EVENKEEL" net show lenet --input 3x32
fails "shape and more" 2 "--input: '3x32x32x1' is no shape" "$EVENKEEL" net show lenet --input 3x32x32x1
fails "images too small" 1 "lenet:5:1: layer 3 \(conv2d\): kernel 5 does not fit" "$EVENKEEL" net show lenet --input 1x8x8
fails "--plan with --json" 2 "do not go together" "$EVENKEEL" net show lenet --plan --json
printf 'input 1 4 4\nresidual {\n  conv2d 2\n}\n' >wrong.net
fails "a net that does not fit" 1 "^evenkeel net show: wrong.net:2:1: layer 0 \(residual\): its body gives 2x4x4" \
    "$EVENKEEL" net show wrong.net
printf 'input 1 28 28\nconv2d 3 kernel=5\nbatchnorm normalize=deviation\nsigmoid\nconv2d 3 kernel=5\nbatchnorm normalize=mean scale=no
sigmoid\nflatten\nlinear 10\n' >lite.net
sed 's/ scale=no//' lite.net >gamma.net
passes "a bias trains before a norm that leaves the mean" "^biases computed away, by the batch norms behind them: 3$" \
    "$EVENKEEL" net show lite.net
passes "train lite batch norms" "^saved" "$EVENKEEL" train --data tiny --net lite.net --epochs 1 --batch-size 20 -o lite.safetensors
passes "inspect them" "^ +4  batchnorm normalize=mean scale=no " "$EVENKEEL" inspect lite.safetensors
passes "evaluate them" "accuracy" "$EVENKEEL" eval lite.safetensors --data tiny
fails "a file without gamma for a net that has one" 1 "do not fit the net; missing: 4.weight" \
    "$EVENKEEL" eval lite.safetensors --data tiny --net gamma.net
"$EVENKEEL" train --data tiny --net gamma.net --epochs 1 --batch-size 20 --quiet -o gamma.safetensors
fails "a gamma for a net without" 1 "do not fit the net; not in the net: 4.weight" \
    "$EVENKEEL" eval gamma.safetensors --data tiny --net lite.net
printf 'input 1 2 2\nbatchnorm normalize=none\n' >wrong.net
fails "no such version" 1 "wrong.net:2:21: normalize must be both, mean or deviation, found 'none'" "$EVENKEEL" net show wrong.net
fails "which of both" 2 "list or show" "$EVENKEEL" net

passes "train a residual net on images it was not made for" "^saved" \
    "$EVENKEEL" train --data tiny --net resnet-20 --init he --epochs 1 --batch-size 20 --lr 0.1 -o m.safetensors
passes "its weights alone find their net again" "accuracy" "$EVENKEEL" eval m.safetensors --data tiny --net resnet-20
passes "inspect a layer in a block" "^layer 3.body.1: batchnorm, output 16x28x28, 32 parameters$" \
    "$EVENKEEL" inspect m.safetensors --layer 3.body.1
"$EVENKEEL" train --data tiny --net resnet-20 --init he --epochs 1 --batch-size 20 --lr 0.1 --threads 1 --quiet -o n.safetensors
same "the same bits for any number of threads" "" "$(cmp m.safetensors n.safetensors 2>&1)"
finish
