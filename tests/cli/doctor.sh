#!/bin/sh
# SPDX-License-Identifier: MIT
# doctor: a healthy model, models with one known fault each, JSON, wrong usage.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
cat >small.net <<'END'
input 1 28 28
conv2d 4 kernel=5 stride=3
batchnorm
relu
conv2d 4 kernel=3
batchnorm
sigmoid
flatten
linear 10
END
doctor="$EVENKEEL doctor --data tiny"
"$EVENKEEL" train --data tiny --net small.net --epochs 2 --batch-size 32 --quiet --out fresh.safetensors
"$EVENKEEL" calibrate fresh.safetensors --data tiny --samples 320 --out well.safetensors >/dev/null
edit()
{
    python3 "$here/edit_model.py" well.safetensors "$@"
}

# findings FILE: kinds and layers, in their order
findings()
{
    python3 -c 'import json, sys
print(*[f["kind"] + ":" + (f["layer"] or "net") for f in json.load(open(sys.argv[1]))["findings"]])' "$1"
}

passes "a calibrated model" "^ +1 +4 +0\.000 " $doctor well.safetensors
passes "is well" "^Nothing to complain of" $doctor well.safetensors
passes "and as JSON" '"findings":\[\]' $doctor well.safetensors --json
passes "on some samples" "measured on 100 training images" $doctor well.safetensors --samples 100
passes "with one thread" "" $doctor well.safetensors --threads 1 --json
mv out one
passes "with three" '^{' $doctor well.safetensors --threads 3 --json
report "the same with any number of threads" "$(cmp one out 2>&1)"

edit off 1.running_mean=9
passes "moving means that are off" "^layer 1 \(batchnorm\), channels 0, 1, 2 and 3 of 4: saved means are off" $doctor off
report "with what to do" "$(grep -q 'Moving statistics follow weights that have moved on' out || cat out)"
edit wide "4.running_var[2]=50"
passes "a moving variance that is off" '"kind":"drift","layer":"4"' $doctor wide --json
passes "names its channel" "^layer 4 \(batchnorm\), channel 2 of 4: " $doctor wide
edit dead "1.bias[1]=-100" "1.bias[3]=-100"
passes "channels of a relu that are never on" "^layer 2 \(relu\), channels 1 and 3 of 4: never above 0" $doctor dead
edit saturated 4.bias=9
passes "a saturated sigmoid" "^layer 5 \(sigmoid\), channels 0, 1, 2 and 3 of 4: flat" $doctor saturated
edit gamma "1.weight[0]=0.001"
passes "gamma next to 0" "^layer 1 \(batchnorm\), channel 0 of 4: \|gamma\| is below 0.01" $doctor gamma
edit constant 0.weight=0
passes "inputs without variance" "^layer 1 \(batchnorm\), channels 0, 1, 2 and 3 of 4: the input's variance is at most eps" \
    $doctor constant
edit apart 1.running_mean=9 4.running_mean=-9
passes "accuracies that differ" "^accuracy 0.1000 with saved statistics, " $doctor apart
passes "come first" "" $doctor apart --json
same "then the layers in their order" "accuracy:net drift:1 drift:4" "$(findings out | cut -d " " -f 1-3)"
printf 'input 1 28 28\nflatten\nlinear 10\nbatchnorm\n' >last.net
"$EVENKEEL" train --data tiny --net last.net --epochs 1 --batch-size 32 --quiet --out last.safetensors
python3 "$here/edit_model.py" last.safetensors lost 2.running_mean=-3e38 2.running_var=1e-9
passes "outputs that are not finite" "^accuracy on 100 test images: - with moving statistics, [01]" $doctor lost
passes "get a diagnosis" '"accuracy_moving":null' $doctor lost --json
same "that says so first" "not_finite:net" "$(findings out | cut -d " " -f 1)"
edit gone 0.weight=3e38
passes "weights that are not finite" "^accuracy on 100 test images: - with saved statistics, - with exact" $doctor gone
passes "likewise" '"accuracy_exact":null' $doctor gone --json
same "for the whole net twice" "not_finite:net not_finite:net" "$(findings out | cut -d " " -f 1,2)"
printf 'input 1 28 28\nconv2d 3 kernel=5 stride=3\nrelu\nflatten\nlinear 10\n' >plain.net
"$EVENKEEL" train --data tiny --net plain.net --epochs 1 --batch-size 32 --quiet --out plain.safetensors
passes "a net without batch norms" "^accuracy on 100 test images" $doctor plain.safetensors

python3 "$here/make_idx.py" few --train 320 --test 1
passes "one image" "standard error 0\.[1-9]" "$EVENKEEL" doctor --data few apart
report "leave no infinite number" "$(grep -i 'inf\|nan' out)"
python3 "$here/make_idx.py" other --train 40
if "$EVENKEEL" inspect well.safetensors | grep -q '^data.digest '; then
    run "$EVENKEEL" doctor --data other well.safetensors
    report "other images are warned of" "$(grep -q 'was trained on other images than these' err || cat err)"
fi
run $doctor well.safetensors --samples 12
report "chance is no drift" "$(grep 'saved means are off' out)"
fails "no model" 2 "MODEL" "$EVENKEEL" doctor
fails "a file that is none" 1 "tiny" $doctor tiny/train-images-idx3-ubyte
fails "no samples" 2 "samples" $doctor well.safetensors --samples 0
python3 "$here/make_idx.py" half --side 14
fails "another shape" 1 "images are 1x14x14" "$EVENKEEL" doctor --data half well.safetensors
finish
