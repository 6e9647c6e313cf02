#!/bin/sh
# SPDX-License-Identifier: MIT
# Steps that are not finite: what train says of them, what the log and the model tell, and what stays of a training that
# has too many.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
log="python3 $here/read_log.py"

# Sample 37 alone has two white pixels in its corner, which channel 1 takes by so much that it becomes infinite.
python3 "$here/make_idx.py" tiny --train 96 --test 20 --side 12
printf 'input 1 12 12\nconv2d 3 kernel=12\nbatchnorm\nrelu\nflatten\nlinear 10\n' >tiny.net
"$EVENKEEL" train --data tiny --net tiny.net --epochs 1 --out begun --quiet
cat >spoil.py <<'END'
import json, struct, sys
def paint(path, bad):
    data = bytearray(open(path, "rb").read())
    for i in range((len(data) - 16) // 144):
        data[16 + 144 * i:18 + 144 * i] = b"\xff\xff" if i in bad else b"\0\0"
    open(path, "wb").write(data)
paint("tiny/train-images-idx3-ubyte", set(map(int, sys.argv[1:])))
paint("tiny/t10k-images-idx3-ubyte", set())
data = bytearray(open("begun", "rb").read())
size, = struct.unpack_from("<Q", data)
begin = json.loads(data[8:8 + size])["0.weight"]["data_offsets"][0] + 8 + size
struct.pack_into("<144f", data, begin + 4 * 144, 3e38, 3e38, *[i % 7 - 3 for i in range(142)])
open("start", "wb").write(data)
END
python3 spoil.py 37
train="$EVENKEEL train --data tiny --net tiny.net --init start --batch-size 16 --no-shuffle"

# ---- One in six

run $train --epochs 2 --out model --log log --log-every 2 --tensorboard board
wanted="evenkeel train: warning: epoch 1, step 3: layer 1 (batchnorm), channel 1: the batch's statistics are not finite; \
this begins with training sample 37 in layer 0 (conv2d), channel 1; the step is left out (1 in a row; 3 may be)"
same "a line says which step, and why" "$wanted" "$(head -n 1 err)"
same "one in each epoch, and training goes on" "0 2 1" "$status $(wc -l <err) $(grep -c '^saved model' out)"
report "records are what they should be" "$($log check log 2>&1)"
same "with the step that was left out" \
    "start step:2 skipped:3 step:4 step:6 epoch:6 step:8 skipped:9 step:10 step:12 epoch:12 end" "$($log events log)"
same "in the log, too" "3 16 1 0 1 37" "$(grep -m 1 '"skipped"' log | python3 -c '
import json, sys
record = json.load(sys.stdin)
print(*[record[key] for key in "step samples in_row layer channel sample".split()])')"
report "steps add up to epochs without it" "$($log sums log 2>&1)"
"$EVENKEEL" inspect model >told
same "the model tells how many" "train.skipped 2" "$(grep '^train.skipped ' told | tr -s ' ')"
for how in "--threads 1" "--threads 3" "--micro-batch 5"; do
    run $train --epochs 2 --out other $how
    same "the same line with $how" "$wanted" "$(head -n 1 err)"
    report "and the same model" "$(cmp model other 2>&1)"
done
if python=$(find_python jsonschema); then
    report "the schema accepts it" "$("$python" "$here/read_log.py" schema "$here/../../docs/log.schema.json" log 2>&1)"
else
    echo "SKIP: the log against its schema: no Python here has jsonschema"
fi
fails "none may be" 1 "epoch 1, step 3: .* in layer 0 \(conv2d\), channel 1\$" $train --epochs 2 --max-skipped 0

# ---- Too many

python3 spoil.py 37 50 70 90
run $train --epochs 2 --out never --log many --checkpoint kept --every 1 --max-skipped 2
same "a third in a row ends it" "1 3" "$status $(wc -l <err)"
grep -q "epoch 1, step 5: .*; 2 steps before it were left out, as many as may be; a lower learning rate may \
help where the samples are as they should be (it is 0.1); the last good checkpoint is \
kept/checkpoint-000000002.safetensors\$" err || report "and says where, and what is left" "$(cat err)"
same "which is the last" "checkpoint-000000001.safetensors checkpoint-000000002.safetensors lock" \
    "$(ls -x -w 200 kept | tr -s ' ')"
absent "no model" "never*"
same "the log says why" "failed 0 $(tail -n 1 err | sed 's/^evenkeel train: //')" \
    "$($log last many reason) $($log last many epochs) $($log last many message)"
run $train --init kept/checkpoint-000000002.safetensors --epochs 1 --max-skipped 4 --out better
same "another training starts from there" "0 4" "$status $(wc -l <err)"
finish
