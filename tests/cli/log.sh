#!/bin/sh
# SPDX-License-Identifier: MIT
# train --log: what the records say, many runs in a file, torn lines, logs that cannot be written, ends of all kinds.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32 --seed 3"
log="python3 $here/read_log.py"

# ---- Records

passes "train --log" "^saved" $train --epochs 2 --threads 1 --log log --log-every 4 --out model.safetensors
report "records are what they should be" "$($log check log 2>&1)"
same "start, steps every four and the epoch's last, epochs, end" \
    "start step:4 step:8 step:10 epoch:10 step:12 step:16 step:20 epoch:20 end" "$($log events log)"
report "steps add up to epochs" "$($log sums log 2>&1)"
report "epochs are those of the table" "$($log table log out 2>&1)"
same "the net, its data, its recipe" "bn-lenet 44878 320 100 10 3 32 0.1 sgd" \
    "$($log get log net.name net.parameters data.train_samples data.val_samples data.classes \
        config.seed config.batch_size config.lr config.optimizer)"
"$EVENKEEL" inspect model.safetensors >told
if grep -q '^data.digest ' told; then
    same "the data's digest is the model's" "$(awk '$1 == "data.digest" {print $2}' told)" \
        "$($log get log data.train_digest)"
fi
same "why it ended" "done" "$($log last log reason)"
same "with the model" "model.safetensors" "$($log last log model)"
$train --epochs 2 --threads 1 --out plain.safetensors --quiet
report "the same model without a log" "$(cmp model.safetensors plain.safetensors 2>&1)"

passes "--log-every 0" "" $train --epochs 2 --log sparse --log-every 0
same "is epochs alone" "start epoch:10 epoch:20 end" "$($log events sparse)"
passes "numbers that take all digits" "" $train --epochs 1 --log digits --lr 0.30000000000000004 --seed 18446744073709551615
same "come back" "0.30000000000000004 18446744073709551615" "$($log get digits config.lr config.seed)"
odd=$(printf 'a "net"\té.net')
printf 'input 1 28 28\nflatten\nlinear 10\n' >"$odd"
passes "names with quotes and tabs" "" $train --net "$odd" --epochs 1 --log names
report "are JSON" "$($log check names 2>&1)"
same "and come back" "$odd" "$($log get names net.name)"
if python=$(find_python jsonschema); then
    for file in log sparse digits names; do
        report "the schema accepts $file" "$("$python" "$here/read_log.py" schema "$here/../../docs/log.schema.json" $file 2>&1)"
    done
else
    echo "SKIP: the log against its schema: no Python here has jsonschema"
fi

# ---- Many runs, torn lines

cp log many
passes "a second run in the same file" "" $train --epochs 1 --log many --log-every 0
same "follows the first" "2 start step:4 step:8 step:10 epoch:10 step:12 step:16 step:20 epoch:20 end start epoch:10 end" \
    "$($log runs many) $($log events many)"
head -c -30 log >torn
passes "a run behind a torn line" "" $train --epochs 1 --log torn --log-every 0
same "which costs that line alone" "2 start step:4 step:8 step:10 epoch:10 step:12 step:16 step:20 epoch:20 torn start epoch:10 end" \
    "$($log runs torn) $($log events torn)"

# ---- Gone on with

best="$train --epochs 2 --keep-best --patience 9 --log-every 0 --log resumed --quiet --tensorboard board"
passes "a run with checkpoints" "" $best --checkpoint kept
passes "gone on with" "" $best --resume kept
same "says so, behind start" "start epoch:10 epoch:20 end start resume:20 end" "$($log events resumed)"
same "and with which run" "$(sed -n '1s/.*"run":"\([^"]*\)".*/\1/p' resumed)" \
    "$(sed -n 's/.*"event":"resume".*"continues":"\([^"]*\)".*/\1/p' resumed)"
report "with what it goes on from" "$($log check resumed 2>&1; grep -c '"checkpoint":"kept/checkpoint-000000020' resumed | grep -v 1)"
same "epochs are all of them, whichever is the best" 2 "$($log last resumed epochs)"
same "the configuration" "True 9 3" "$($log get resumed config.keep_best config.patience config.max_skipped)"
same "event files begin where they go on" "0 20" "$(python3 "$here/read_events.py" first board 2>&1)"

# ---- Ends

fails "a training that fails" 1 "epoch [0-9]+, step [0-9]+: " $train --epochs 99 --lr 1e6 --net mlp --log failed \
    --log-every 0 --max-skipped 0
same "has why it failed in its end" "failed $(sed 's/^evenkeel train: //' err)" \
    "$($log last failed reason) $($log last failed message)"
for signal in INT TERM HUP; do
    # A shell's background jobs ignore SIGINT; so the training is started by a program that does not.
    python3 "$here/read_log.py" signal $signal $train --epochs 1000000 --quiet --log end$signal --out never >out 2>err
    same "SIG$signal ends by the signal" "-SIG$signal" "$(cat out)"
    same "SIG$signal has a line" 1 "$(grep -c "^evenkeel train: SIG$signal: stopped in epoch " err)"
    same "SIG$signal is why it ended" "interrupted" "$($log last end$signal reason)"
done
absent "no model of theirs" "never*"
{ timeout 60 $train --epochs 1000000 --log piped --log-every 0 2>err; } | head -n 1 >/dev/null
same "a broken standard output is why it ended" "stopped" "$($log last piped reason)"

# ---- Logs that cannot be written

fails "--log in no folder" 1 "^evenkeel train: --log gone/log: cannot be written: No such file" $train --log gone/log
fails "--log is a folder" 1 "^evenkeel train: --log tiny: cannot be written: Is a directory" $train --log tiny
run $train --epochs 2 --log /dev/full --out full.safetensors
same "a full device is told once, stops nothing" "0 1 1" "$status $(wc -l <err) \
$(grep -c '^evenkeel train: warning: --log /dev/full: No space left on device; training goes on' err)"
$train --epochs 2 --out plain.safetensors --quiet
report "the model is the same" "$(cmp full.safetensors plain.safetensors 2>&1)"
mkfifo pipe
head -n 2 pipe >/dev/null &
run $train --epochs 30 --log pipe --log-every 1
wait
same "a broken pipe is told once, stops nothing" "0 1 1" \
    "$status $(wc -l <err) $(grep -c 'warning: --log pipe: Broken pipe; training goes on' err)"
mkdir small
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=8k none small 2>/dev/null; then
    run $train --epochs 30 --log small/log --log-every 1
    same "a disk that is too small" "0 1" "$status $(grep -c 'warning: --log small/log: No space left' err)"
    report "has records as far as they went" "$($log check small/log 2>&1)"
    umount small
else
    echo "SKIP: a log on a small disk: no rights to mount one"
fi
finish
