#!/bin/sh
# SPDX-License-Identifier: MIT
# Trainings that are killed, interrupted, short of room, and gone on with: the model is always the same, to the byte.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 96 --test 20 --side 12
printf 'input 1 12 12\nconv2d 4 kernel=3\nbatchnorm\nrelu\nmaxpool 2\nflatten\nlinear 10\n' >tiny.net
train="$EVENKEEL train --data tiny --net tiny.net --batch-size 16 --momentum 0.9 --schedule cosine --epochs 6"
train="$train --augment crop=1,flip --seed 3"
[ -n "${EVENKEEL_TEST_QUICK-}" ] && kills=20 || kills=200

# ---- Killed

python3 "$here/kill.py" $kills . $train --out model.safetensors >report 2>&1
cat report
grep -Eq '^(not )?ok ' report || report "killed and gone on with" "no result"
failures=$((failures + $(grep -c '^not ok' report)))

# ---- What is said

$train --out model.safetensors --quiet
passes "checkpoints" "^saved model2" $train --checkpoint kept2 --every 4 --keep 2 --out model2.safetensors
report "change nothing" "$(cmp model.safetensors model2.safetensors 2>&1)"
same "the last two stay" "checkpoint-000000032.safetensors checkpoint-000000036.safetensors lock" "$(ls -x -w 200 kept2 | tr -s ' ')"
passes "a finished training is told again" "^going on from kept2/checkpoint-000000036.safetensors: all epochs done$" \
    $train --resume kept2 --out model2.safetensors
same "above the table's head" "going epoch " "$(grep -oE '^(going |epoch )' out | tr -d '\n')"
same "every epoch of it" 6 "$(grep -Ec '^ +[0-9]+( +[0-9.]+){6}$' out)"
report "and is the same model" "$(cmp model.safetensors model2.safetensors 2>&1)"
passes "inspect takes a checkpoint" "^checkpoint.momentum  0.9$" "$EVENKEEL" inspect kept2/checkpoint-000000032.safetensors
passes "eval too" "accuracy" "$EVENKEEL" eval kept2/checkpoint-000000032.safetensors --data tiny
fails "a new training among old checkpoints" 1 "^evenkeel train: kept2: holds checkpoints of a training already; resume" \
    $train --checkpoint kept2
fails "another recipe" 1 "\(seed: 3 in the checkpoint, 4 now; lr: 0.1 in the checkpoint, 0.3 now\)" \
    $train --seed 4 --resume kept2 --lr 0.3
fails "other first weights" 1 "recipe: init xavier, .* in the checkpoint, init he" $train --resume kept2 --init he
fails "no folder to go on from" 1 "^evenkeel train: none: there is no such folder" $train --resume none
absent "nor is one made" none
mkdir empty
fails "nothing to go on from" 1 "^evenkeel train: empty: holds no checkpoint to go on from$" $train --resume empty
absent "nor anything in it" "empty/*"
fails "a folder in no folder" 1 "^evenkeel train: no/where: cannot be made: the folder above it does not exist$" \
    $train --checkpoint no/where
fails "a file for a folder" 1 "^evenkeel train: tiny.net: no folder" $train --checkpoint tiny.net
fails "both options" 2 "leave out --checkpoint$" $train --checkpoint a --resume b
fails "--every alone" 2 "^evenkeel train: --every is about checkpoints" $train --every 3
fails "--keep alone" 2 "^evenkeel train: --keep is about checkpoints" $train --keep 3

# ---- Damage

cp -r kept2 good
for damage in cut flipped; do
    rm -rf kept2
    cp -r good kept2
    newest=kept2/checkpoint-000000036.safetensors
    if [ $damage = cut ]; then
        truncate -s 3000 $newest
    else
        printf X | dd of=$newest bs=1 seek=9000 conv=notrunc 2>/dev/null
    fi
    run $train --resume kept2 --out model2.safetensors
    same "a newest checkpoint that is $damage is named" 1 \
        "$(grep -c "^evenkeel train: warning: $newest: .*; trying the checkpoint before it$" err)"
    same "the one before it serves" "0 going on from kept2/checkpoint-000000032.safetensors: epoch 6, 2 of its 6 steps done" \
        "$status $(grep '^going' out)"
    report "and leads to the same model" "$(cmp model.safetensors model2.safetensors 2>&1)"
done

mkdir one
cp good/checkpoint-000000036.safetensors one/
truncate -s 3000 one/checkpoint-000000036.safetensors
run $train --resume one
same "where there is none before it" "1 2 0 1" "$status $(wc -l <err) $(grep -c 'trying' err) \
$(grep -c '^evenkeel train: one: its only checkpoint cannot be used$' err)"
fails "another length names the way to have it" 1 "epochs: 6 in the checkpoint, 7 now.* \`evenkeel train --init\`" \
    $train --epochs 7 --resume good

# ---- Interrupted

long="$EVENKEEL train --data tiny --net tiny.net --batch-size 16 --epochs 100000"
for number in 2 15 1; do
    signal=$(kill -l $number)
    rm -rf kept3
    python3 - $number $long --checkpoint kept3 --quiet >out 2>err <<'END'
import os, signal, subprocess, sys, time
process = subprocess.Popen(sys.argv[2:], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
while not (os.path.isdir("kept3") and len(os.listdir("kept3")) > 2):
    time.sleep(0.01)
second = subprocess.run(sys.argv[2:-3] + ["--resume", "kept3"], capture_output=True, text=True)
print(second.returncode, second.stderr.strip())
process.send_signal(int(sys.argv[1]))
print(process.wait())
END
    same "a second training is refused" 1 \
        "$(grep -Ec '^1 evenkeel train: kept3: another training writes its checkpoints there' out)"
    same "SIG$signal ends it" "-$number" "$(tail -n 1 out)"
    wanted="^evenkeel train: SIG$signal: stopped .*; to go on, give the same options and --resume 'kept3'\$"
    same "and says how to go on" 1 "$(grep -Ec "$wanted" err)"
    run "$EVENKEEL" inspect "$(ls kept3/*.safetensors | tail -n 1)"
    same "its checkpoint is whole" 0 "$status"
done

mkdir "it's"
signal() # OPTION ...: SIGTERM in the middle; in $said how to go on
{
    { (ulimit -f ${1} && shift && exec python3 "$here/read_log.py" signal TERM $long --quiet "$@") 2>&1; } | cat >err
    said=$(sed -n 's/^evenkeel train: SIGTERM: stopped[^;]*; //p' err)
}
signal unlimited --checkpoint "it's" --every 1000
same "a folder's name in quotes for a shell" "to go on, give the same options and --resume 'it'\\''s'" "$said"
signal 1 --checkpoint full --every 100000
same "no checkpoint could be written" 1 \
    "$(echo "$said" | grep -Ec '^nothing of it is kept: no checkpoint could be written: full/.*: File too large$')"

# ---- A broken pipe and a closed standard input

rm -rf kept4
{ $train --checkpoint kept4 --out model4.safetensors <&- 2>err; echo $? >code; } | head -n 2 >out
report "a broken pipe leaves the same model" "$(cmp model.safetensors model4.safetensors 2>&1)"

# ---- No room

size=$(stat -c %s good/checkpoint-000000036.safetensors)
pages=$(((size + 4095) / 4096))
rm -rf kept5
{ (ulimit -f 1 && exec $train --checkpoint kept5 --every 6 --quiet) 2>&1; echo $? >code; } | cat >err
warned=$(grep -c '^evenkeel train: warning: no checkpoint: .*File too large; training goes on$' err)
same "files that may not be large enough end nothing" "0 6" "$(cat code) $warned"
absent "nothing half-written stays" "kept5/checkpoint*"
mkdir disk
if mount -t tmpfs -o size=256k tmpfs disk 2>/dev/null; then
    trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
    faults=
    for left in 0 1 3 4 7 9 13 21 33 57; do
        rm -rf disk/* full.safetensors
        head -c $((262144 - 4096 * left)) /dev/zero >disk/filler
        $train --checkpoint disk/kept --every 2 --out full.safetensors --quiet 2>err || faults="$faults status at $left;"
        cmp -s model.safetensors full.safetensors || faults="$faults model at $left;"
        ls disk/kept/*.tmp-* >/dev/null 2>&1 && faults="$faults half a file at $left;"
        [ $left -ge $((2 * pages)) ] ||
            grep -Eq 'No space left on device; training goes on$|disk/kept: cannot be made' err ||
            faults="$faults no warning at $left;"
        rm -f disk/filler
        if ls disk/kept/checkpoint-* >/dev/null 2>&1; then
            $train --resume disk/kept --out full.safetensors --quiet || faults="$faults going on at $left;"
            cmp -s model.safetensors full.safetensors || faults="$faults another model at $left;"
        fi
    done
    umount disk
    report "a disk that is full at ten places" "$faults"
    for room in 3 2 1; do # checkpoints that the disk has room for, and a page for the lock
        mount -t tmpfs -o size=$((4 * (room * pages + 1)))k tmpfs disk
        run $train --checkpoint disk/kept --out full.safetensors
        same "a disk with room for $room has the last $room" "0 $((room > 1 ? 0 : 5)) $room" \
            "$status $(grep -c 'No space left on device; training goes on$' err) $(ls disk/kept/checkpoint-* | wc -l)"
        [ $room = 1 ] || same "up to the end" disk/kept/checkpoint-000000036.safetensors "$(ls disk/kept/check* | tail -n 1)"
        report "and the same model comes of it" "$(cmp model.safetensors full.safetensors 2>&1)"
        umount disk
    done
else
    echo "SKIP: a full disk needs the right to mount one; the limit of files above stands for it"
fi

# ---- The best epoch, and patience

passes "--keep-best and --patience" "^saved best" $train --keep-best --patience 2 --out best.safetensors
"$EVENKEEL" inspect best.safetensors >out
same "are noted" 2 "$(grep -Ec '^train.(best_epoch|patience) ' out)"
passes "the note's accuracy is the model's" "" "$EVENKEEL" eval best.safetensors --data tiny --json
same "to the digit" "$("$EVENKEEL" inspect best.safetensors | awk '$1 == "val.accuracy" {print $2}')" \
    "$(python3 -c 'import json; print("%.9g" % json.load(open("out"))["accuracy"])')"
finish
