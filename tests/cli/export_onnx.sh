#!/bin/sh
# SPDX-License-Identifier: MIT
# Models written as ONNX files: what the command says and refuses, and the files in ONNX's checker and ONNX Runtime.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 40 --test 20
printf 'input 1 28 28\nconv2d 3 kernel=5\nbatchnorm\nrelu\nbatchnorm\nflatten\nlinear 10\n' >small.net
"$EVENKEEL" train --data tiny --net small.net --epochs 1 --batch-size 20 --normalize data --quiet -o m.safetensors ||
    report "a model to export" "no model"

run "$EVENKEEL" export m.safetensors --to onnx -o m.onnx
if grep -q 'this build writes no ONNX files' err; then
    echo "SKIP: this build is without ONNX"
    finish
fi

# ---- What it says

passes "a file" "^opset 17, 1 batch norm folded, 1 batch norm is a node, [0-9]+ bytes$" "$EVENKEEL" export m.safetensors --to onnx -o m.onnx
report "proved on random images" "$(grep -Eq '^read back, on 64 random images: largest difference .*; no label changes$' out || cat out)"
same "saved" "saved m.onnx" "$(tail -n 1 out)"
passes "batch norms as nodes" "^opset 11, 2 batch norms are nodes, [0-9]+ bytes$" \
    "$EVENKEEL" export --to onnx m.safetensors --out kept.onnx --keep-batchnorm --batch 4 --opset 11
passes "proved on images of a data set" "^read back, on 20 images of tiny: " \
    "$EVENKEEL" export m.safetensors --to onnx -o m.onnx --data tiny
passes "on some of its training images" "^read back, on 7 images of tiny: " \
    "$EVENKEEL" export m.safetensors --to onnx -o m.onnx --data tiny --split train --samples 7
passes "the way back" "" "$EVENKEEL" import kept.onnx --out back.safetensors
report "is the same model" "$(cmp m.safetensors back.safetensors 2>&1)"
passes "the help tells the default" "they are folded into the weights" "$EVENKEEL" export --to onnx --help

# ---- What it refuses

fails "no file" 2 "--out is missing" "$EVENKEEL" export m.safetensors --to onnx
fails "another opset" 2 "--opset" "$EVENKEEL" export m.safetensors --to onnx -o n.onnx --opset 10
fails "a batch of none" 2 "--batch: '0' is neither dynamic nor a number" "$EVENKEEL" export m.safetensors --to onnx -o n.onnx --batch 0
fails "a batch of words" 2 "--batch: '4x' is neither" "$EVENKEEL" export m.safetensors --to onnx -o n.onnx --batch 4x
fails "a split of another name" 2 "--split: 'val' is neither" "$EVENKEEL" export m.safetensors --to onnx -o n.onnx --split val
fails "a net without weights" 1 "lenet: a net without weights" "$EVENKEEL" export lenet --to onnx -o n.onnx
fails "data that are not there" 1 "nothing" "$EVENKEEL" export m.safetensors --to onnx -o n.onnx --data nothing
python3 "$here/make_idx.py" other --train 4 --test 4 --side 9
fails "images of another size" 1 "^evenkeel export --to onnx: other: images are 1x9x9, the net's input is 1x28x28" \
    "$EVENKEEL" export m.safetensors --to onnx -o n.onnx --data other
fails "a folder that is not there" 1 "none/n.onnx" "$EVENKEEL" export m.safetensors --to onnx -o none/n.onnx
same "nothing is left behind" "" "$(ls | grep -e '^n\.' -e tmp)"

# ---- In ONNX's own programs

if python=$(find_python onnx,onnxruntime); then
    count=40 most=500000 # resnet-32 is the largest of these
    [ -n "${EVENKEEL_TEST_QUICK-}" ] && count=8 most=100000
    [ -n "${EVENKEEL_TEST_ALL-}" ] && count=200 most=12000000
    mkdir nets
    "$BUILD/tests/test_onnx_export" write nets $count $most || report "files to look at" "none"
    "$python" "$here/../onnx/check.py" nets >checked 2>&1
    cat checked
    grep -q '^ok [0-9]* ONNX files in' checked || report "in ONNX Runtime" "$(tail -n 1 checked)"
else
    echo "SKIP: no Python with onnx and onnxruntime: the files are not run elsewhere"
fi
finish
