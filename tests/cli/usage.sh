#!/bin/sh
# SPDX-License-Identifier: MIT
# Help, versions, and every way to use the command wrongly.
. "$(dirname "$0")/helpers"

passes "--help lists the commands" "^  train " "$EVENKEEL" --help
passes "-h is --help" "^  inspect " "$EVENKEEL" -h
passes "--version" "^evenkeel [0-9]+\.[0-9]+\.[0-9]+$" "$EVENKEEL" --version
for command in train eval calibrate inspect export import data "data fetch" "data info" "data show" bench; do
    passes "$command --help tells the exit statuses" "^Exit status: 0 done, 1 failed, 2 wrong usage" \
        "$EVENKEEL" $command --help
    same "$command --help begins with the usage" "Usage: evenkeel $command" \
        "$(head -n 1 "$work/out" | cut -c "1-$((16 + ${#command}))")"
    same "$command --help has an example" 1 "$(grep -c "^Example:" "$work/out")"
    same "$command --help has no line beyond 120 columns" 0 "$(grep -c '.\{121\}' "$work/out")"
done
passes "--help behind other words" "^Usage: evenkeel train" "$EVENKEEL" train --epochs 3 --help

fails "no command" 2 "^evenkeel: which command\? 'evenkeel --help'" "$EVENKEEL"
fails "unknown command" 2 "^evenkeel: there is no command 'fly'" "$EVENKEEL" fly
fails "mistyped command" 2 "did you mean 'train'\?" "$EVENKEEL" trian
fails "mistyped option of the command itself" 2 "there is no option '--verson'" "$EVENKEEL" --verson
fails "data alone" 2 "fetch, info or show" "$EVENKEEL" data
fails "mistyped data command" 2 "did you mean 'fetch'\?" "$EVENKEEL" data fecth
fails "unknown option" 2 "^evenkeel train: there is no option '--teleport'; 'evenkeel train --help'" \
    "$EVENKEEL" train --teleport 9
fails "mistyped option" 2 "there is no option '--epoch'; did you mean '--epochs'\?" "$EVENKEEL" train --epoch 3
fails "mistyped option with a value" 2 "did you mean '--batch-size'\?" "$EVENKEEL" train --batchsize=3
fails "unknown letter" 2 "there is no option '-x'" "$EVENKEEL" train -x
fails "option without its value" 2 "^evenkeel train: --epochs needs a value: N" "$EVENKEEL" train --epochs
fails "flag with a value" 2 "^evenkeel train: --quiet takes no value" "$EVENKEEL" train --quiet=yes
fails "operand where there is none" 2 "'extra' is one word too many" "$EVENKEEL" train extra
fails "model missing" 2 "^evenkeel eval: MODEL is missing" "$EVENKEEL" eval
fails "two models" 2 "'b' is one word too many" "$EVENKEEL" eval a b
fails "picture missing" 2 "^evenkeel data show: --out is missing" "$EVENKEEL" data show
fails "split of no such name" 2 "--split: 'both' is neither train nor test" "$EVENKEEL" eval m --split both
fails "operand after --" 1 "^evenkeel eval: --json" "$EVENKEEL" eval -- --json
fails "text with a line break stays one line" 2 "there is no command 'a\?b'" "$EVENKEEL" "$(printf 'a\nb')"

for value in 0 -5 1e99 abc "" 12x " 7" 7.0 +7 99999999999999999999 1000001; do
    fails "--batch-size '$value'" 2 "^evenkeel train: --batch-size: '.*' is not a whole number from 1 to 1000000$" \
        "$EVENKEEL" train --data nowhere --batch-size "$value"
    fails "--batch-size='$value'" 2 "--batch-size: " "$EVENKEEL" train --data nowhere "--batch-size=$value"
done
for value in 0 -1 ten 1000001; do
    fails "--epochs $value" 2 "--epochs: '.*' is not a whole number from 1 to " \
        "$EVENKEEL" train --data nowhere --epochs "$value"
done
for value in 0 1025 two; do
    fails "--threads $value" 2 "--threads: '.*' is not a whole number from 1 to 1024" \
        "$EVENKEEL" eval m --threads "$value"
done
for value in 0 -0.1 nan inf 0x1p3 1e999 0,1 "" .; do
    fails "--lr '$value'" 2 "^evenkeel train: --lr: '.*' is not a number from 1e-12 to 1000000$" \
        "$EVENKEEL" train --data nowhere --lr "$value"
done
for value in -1 1.5 18446744073709551616 ""; do
    fails "--seed '$value'" 2 "--seed: '.*' is not a whole number from 0 to 18446744073709551615" \
        "$EVENKEEL" train --data nowhere --seed "$value"
done
fails "--out ''" 2 "^evenkeel train: --out: the value is empty" "$EVENKEEL" train --data nowhere --out ""
fails "--layer ''" 2 "--layer" "$EVENKEEL" inspect m --layer ""
fails "a worker of no such kind" 2 "--worker: 'x' is none of peak, train" "$EVENKEEL" bench --worker x

# A locale with a decimal comma changes nothing.
fails "--lr 0,1 in a German locale" 2 "'0,1' is not a number" \
    env LC_ALL=de_DE.UTF-8 "$EVENKEEL" train --data nowhere --lr 0,1
passes "help" "^Usage: evenkeel COMMAND" "$EVENKEEL" help
passes "help of a command" "^Usage: evenkeel eval" "$EVENKEEL" help eval
passes "help of a command's command" "^Usage: evenkeel data show" "$EVENKEEL" help data show
fails "help of none" 2 "there is no command 'trian'; did you mean 'train'" "$EVENKEEL" help trian
finish
