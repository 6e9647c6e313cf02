#!/bin/sh
# SPDX-License-Identifier: MIT
# train --tensorboard: the event file, read by TensorBoard's own reader where it is installed, against the log of the
# same run; folders that cannot be written to.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32 --seed 3"

passes "train --tensorboard" "^saved" $train --epochs 3 --tensorboard runs/a --log log --log-every 4 --out model.safetensors
same "one event file" 1 "$(ls runs/a | grep -c '^events.out.tfevents.[0-9]*[.]')"
$train --epochs 3 --quiet --out plain.safetensors
report "the same model without" "$(cmp model.safetensors plain.safetensors 2>&1)"
passes "a second run into the same folder" "" $train --epochs 1 --tensorboard runs/a
same "has a file of its own" 2 "$(ls runs/a | wc -l)"
report "framing, sums and values" "$(python3 "$here/read_events.py" own log runs/a 2>&1)"
if python=$(find_python tensorboard); then
    report "TensorBoard reads what the log tells" "$("$python" "$here/read_events.py" theirs log runs/a 2>&1)"
else
    echo "SKIP: event files in TensorBoard's own reader: no Python here has it (pip install tensorboard)"
fi

fails "--tensorboard below a file" 1 "^evenkeel train: --tensorboard log/a: cannot be made: Not a directory" \
    $train --tensorboard log/a
fails "--tensorboard is a file" 1 "^evenkeel train: --tensorboard log: cannot be written to: Not a directory" \
    $train --tensorboard log
mkdir small
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=16k none small 2>/dev/null; then
    run $train --epochs 30 --tensorboard small --log-every 1
    same "a disk that is too small" "0 1 1" \
        "$status $(wc -l <err) $(grep -c 'warning: --tensorboard small: No space left on device; training goes on' err)"
    report "has whole records alone" "$(python3 "$here/read_events.py" whole small 2>&1)"
    umount small
else
    echo "SKIP: event files on a small disk: no rights to mount one"
fi
finish
