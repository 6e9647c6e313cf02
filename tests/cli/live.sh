#!/bin/sh
# SPDX-License-Identifier: MIT
# The picture of a training on a terminal, compared with pictures/: Unicode and ASCII, one panel and two, narrow, low and
# dumb terminals; changes of size, a terminal that takes nothing, signals, failures.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32 --seed 3 --threads 1"
terminal="python3 $here/terminal.py"

# What is the same each time: seconds and speeds are not.
still()
{
    sed -E 's/^( +[0-9]+( +[0-9.]+){4}) +[0-9.]+ +[0-9]+$/\1/; /^# at most/d' "$1"
}

# picture NAME OPTIONS... -- COMMAND...: the screen is that of pictures/NAME
picture()
{
    name=$1
    shift
    $terminal "$@" >screen 2>&1
    still screen >"$name.screen"
    report "$name" "$(diff "$here/pictures/$name.txt" "$name.screen" 2>&1)"
}

picture unicode $train --epochs 8 --out m
picture ascii --set LC_ALL=C $train --epochs 8 --out m
picture no-colour --set NO_COLOR=1 --set LC_ALL=- --set LANG=de_DE.utf8 --raw raw $train --epochs 8 --out m
same "without colours" 0 "$(grep -c "$(printf '\033\\[[0-9;]*m')" raw)"
picture one-panel --size 70x24 $train --epochs 8 --out m
picture wide --size 150x50 $train --epochs 8 --out m
picture columns --set COLUMNS=60 --set LINES=20 --size 100x40 $train --epochs 8 --out m
picture low --size 80x12 $train --epochs 3 --out m
picture one-epoch $train --epochs 1 --out m
picture asked-for-ascii $train --epochs 3 --chart ascii --out m

$train --epochs 8 --quiet --out plain
$terminal $train --epochs 8 --out drawn >screen
report "the same model with a picture and without" "$(cmp plain drawn 2>&1)"

# ---- No picture

for how in "--set TERM=dumb" "--set TERM=-"; do
    $terminal $how --raw raw $train --epochs 3 --out m >screen
    same "plain lines with $how" "6 3 0" \
        "$(tr -d '\r' <raw | wc -l) $(grep -Ec '^ +[0-9]+( +[0-9.]+){6}$' screen) $(grep -c "$(printf '\033')" raw)"
done
$terminal --raw raw $train --epochs 3 --quiet --out m >screen
same "--quiet draws nothing" 0 "$(wc -c <raw)"
$terminal --raw raw $train --epochs 3 --chart none --out m >screen
same "--chart none draws nothing" "6 0" "$(tr -d '\r' <raw | wc -l) $(grep -c train_loss screen)"
$terminal --raw raw sh -c "$train --epochs 3 --out m >table" >screen
same "nor does a table that goes elsewhere" "6 0" "$(wc -l <table) $(grep -c train_loss screen)"
fails "a chart of another kind" 2 "--chart: there is no 'ansi'; " $train --chart ansi
fails "a mistyped one" 2 "--chart: there is no 'asci'; did you mean 'ascii'" $train --chart asci

# ---- While it goes on: long enough to be looked at

python3 "$here/make_idx.py" more --train 4000 --test 100
long="$EVENKEEL train --data more --threads 1"
$terminal $long --epochs 12 --out m >screen
pictures=$(awk '/^# at most/ {print $4}' screen)
# The last one comes at once; behind it a line says that statistics are compared, and goes again: three more.
report "no more than ten pictures a second" "$([ "$pictures" -ge 1 ] && [ "$pictures" -le 13 ] || cat screen)"
$terminal --size 100x30 --resize 0.3:80x30 --resize 0.6:50x24 --resize 0.9:120x40 $long --epochs 16 --out m >screen
same "a size that changes leaves one picture" "1 17" \
    "$(grep -c train_loss screen) $(grep -Ec '^ +[0-9]+( +[0-9.]+){6}$|^epoch' screen)"
# What a terminal takes while nobody reads is 64 KiB; the pictures of so many epochs are more. Half a minute under
# sanitizers, which other pictures satisfy.
if [ -z "${EVENKEEL_TEST_QUICK-}" ]; then
    epochs=300
    rm -f m
    $terminal --size 120x40 --stall 100 --file m --raw raw $train --epochs $epochs --out m >screen
    same "a terminal that takes nothing does not hold the training up" "# m was there while nobody read" \
        "$(grep '^# m was' screen)"
    same "and gets all of it in the end" "1 $((epochs + 1)) 1" \
        "$(grep -c train_loss screen) $(grep -Ec '^ +[0-9]+( +[0-9.]+){6}$|^epoch' screen) $(grep -c '^saved m$' screen)"
fi
for name in INT TERM HUP; do
    $terminal --signal 0.7:$name $long --epochs 100000 >screen
    same "SIG$name leaves the chart, the cursor below it, and a line" \
        "1 1 # cursor shown, below # ran over 2 # status SIG$name" "$(grep -c train_loss screen) $(
        grep -c "^evenkeel train: SIG$name: stopped" screen) $(grep -E '^# (cursor|ran|status)' screen | tr '\n' ' ' | sed 's/ $//')"
done
$terminal --signal 0.5:TSTP --signal 2:INT --seconds 20 $long --epochs 100000 >screen
same "where no shell could set it going again, Ctrl-Z does not stop it" "2 # cursor shown, below # status SIGINT" \
    "$(grep -c train_loss screen) $(grep -E '^# (cursor|status)' screen | tr '\n' ' ' | sed 's/ $//')"
(ulimit -c 0 && $terminal --signal 0.6:QUIT $long --epochs 100000 >screen)
same "Ctrl-\\ ends it at once, with the cursor" "# cursor shown, below # status SIGQUIT" \
    "$(grep -E '^# (cursor|status)' screen | tr '\n' ' ' | sed 's/ $//')"
$terminal --shell --raw raw $long --epochs 100000 >screen
same "in the background it draws nothing, in the foreground below" \
    "stopped 0 pictures, foreground 1, # cursor shown, below # status 130" "$(tr -d '\r' <raw | awk '
        /\[job stopped\]/ {part = "stopped"} /\[job in the foreground\]/ {part = "foreground"}
        part == "stopped" && /\033/ {pictures++}
        END {printf "stopped %d pictures, ", pictures}')$(
    awk '/job in the foreground/ {fore = 1} fore && /train_loss/ {n++} END {printf "foreground %d, ", n}' screen)$(
    grep -E '^# (cursor|status)' screen | tr '\n' ' ' | sed 's/ $//')"
$terminal --size 80x24 sh -c "$train --epochs 3 --checkpoint no/where" >screen
same "what fails before its first step leaves no chart" "0 # cursor shown, below" \
    "$(grep -c train_loss screen) $(grep '^# cursor' screen)"
$terminal $train --epochs 99 --lr 1e6 --net mlp >screen
same "a training that fails leaves the cursor, below a line for each step that was left out" "# cursor shown, below 1 3 # status 1" \
    "$(grep '^# cursor' screen) $(grep -c '^evenkeel train: epoch ' screen) $(
    grep -c '^evenkeel train: warning: epoch ' screen) $(grep '^# status' screen)"
$terminal $long --epochs 12 --log /dev/full --out m >screen
same "a warning stands between the lines" "1 1 13" "$(grep -c 'warning: --log /dev/full: No space' screen) $(
    grep -c train_loss screen) $(grep -Ec '^ +[0-9]+( +[0-9.]+){6}$|^epoch' screen)"
finish
