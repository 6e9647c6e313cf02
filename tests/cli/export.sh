#!/bin/sh
# SPDX-License-Identifier: MIT
# What is exported: the targets, and nets as PyTorch's modules, in PyTorch where there is one.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 40 --test 20

# ---- Targets

fails "no target" 2 "^evenkeel export: --to is missing; it takes pytorch \(" "$EVENKEEL" export lenet
fails "no such target" 2 "--to: there is no target 'tensorflow'; there are pytorch \(" "$EVENKEEL" export lenet --to tensorflow
fails "a mistyped target" 2 "did you mean 'pytorch'\?" "$EVENKEEL" export lenet --to=pytorhc
passes "the help lists them" "^  pytorch +the Python text" "$EVENKEEL" export --help
passes "each has its own" "^  --weights FILE" "$EVENKEEL" export --help --to pytorch
fails "no model" 2 "^evenkeel export --to pytorch: MODEL is missing; 'evenkeel export --to pytorch --help' explains" \
    "$EVENKEEL" export --to pytorch
fails "no such model" 1 "nothing.safetensors: cannot be opened" "$EVENKEEL" export --to pytorch nothing.safetensors
fails "--to twice" 2 "there is no option '--to'" "$EVENKEEL" export --to pytorch lenet --to onnx

# ---- PyTorch

printf 'input 1 28 28\nconv2d 3 kernel=5\nbatchnorm scale=no\nrelu\nflatten\nlinear 10\n' >small.net
"$EVENKEEL" train --data tiny --net small.net --epochs 1 --batch-size 20 --normalize data --quiet \
    --checkpoint kept -o m.safetensors || report "a model to export" "no model"
passes "a model" "^        nn.Conv2d\(1, 3, 5\),  # 0$" "$EVENKEEL" export m.safetensors --to pytorch
cp out printed.py
passes "into a file" "" "$EVENKEEL" export --to pytorch m.safetensors -o m.py
report "which is the same" "$(cmp m.py printed.py 2>&1)"
same "with normalisation and labels" 2 "$(grep -Ec '^    return Normalized\($|^LABELS = \[$' m.py)"
for net in small.net bn-lenet resnet-110; do
    passes "the net $net alone" "^def build" "$EVENKEEL" export $net --to pytorch --weights fresh.safetensors
    report "is Python" "$(python3 -m ast out 2>&1 >/dev/null)"
    passes "and has weights" "^input" "$EVENKEEL" inspect fresh.safetensors
done
passes "a checkpoint's weights" "^def build" "$EVENKEEL" export kept/*.safetensors --to pytorch --weights plain.safetensors
same "without what training needs" 0 "$(grep -c checkpoint.checksums plain.safetensors)"
fails "a file that cannot be written" 1 "none/m.py: cannot be written" "$EVENKEEL" export m.safetensors --to pytorch -o none/m.py

# ---- C

passes "in integers" "^saved int8.c and int8.h$" "$EVENKEEL" export m.safetensors --to c --int8 --data tiny --samples 30 -o int8
same "calibrated on what was asked for" "calibrated on 30 training images of tiny" "$(head -n 1 out)"
same "accuracy before and after" 2 "$(grep -Ec '^in (float|8-bit integers): loss [0-9.]+, accuracy [0-9.]+ \([0-9]+ of 20 images\)$' out)"
# self_test FILE PREFIX IMAGES SED: the file's passes, and all of its images fail once SED has changed a number.
self_test()
{
    printf '#include "%s.h"\nint main(void) { return %s_self_test(); }\n' "$1" "$2" >use.c
    passes "which compiles and passes its self-test" "" \
        sh -c "cc -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Werror use.c $1.c -o use && ./use"
    sed "$4" "$1.c" >wrong.c
    cc -std=c99 use.c wrong.c -o use && ./use
    same "a self-test that can fail" "$3" $?
}
self_test int8 int8 2 's/_bias_1\[3\] = {/&\n1000000+/'
passes "in float" "^saved float.c and float.h$" "$EVENKEEL" export m.safetensors --to c --data tiny --prefix net --tests 3 -o float
same "with images of the data" "self-test of 3 images of tiny" "$(sed -n 2p out)"
self_test float net 3 's/_bias_0\[3\] NET_FLASH = {/&\n70.0f+/'
passes "a name with its ending" "^saved ending.c and ending.h$" "$EVENKEEL" export m.safetensors --to c -o ending.c
same "is the file's" "ending.c ending.h" "$(echo ending*)"
passes "in integers, too" "^saved 8bit.c and 8bit.h$" \
    "$EVENKEEL" export m.safetensors --to c --int8 --data tiny --samples 30 -o 8bit.c
same "whose names begin with a letter" 1 "$(grep -c '^void n8bit_predict' 8bit.c)"
passes "with random images" "^self-test of 2 random images$" "$EVENKEEL" export m.safetensors --to c -o float
passes "a prefix and tests in integers" "^self-test of 5 images of " \
    "$EVENKEEL" export m.safetensors --to c --int8 --data tiny --samples 30 --prefix net --tests 5 -o whole
self_test whole net 5 's/_bias_1\[3\] = {/&\n1000000+/'
fails "no prefix of C's" 1 "prefix '1x'" "$EVENKEEL" export m.safetensors --to c --prefix 1x -o lost
fails "samples in float" 2 "calibration of --int8" "$EVENKEEL" export m.safetensors --to c --samples 9 -o lost
fails "no net alone" 1 "a net without weights" "$EVENKEEL" export bn-lenet --to c --int8 -o lost
fails "no folder" 1 "none" "$EVENKEEL" export m.safetensors --to c --int8 --data tiny -o none/lost
same "and nothing is left" "" "$(ls | grep "^lost")"

if python=$(find_python torch); then
    count=40 most=500000 # resnet-32 is the largest of these
    [ -n "${EVENKEEL_TEST_QUICK-}" ] && count=15 most=100000
    [ -n "${EVENKEEL_TEST_ALL-}" ] && count=200 most=1000000000
    mkdir nets
    "$BUILD/tests/test_pytorch" write nets $count $most || report "nets to look at" "none"
    "$python" "$here/../pytorch/check.py" "$EVENKEEL" nets >checked 2>&1
    cat checked
    grep -q '^ok [0-9]* nets in PyTorch' checked || report "in PyTorch" "$(tail -n 1 checked)"
else
    echo "SKIP: no Python with torch: printed modules are not run"
fi
finish
