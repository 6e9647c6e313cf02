#!/bin/sh
# SPDX-License-Identifier: MIT
# Output that cannot be written: full disks, closed pipes, paths that lead nowhere. One line, status 1, no trace.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 64 --test 20
train="$EVENKEEL train --data tiny --batch-size 32 --epochs 2"
$train --out model.safetensors --quiet || exit 1
mkdir folder
"$EVENKEEL" data show tiny -o probe.png 2>&1 | grep -q "without libpng" && png= || png=yes
[ "$png" ] || echo "SKIP: pictures that cannot be written: this build has no libpng"

# ---- Files

fails "--out in no folder" 1 "^evenkeel train: gone/m: .*folder does not exist" $train --out gone/m
fails "--out is a folder" 1 "^evenkeel train: folder: a folder" $train --out folder
fails "--out below a file" 1 "^evenkeel train: model.safetensors/m: .*Not a directory" \
    $train --out model.safetensors/m
ln -s nowhere dangling
fails "--out is a link to nothing" 1 "^evenkeel train: dangling: a symbolic link" $train --out dangling
fails "--out has too long a name" 1 "File name too long" $train --out "$(printf 'x%.0s' $(seq 300))"
fails "--out is a full device" 1 "/dev/full: .*No space left" $train --out /dev/full
passes "--out is /dev/null" "^saved /dev/null" $train --out /dev/null
if [ "$(id -u)" -eq 0 ]; then
    user="setpriv --reuid=65534 --regid=65534 --clear-groups"
else
    user=
fi
if $user true 2>/dev/null; then
    chmod 755 "$work" && mkdir locked && echo kept >locked/old && chmod 555 locked && chmod 444 locked/old
    fails "--out in a folder that may not be written" 1 "locked/m: .*Permission denied" $user $train --out locked/m
    fails "--out is a file that may not be written" 1 "locked/old: .*Permission denied" $user $train --out locked/old
    same "which is as it was" kept "$(cat locked/old)"
    [ -z "$png" ] || fails "a picture where none may be written" 1 "locked/p.png: .*Permission denied" \
        $user "$EVENKEEL" data show tiny -o locked/p.png
    chmod 755 locked
else
    echo "SKIP: paths without permission: no user without rights to run as"
fi
fails "a wrong --out is told before training" 1 "gone/m" timeout 60 $train --epochs 1000000 --out gone/m
cp model.safetensors old.safetensors
fails "a training that fails leaves the old model" 1 "one value" $train --batch-size 1 --out old.safetensors
report "as it was" "$(cmp model.safetensors old.safetensors 2>&1)"

mkdir small
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=64k none small 2>/dev/null; then
    fails "--out on a disk that is too small" 1 "small/m: .*No space left" $train --out small/m
    [ -z "$png" ] || fails "a picture on a disk that is too small" 1 "small/p.png: .*No space left" \
        "$EVENKEEL" data show tiny --count 60 -o small/p.png
    absent "nothing half-written on it" "small/*"
    umount small
    size=$(stat -c %s model.safetensors)
    mount -t tmpfs -o size=$((size / 1024 + 32))k none small
    passes "--out on a disk that has room for it" "^saved" $train --epochs 1 --out small/m
    umount small
else
    echo "SKIP: a small disk: no rights to mount one"
fi

fails "a picture that would be none" 2 "^evenkeel data show: --out: 'p.jpg' does not end with .png" \
    "$EVENKEEL" data show tiny -o p.jpg
passes "a module in a file" "^saved net.py$" "$EVENKEEL" export model.safetensors --to pytorch -o net.py
fails "a module in no folder" 1 "gone/net.py: cannot be written: its folder does not exist" \
    "$EVENKEEL" export model.safetensors --to pytorch -o gone/net.py
fails "a picture in no folder" 1 "gone/p.png" "$EVENKEEL" data show tiny -o gone/p.png
fails "a picture that is a folder" 1 "folder" "$EVENKEEL" data show tiny -o folder
absent "no temporary files" "*.tmp* folder/* gone*"

# ---- Names that are one file

cp model.safetensors input.safetensors
ln -s input.safetensors link.safetensors
printf 'input 1 28 28\nflatten\nlinear 10\n' >my.net
cp my.net my.net.before
$train --log own.log --log-every 0 --quiet
cp own.log own.log.before
once="$train --epochs 1"
one_file() # CALLED CALLED COMMAND ...: refused, in these words
{
    called=$1 other=$2
    shift 2
    fails "${*##*/evenkeel }" 2 "^evenkeel [a-z -]+: $called and $other name the same file, '[^']*': give $other another name" "$@"
}
one_file --out --report $once --out rr --report ./rr
one_file --out --log $once --out rr --log "$PWD/rr"
one_file --report --log $once --report folder/../rr --log rr
one_file --checkpoint --out $once --checkpoint rr --out rr
one_file --tensorboard --report $once --tensorboard ./rr --report rr
one_file --net --out $once --net my.net --out my.net
one_file --net --log $once --net my.net --log my.net
one_file --init --report $once --init input.safetensors --report link.safetensors
one_file MODEL --out "$EVENKEEL" report input.safetensors --data tiny -o input.safetensors
one_file --log --out "$EVENKEEL" report input.safetensors --data tiny --log own.log -o own.log
one_file MODEL --out "$EVENKEEL" export link.safetensors --to pytorch -o input.safetensors
one_file MODEL --weights "$EVENKEEL" export my.net --to pytorch -o rr --weights ./my.net
one_file --weights --out "$EVENKEEL" export my.net --to pytorch -o rr --weights rr
one_file MODEL --out "$EVENKEEL" export input.safetensors --to onnx -o ./input.safetensors
one_file MODEL --out "$EVENKEEL" fold input.safetensors --data tiny -o input.safetensors
one_file FILE --out "$EVENKEEL" import input.safetensors --net bn-lenet -o input.safetensors
one_file --net --out "$EVENKEEL" calibrate input.safetensors --net my.net --data tiny -o my.net
report "all of them are as they were" "$(cmp model.safetensors input.safetensors 2>&1; cmp my.net my.net.before 2>&1
    cmp own.log own.log.before 2>&1; ls -d rr 2>/dev/null)"
fails "--log onto a model" 1 "^evenkeel train: --log input.safetensors: is there and is no log of runs" \
    $once --log input.safetensors
fails "--log onto text" 1 "^evenkeel train: --log my.net: is there and is no log" $once --log my.net
report "which are as they were" "$(cmp model.safetensors input.safetensors 2>&1; cmp my.net my.net.before 2>&1)"
: >empty.log
head -c 5 own.log >five.log # what a full disk may leave
printf '{"run": "a", "event": "start"}\n' >other.log
for log in empty five other; do
    passes "--log onto what is $log" "" $once --log $log.log --log-every 0 --quiet
done
passes "a training takes the place of what it starts from" "" $once --init input.safetensors -o input.safetensors --quiet
passes "a calibrated model of the other" "^saved" "$EVENKEEL" calibrate input.safetensors --data tiny -o ./input.safetensors
passes "a model that is called like a built-in net" "" $once --net mlp -o mlp --quiet
passes "devices are nobody's" "" $once -o /dev/null --report /dev/null --log /dev/null --quiet

# ---- Standard output

full() # NAME COMMAND ...: onto a full device
{
    name=$1
    shift
    "$@" >/dev/full 2>err
    same "$name onto a full device" "1 1 1" "$? $(wc -l <err) $(grep -c 'standard output: No space left' err)"
}
full "--help" "$EVENKEEL" --help
full "--version" "$EVENKEEL" --version
full "train --help" "$EVENKEEL" train --help
full "data --help" "$EVENKEEL" data --help
full "eval" "$EVENKEEL" eval model.safetensors --data tiny
full "eval --json" "$EVENKEEL" eval model.safetensors --data tiny --json
full "inspect" "$EVENKEEL" inspect model.safetensors
full "data info" "$EVENKEEL" data info tiny
full "train" $train
full "train --out" $train --out kept.safetensors
report "train --out has saved all the same" "$(cmp model.safetensors kept.safetensors 2>&1)"

{ timeout 60 $train --epochs 1000000 2>err; echo $? >code; } | head -n 1 >/dev/null
same "train into a closed pipe ends" "1 evenkeel train: standard output: Broken pipe" "$(cat code) $(cat err)"
{ sleep 0.2; "$EVENKEEL" eval model.safetensors --data tiny 2>err; echo $? >code; } | true
same "eval into a closed pipe" "1 evenkeel eval: standard output: Broken pipe" "$(cat code) $(cat err)"
"$EVENKEEL" inspect model.safetensors 2>err >&-
same "closed standard output" "1 1" "$? $(grep -c 'standard output' err)"
$train --out closed.safetensors --quiet >&- 2>&- <&-
report "no standard stream at all" "$(cmp model.safetensors closed.safetensors 2>&1)"

# ---- Signals

$train --epochs 1000000 --out signal.safetensors >out 2>err &
child=$!
sleep 0.5
kill -TERM $child
wait $child 2>/dev/null
same "ends by a signal" 143 $?
absent "and leaves no file" "signal*"
finish
