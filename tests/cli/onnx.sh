#!/bin/sh
# SPDX-License-Identifier: MIT
# ONNX files as models: what is printed, what is refused, and whose option is whose.
. "$(dirname "$0")/helpers"
files="$here/../golden/onnx"
cd "$work" || exit 1
run "$EVENKEEL" import "$files/sums.onnx" -o m
if grep -q "this build reads no ONNX" err; then
    echo "SKIP: a build without ONNX"
    exit 0
fi
passes "a net with its weights" "^3 +linear 3 +3 +99 +96$" "$EVENKEEL" import "$files/sums.onnx" -o m
passes "what was left out is told" "^left out: the Softmax at the end: a net gives logits$" "$EVENKEEL" import \
    "$files/activations.onnx" -o m
passes "and that it is saved" "^saved m$" "$EVENKEEL" import "$files/activations.onnx" -o m
passes "the model is one" "^ +0  conv2d 4 kernel=3 " "$EVENKEEL" inspect m
printf 'cat\r\ndog\r\nbird\r\n' >labels
passes "classes get names" "^saved m$" "$EVENKEEL" import "$files/sums.onnx" -o m --labels labels --normalize 0.5,0.25/2,4
same "names and normalisation are in the model" "cat dog bird 0.5 0.25 2 4" "$(python3 - <<'END'
import json, struct
data = open("m", "rb").read()
notes = json.loads(data[8:8 + struct.unpack_from("<Q", data)[0]])["__metadata__"]
print(*(notes["evenkeel.note." + key].replace("\n", " ") for key in ("labels", "input.mean", "input.std")))
END
)"
rm m
fails "a name too few" 1 "labels: it names 3 classes, a line each, and the net has 4 outputs$" "$EVENKEEL" import \
    "$files/branches.onnx" -o m --labels labels
fails "normalisation twice" 1 "^evenkeel import: --normalize: the graph of .*norms.onnx normalises its input itself$" \
    "$EVENKEEL" import "$files/norms.onnx" -o m --normalize 0,0,0/1,1,1
fails "normalisation by data" 2 "there is no data to measure" "$EVENKEEL" import "$files/sums.onnx" -o m --normalize data
fails "an output that is none" 1 "sums.onnx: nothing makes its output 'z'$" "$EVENKEEL" import "$files/sums.onnx" -o m --output z
fails "another shape" 1 "sums.onnx: extent 2 of its input is 4, and 5 is asked for$" "$EVENKEEL" import "$files/sums.onnx" \
    -o m --input 2x5x4
fails "options of weights" 2 "are for weights; an ONNX file has its net$" "$EVENKEEL" import "$files/sums.onnx" -o m --net lenet
fails "options of ONNX files" 2 "are for ONNX files, whose names end in .onnx$" "$EVENKEEL" import m.safetensors -o m --net lenet \
    --bytes
cp "$files/sums.onnx" SUMS.ONNX
passes "a name in capitals" "^saved capitals$" "$EVENKEEL" import SUMS.ONNX -o capitals
head -c 1000 "$files/sums.onnx" >cut.onnx
fails "half a file" 1 "^evenkeel import: cut.onnx: not an ONNX model, or a damaged one$" "$EVENKEEL" import cut.onnx -o m
fails "no file" 1 "none.onnx: cannot be opened: No such file or directory$" "$EVENKEEL" import none.onnx -o m
absent "nothing was written" "m"
finish
