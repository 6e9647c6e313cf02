#!/bin/sh
# SPDX-License-Identifier: MIT
# Exact statistics: train --exact-stats, what is said without it, calibrate.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32 --seed 3 --epochs 2"
log="python3 $here/read_log.py"
note() { "$EVENKEEL" inspect "$2" | sed -n "s/^$1 *//p"; }
accuracy() { "$EVENKEEL" eval "$1" --data tiny | sed -n 's/^loss .*, accuracy \([0-9.]*\) .*/\1/p'; }

# ---- Training

passes "train" "^saved" $train --out moving.safetensors --log moving.log
cp out moving.out
passes "train --exact-stats" "^saved" $train --exact-stats --exact-compare --out exact.safetensors --log exact.log
same "the table is that of a training without, but for the validation" "$(awk '$1 ~ /^[12]$/ {print $1, $2, $3}' moving.out)" \
    "$(awk '$1 ~ /^[12]$/ {print $1, $2, $3}' out)"
same "its model validates as it says" "$(awk '$1 == 2 {print $5}' out)" "$(accuracy exact.safetensors)"
report "the log's records" "$($log check exact.log 2>&1)"
same "the log has its samples" "128 False" "$($log get exact.log config.exact_stats config.exact_final)"
last() { python3 -c "import json, sys; print([json.loads(x) for x in open('$1') if '\"epoch\"' in x and 'val_loss' in x][-1]['$2'])"; }
same "and what the moving ones give" "$(last moving.log val_accuracy)" "$(last exact.log val_accuracy_moving)"
same "nothing without" "None" "$(last moving.log val_accuracy_moving)"
same "a note says so" "exact, 128 of 320 samples" "$(note statistics exact.safetensors | cut -c 1-25)"
same "none without" "" "$(note statistics moving.safetensors)"
passes "--exact-stats=all is --exact-stats=9999" "^saved" $train --exact-stats=all --out all.safetensors
passes "more than there are" "^saved" $train --exact-stats=9999 --out more.safetensors
report "the same model" "$(cmp all.safetensors more.safetensors 2>&1)"
passes "--exact-final" "^saved" $train --exact-stats --exact-final --out final.safetensors
same "validates as its note says" "$(printf %.4f "$(note val.accuracy final.safetensors)")" "$(accuracy final.safetensors)"

# ---- Going on

passes "in one go" "^saved" $train --exact-stats --keep-best --micro-batch 9 --ghost --out whole.safetensors
run $train --exact-stats --keep-best --micro-batch 9 --ghost --checkpoint kept --out first.safetensors
rm kept/checkpoint-*20.safetensors
passes "going on" "^saved" $train --exact-stats --keep-best --micro-batch 9 --ghost --resume kept --out parts.safetensors
report "ends in the same file" "$(cmp whole.safetensors parts.safetensors 2>&1)"
fails "other statistics are refused" 1 "exact_stats: of 128 samples in the checkpoint, of 100 samples now" \
    $train --exact-stats=100 --keep-best --micro-batch 9 --ghost --resume kept

# ---- Without it

passes "a rate at which the averages lag" "" $train --epochs 1 --lr 1 --out lag.safetensors --report lag.html
same "is told" 1 "$(grep -c '^val acc 0.[0-9]* with moving, 0.[0-9]* with exact statistics of 128 images$' out)"
same "when all is saved, with advice where they are better" "$(awk '/^val acc/ {print $3 < $6 ? "better" : "no better"}' out)" \
    "$(tail -n 1 out | grep -q '^evenkeel calibrate saves' && echo better || echo no better)"
passes "which changes nothing" "" $train --epochs 1 --lr 1 --quiet --out quiet.safetensors
same "silent" "" "$(cat out)"
report "the same file" "$(cmp lag.safetensors quiet.safetensors 2>&1)"
passes "a net without batch norm" "" $train --net mlp
same "has nothing to say" 0 "$(grep -c 'exact' out)"

python3 - $train --epochs 1 --report end.html >out 2>err <<'END'
import signal, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True,
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
for line in process.stdout:
    if line == "saved end.html\n":
        process.send_signal(signal.SIGINT)
print(process.wait())
END
same "Ctrl-C when all is saved skips that and no more" 0 "$(cat out)"

# ---- calibrate

passes "calibrate" "^saved calibrated.safetensors" "$EVENKEEL" calibrate lag.safetensors --data tiny --out calibrated.safetensors
same "both accuracies" "$(accuracy lag.safetensors) $(accuracy calibrated.safetensors)" \
    "$(sed -n 's/^with .*accuracy \([0-9.]*\) .*/\1/p' out | tr '\n' ' ' | sed 's/ $//')"
same "a line for each norm" "1 5 10 13" "$(awk 'NF == 6 && $1 ~ /^[0-9]+$/ {print $1}' out | tr '\n' ' ' | sed 's/ $//')"
same "a note" "exact, 320 of 320" "$(note statistics calibrated.safetensors | cut -c 1-17)"
passes "once more" "^saved" "$EVENKEEL" calibrate calibrated.safetensors --data tiny --threads 1 -o again.safetensors
report "is the same file" "$(cmp calibrated.safetensors again.safetensors 2>&1)"
same "without a drift" "0.000 1.000" "$(awk 'NF == 6 && $1 ~ /^[0-9]+$/ {print $3, $5}' out | sort -u)"
passes "a training calibrated" "^saved" "$EVENKEEL" calibrate moving.safetensors --data tiny --samples 128 -o some.safetensors
same "is the training with exact statistics" "$("$EVENKEEL" inspect exact.safetensors | grep -A99 '^layer' | grep moving)" \
    "$("$EVENKEEL" inspect some.safetensors | grep -A99 '^layer' | grep moving)"
printf 'input 1 28 28\nflatten\nlinear 10\nbatchnorm\n' >last.net
$train --net last.net --quiet --out last.safetensors
"$EVENKEEL" calibrate last.safetensors --data tiny -o right.safetensors >/dev/null
python3 "$here/edit_model.py" last.safetensors broken.safetensors 2.running_mean=-3e38 2.running_var=1e-9
passes "a model whose outputs are not finite" "^with the moving statistics: loss -, accuracy - " \
    "$EVENKEEL" calibrate broken.safetensors --data tiny -o cured.safetensors
report "is cured" "$(cmp right.safetensors cured.safetensors 2>&1)"
passes "a split with many digits" "^saved" $train --net mlp --epochs 1 --val-split 0.12345678 --out split.safetensors
same "is noted with all of them" "0.12345678" "$(note data.val_split split.safetensors)"
passes "a split with few" "^saved" $train --net mlp --epochs 1 --val-split 0.1 --out split.safetensors
same "with those alone" "0.1" "$(note data.val_split split.safetensors)"
$train --net mlp --quiet --out mlp.safetensors
fails "nothing to calibrate" 1 "mlp.safetensors: has no batch norm" "$EVENKEEL" calibrate mlp.safetensors --data tiny -o never.safetensors
absent "is not written" "never*"
fails "no --out" 2 "out is missing" "$EVENKEEL" calibrate lag.safetensors --data tiny
fails "a word that is none" 2 "exact-stats: 'some' is neither" $train --exact-stats=some
fails "none at all" 2 "neither a number of images from 1 on" $train --exact-stats=0
fails "--exact-compare alone" 2 "add --exact-stats" $train --exact-compare
fails "--exact-final alone" 2 "add --exact-stats" $train --exact-final
finish
