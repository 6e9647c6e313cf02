#!/bin/sh
# SPDX-License-Identifier: MIT
# From IDX files to a trained model, its evaluation and inspection, on a small made-up data set.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32 --seed 3"

# ---- Training

passes "train" "^bn-lenet, 44878 parameters, on tiny: 320 images, 100 for validation; 1 thread$" \
    $train --epochs 3 --threads 1 --out model.safetensors
same "a line per epoch" 3 "$(grep -Ec '^ +[0-9]+( +[0-9.]+){6}$' out)"
same "says where the model went" "saved model.safetensors" "$(tail -n 1 out)"
absent "no temporary file remains" "*.tmp*"
passes "train without --out says so" "the model will not be kept \(no --out\)$" $train --epochs 1
run $train --epochs 1 --quiet
same "--quiet prints nothing" "0 0" "$status $(cat out err | wc -c)"
passes "--verbose tells the instruction set" "^instruction set (avx512|avx2|neon|baseline)" \
    $train --epochs 1 --verbose
fails "an instruction set that is none" 1 "EVENKEEL_CPU" env EVENKEEL_CPU=abacus $train --epochs 1

for threads in 2 3; do
    $train --epochs 3 --threads $threads --out again.safetensors --quiet
    report "the same model with $threads threads" "$(cmp model.safetensors again.safetensors 2>&1)"
done
for micro in 1 20 31; do
    $train --epochs 3 --micro-batch $micro --out again.safetensors --quiet
    report "the same model with micro-batches of $micro" "$(cmp model.safetensors again.safetensors 2>&1)"
done
$train --epochs 3 --micro-batch 20 --ghost --out other.safetensors --quiet
report "ghosts, another model" "$(cmp -s model.safetensors other.safetensors && echo the same)"
"$EVENKEEL" inspect other.safetensors >out
same "which notes them" "train.ghost 20" "$(awk '$1 == "train.ghost" {print $1, $2}' out)"
fails "ghosts without micro-batches" 2 "^evenkeel train: --ghost says how --micro-batch" $train --ghost
$train --epochs 3 --out other.safetensors --quiet --seed 4
report "another seed, another model" "$(cmp -s model.safetensors other.safetensors && echo the same)"
$train --epochs 3 --out other.safetensors --quiet --no-shuffle
report "file order, another model" "$(cmp -s model.safetensors other.safetensors && echo the same)"
fails "a start file that is none" 1 "train-labels-idx1-ubyte" $train --init tiny/train-labels-idx1-ubyte --out none
passes "--init goes on from a model" "^saved" $train --init model.safetensors --epochs 1 --out more.safetensors
"$EVENKEEL" inspect more.safetensors --layer 1 >out
same "batches counted on" "1 batches 40" "$(awk '$2 == "batches" {print $1, $2, $3}' out)"

printf 'input 1 28 28\nflatten\nlinear 10\n' >linear.net
passes "a net from a text file" "^linear.net, 7850 parameters" $train --net linear.net --epochs 1
printf 'input 1 28 28\nflatten\nliner 10\n' >wrong.net
fails "a net's text with an error names line and column" 1 "wrong.net:3:1" $train --net wrong.net
printf 'input 1 28 28\n\0flatten\n' >zero.net
fails "a net's text with a zero byte" 1 "zero.net: not a net's text" $train --net zero.net
printf 'input 1 28 28\nflatten\n' >poor.net
fails "a net without parameters" 1 "poor.net: a net without parameters$" $train --net poor.net
printf 'input 1 28 28\n' >bare.net
fails "a net without layers" 1 "bare.net: .*layer" $train --net bare.net
fails "a mistyped net" 1 "neither a net nor a file 'bnlenet'; did you mean 'bn-lenet'\?" $train --net bnlenet
fails "an unknown net" 1 "neither a net nor a file 'resnet-9000'; built in are lenet" $train --net resnet-9000
fails "a folder for a net" 1 "^evenkeel train: tiny: " $train --net tiny
printf 'input 1 32 32\nflatten\nlinear 10\n' >big.net
fails "a net for other images" 1 "^evenkeel train: .*28" $train --net big.net
printf 'input 1 28 28\nflatten\nlinear 9\n' >few.net
fails "a net with fewer outputs than classes" 1 "^evenkeel train: .*(9|10)" $train --net few.net

fails "one value per channel" 1 "one value" $train --batch-size 1 --out none
fails "one value per channel in the last batch" 1 "one value" $train --batch-size 319 --out none
absent "no model of it" "none*"

# ---- Recipes

passes "weight decay is said, and where it applies" "; weight decay 0.0005 on weights alone; the model" \
    $train --epochs 1 --weight-decay 5e-4
fails "of which there is none" 2 "decay of all parameters needs a weight decay" $train --epochs 1 --decay all
passes "likewise on everything" "; weight decay 0.0005 on all parameters; the model" \
    $train --epochs 1 --weight-decay 5e-4 --decay all
passes "a recipe" \
    "0.9; learning rate 0.05, cosine to 0.001, warm-up of 0.5 epochs; gradients clipped to norm 5; label smoothing 0.1$" \
    $train --epochs 2 --momentum 0.9 --nesterov --lr 0.05 --schedule cosine --min-lr 0.001 --warmup 0.5 --clip-norm 5 \
    --label-smoothing 0.1 --weight-decay 1e-3 --out recipe.safetensors
"$EVENKEEL" inspect recipe.safetensors >out
same "which the model tells" "train.nesterov 1 train.schedule cosine train.warmup_epochs 0.5 train.weight_decay 0.001 " \
    "$(awk '$1 ~ /^train.(nesterov|schedule|weight_decay|warmup_epochs)$/ {print $1, $2}' out | sort | tr '\n' ' ')"
for threads in 1 3; do
    $train --epochs 2 --threads $threads --out again$threads.safetensors --quiet --optimizer adamw --weight-decay 0.01 \
        --clip-norm 0.5 --schedule multistep --milestones 1 --gamma 0.5 --warmup-steps 3
done
report "the same model with three threads, AdamW" "$(cmp again1.safetensors again3.safetensors 2>&1)"
$train --epochs 2 --out adam.safetensors --quiet --optimizer adam
"$EVENKEEL" inspect adam.safetensors >out
same "adam's learning rate" "train.lr 0.001" "$(awk '$1 == "train.lr" {print $1, $2}' out)"
fails "a mistyped optimizer" 2 "--optimizer: there is no 'admw'; did you mean 'adamw'" $train --optimizer admw
fails "an unknown schedule" 2 "--schedule: there is no 'warm'; there are constant, step" $train --schedule warm
fails "an unknown decay" 2 "--decay: there is no 'gamma'; there are weights, all" $train --decay gamma
for list in 1, ,1 1,,2 1.5 a 1234567; do
    fails "milestones '$list'" 2 "--milestones: '$list' is not a list" $train --schedule multistep --milestones $list
done
fails "milestones that do not ascend" 2 "milestone 2 \(1\) does not ascend" \
    $train --schedule multistep --milestones 2,1
fails "Nesterov's without momentum" 2 "needs a momentum" $train --nesterov
fails "a momentum of 1" 2 "momentum 1 is not" $train --momentum 1
fails "a momentum of 1.5" 2 "--momentum: '1.5' is not a number from 0 to 1" $train --momentum 1.5
fails "a step schedule without its size" 2 "^evenkeel train: step-size 0: a step schedule needs" $train --schedule step
fails "a warm-up as long as the training" 1 "warm-up is as long" $train --epochs 2 --warmup 2
same "is told before a table begins" "" "$(cat out)"
fails "a distance of records of no log" 2 "^evenkeel train: --log-every is about --log FILE and --tensorboard DIR; add one" \
    $train --log-every 5

# ---- Evaluation

passes "eval" "^accuracy|accuracy 1\.0000 \(100 right\)" "$EVENKEEL" eval model.safetensors --data tiny
same "a row for each class, and one in the confusion matrix" 2 "$(grep -Ec '^7 ' out)"
passes "eval --json" '"accuracy": 1' "$EVENKEEL" eval model.safetensors --data tiny --json
report "which is JSON" "$(python3 -m json.tool out 2>&1 >/dev/null)"
same "confusion sums up to the images" 100 \
    "$(python3 -c 'import json; print(sum(map(sum, json.load(open("out"))["confusion"])))')"
passes "eval of the training images" "train: 320 images" "$EVENKEEL" eval model.safetensors --data tiny --split train
$train --epochs 1 --lr 1e-12 --out ignorant.safetensors --quiet
run "$EVENKEEL" eval ignorant.safetensors --data tiny --json
same "rows of the confusion matrix are the true classes" "[10]" \
    "$(python3 -c 'import json; print(sorted({sum(row) for row in json.load(open("out"))["confusion"]}))')"
run "$EVENKEEL" eval model.safetensors --data tiny --json --threads 1
cp out one
run "$EVENKEEL" eval model.safetensors --data tiny --json --threads 3
report "the same with three threads" "$(cmp one out 2>&1)"
python3 "$here/make_idx.py" five --train 40 --test 5
passes "a class without images has no recall, in JSON" '"recall": null' \
    "$EVENKEEL" eval model.safetensors --data five --json
report "which is JSON" "$(python3 -m json.tool out 2>&1 >/dev/null)"
passes "a class without images has no recall, as text" "^9 +0 +0 +-" "$EVENKEEL" eval model.safetensors --data five
passes "weights alone, with --net" "accuracy" "$EVENKEEL" eval model.safetensors --net bn-lenet --data tiny
fails "weights of another net" 1 "^evenkeel eval: " "$EVENKEEL" eval model.safetensors --net lenet --data tiny
fails "no such model" 1 "^evenkeel eval: gone.safetensors: " "$EVENKEEL" eval gone.safetensors --data tiny
fails "a folder for a model" 1 "^evenkeel eval: tiny: " "$EVENKEEL" eval tiny --data tiny
fails "no data set" 1 "^evenkeel eval: .*nowhere" "$EVENKEEL" eval model.safetensors --data nowhere
for size in 0 7 100 3000 100000; do
    head -c $size model.safetensors >cut.safetensors
    fails "a model cut to $size bytes" 1 "^evenkeel inspect: cut.safetensors: " "$EVENKEEL" inspect cut.safetensors
done

# ---- Inspection

passes "inspect" "^    0  conv2d 6 kernel=5 +6x24x24 +156 +86400$" "$EVENKEEL" inspect model.safetensors
same "totals" "44878 281640" "$(awk '/an image, forward/ {print $(NF - 1), $NF}' out)"
same "four normalisations have a moving variance" 4 "$(grep -c 'moving variance  ' out)"
same "the recipe is told" "train.batch_size 32" "$(awk '$1 == "train.batch_size" {print $1, $2}' out)"
passes "inspect --json" '"role": "moving_variance"' "$EVENKEEL" inspect model.safetensors --json
report "which is JSON" "$(python3 -m json.tool out 2>&1 >/dev/null)"
passes "inspect --layer" "^channel +gamma +beta +moving mean +moving variance$" \
    "$EVENKEEL" inspect model.safetensors --layer 1
same "a row for each of six channels" 6 "$(grep -Ec '^ +[0-5]( +-?[0-9][0-9.e-]*){4}$' out)"
passes "inspect --layer of weights" "^    0  weight +150 " "$EVENKEEL" inspect model.safetensors --layer 0
passes "inspect --layer without parameters" "^layer 2: sigmoid" "$EVENKEEL" inspect model.safetensors --layer 2
fails "no such layer" 1 "has no layer 16; the last is 15$" "$EVENKEEL" inspect model.safetensors --layer 16
passes "inspect --plan" "^training, batches of 32$" "$EVENKEEL" inspect model.safetensors --plan 32
same "which tells the memory in the end" 1 "$(tail -n 1 out | grep -Ec '[0-9] MiB')"
fails "a plan of no images" 2 "^evenkeel inspect: --plan" "$EVENKEEL" inspect model.safetensors --plan 0
for other in --json "--layer 0"; do
    fails "--plan with $other" 2 "--plan goes with neither --json nor --layer$" \
        "$EVENKEEL" inspect model.safetensors --plan 8 $other
done

# Notes may hold anything: what steers a terminal is not printed (U+009B is a terminal's CSI), the rest is.
python3 - <<'END'
import json
data = open("model.safetensors", "rb").read()
size = int.from_bytes(data[:8], "little")
header = json.loads(data[8:8 + size])
header["__metadata__"]["evenkeel.note.evil"] = "a\x1b[31mb\u009b31mc\x7fd\u0080e"
header["__metadata__"]["evenkeel.note.long"] = 300 * "\u00e9"
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open("steering.safetensors", "wb").write(len(text).to_bytes(8, "little") + text + data[8 + size:])
END
passes "inspect of notes that steer" "^evil +a\?\[31mb\?\?31mc\?d\?\?e$" \
    "$EVENKEEL" inspect steering.safetensors
same "long notes are printed whole" 300 "$(awk '$1 == "long" {print $2}' out | grep -o 'é' | wc -l)"
fails "a file name that steers" 1 "gone\?b\?\?c : cannot" "$EVENKEEL" inspect "$(printf 'gone\233b\302\233c\033')"
finish
