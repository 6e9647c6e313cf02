#!/bin/sh
# SPDX-License-Identifier: MIT
# The benchmark as a program: its table, its worker's protocol. What it measures is not judged here.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1

for kind in peak train predict predictor predictor-resnet-20; do
    printf 'go 1\ngo 3\n' | "$EVENKEEL" bench --worker $kind --threads 2 >out 2>err
    same "worker $kind" "0 3 0" "$? $(wc -l <out) $(wc -l <err)"
    same "worker $kind is ready" 1 "$(head -n 1 out | grep -Ec '^ready [1-9][0-9]* (image( [1-9][0-9]*)?|flop)$')"
    same "worker $kind tells seconds" 2 "$(tail -n 2 out | grep -Ec '^[0-9]+\.[0-9]{6}$')"
done
printf 'go 2\n' | "$EVENKEEL" bench --worker train --batch-size 97 --threads 1 >out 2>err
same "worker with another batch size" "ready 97 image" "$(sed -n '1s/ [0-9]*$//p' out)"
printf 'go 2\n' | "$EVENKEEL" bench --worker predictor --batch-size 20 --threads 2 >out 2>err
same "a predictor of several images on two threads" "ready 40 image" "$(head -n 1 out)"
printf 'go 1\n' | "$EVENKEEL" bench --worker train-resnet-20 --batch-size 16 >out 2>err
same "worker of a residual net" 1 "$(grep -Ec '^ready 16 image [1-9][0-9]*$' out)"
printf 'stop\n' | "$EVENKEEL" bench --worker peak >out 2>err
same "a line that is no 'go N'" "1 evenkeel bench: standard input: not 'go N'" "$? $(cat err)"
printf 'go 1\n' | "$EVENKEEL" bench --worker train --batch-size 1 >out 2>err
same "a worker that cannot train" "1 1" "$? $(wc -l <err)"
if [ -n "${EVENKEEL_TEST_QUICK-}" ]; then
    echo "SKIP: the table, which moves half a gigabyte"
    finish
fi
passes "the table" "1 +train bn-lenet +[0-9]+ +[0-9]+  images/s, [0-9.]+ of the peak$" \
    "$EVENKEEL" bench --seconds 0.01 --threads 1
passes "the table as JSON" '"kind": "bn-backward"' "$EVENKEEL" bench --seconds 0.01 --threads 1 --json
report "which is JSON" "$(python3 -m json.tool out 2>&1 >/dev/null)"
finish
