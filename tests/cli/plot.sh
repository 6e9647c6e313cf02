#!/bin/sh
# SPDX-License-Identifier: MIT
# evenkeel plot: logs of one run and of several as SVG and PNG, what the pictures hold, what is refused.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32 --quiet"
$train --epochs 4 --log a.jsonl
$train --epochs 2 --log b.jsonl --seed 1
$train --epochs 3 --log b.jsonl --seed 2
# Where memory is watched: fontconfig keeps some to the end, which is not this command's.
echo "leak:libfontconfig" >suppressions
export LSAN_OPTIONS="suppressions=$work/suppressions:print_suppressions=0"
look="python3 $here/read_picture.py"

fails "no log" 2 "LOG... is missing" "$EVENKEEL" plot -o p.png
fails "no picture" 2 "--out is missing" "$EVENKEEL" plot a.jsonl
fails "a picture of another kind" 2 "'p.pdf' ends neither with .svg nor with .png" "$EVENKEEL" plot a.jsonl -o p.pdf
fails "no such log" 1 "^evenkeel plot: gone: cannot be read: No such file" "$EVENKEEL" plot gone -o p.png
fails "a folder for a log" 1 "^evenkeel plot: tiny: cannot be read: Is a directory" "$EVENKEEL" plot tiny -o p.png
fails "a log without a run" 1 "tiny/train-labels-idx1-ubyte: no run in it" \
    "$EVENKEEL" plot tiny/train-labels-idx1-ubyte -o p.png
fails "too few labels" 2 "--labels: 2 names for 3 runs" "$EVENKEEL" plot a.jsonl b.jsonl -o p.png --labels x,y
head -n 1 a.jsonl >begun.jsonl
if "$EVENKEEL" plot a.jsonl -o probe.png 2>&1 | grep -q "without cairo"; then
    fails "without cairo" 1 "this build is without cairo: build with -DEVENKEEL_CAIRO=ON" \
        "$EVENKEEL" plot a.jsonl -o p.svg
    absent "no picture" "p.* *.tmp*"
    echo "SKIP: pictures of runs: this build has no cairo"
    finish
fi
fails "a log without a finished epoch" 1 "no run has a finished epoch yet" "$EVENKEEL" plot begun.jsonl -o p.png
absent "no picture of them" "p.* *.tmp*"

passes "a run as SVG" "" "$EVENKEEL" plot a.jsonl -o a.svg
report "which has a curve in each panel" "$($look svg a.svg 1 4 2>&1)"
passes "three runs of two logs" "" "$EVENKEEL" plot a.jsonl b.jsonl -o ab.svg --title "Two logs" --labels x,yy,zzz
report "have three curves in each panel" "$($look svg ab.svg 3 4,2,3 2>&1)"
passes "the last of each log" "" "$EVENKEEL" plot a.jsonl b.jsonl -o last.svg --last
report "are two" "$($look svg last.svg 2 4,3 2>&1)"
{ cat b.jsonl; head -n 1 b.jsonl | sed 's/"run":"[^"]*"/"run":"20990101-000000-00000000"/'; } >later.jsonl
passes "the last with an epoch" "" "$EVENKEEL" plot a.jsonl later.jsonl -o later.svg --last --labels a,b
passes "where none has begun behind it" "" "$EVENKEEL" plot a.jsonl b.jsonl -o ended.svg --last --labels a,b
report "the same picture" "$(cmp later.svg ended.svg 2>&1)"
passes "as PNG" "" "$EVENKEEL" plot a.jsonl b.jsonl -o ab.png
report "on white, with the colours of three curves" "$($look png ab.png white 0072b2 d55e00 009e73 2>&1)"
passes "transparent" "" "$EVENKEEL" plot a.jsonl -o clear.png --transparent
report "with the colour of one" "$($look png clear.png clear 0072b2 2>&1)"
$train --epochs 3 --log resumed.jsonl --checkpoint kept
rm $(ls -d kept/checkpoint-* | tail -n +2)
$train --epochs 3 --log resumed.jsonl --resume kept
passes "a run that was gone on with" "^saved resumed.svg$" "$EVENKEEL" plot resumed.jsonl -o resumed.svg
report "is one curve" "$($look svg resumed.svg 1 3 2>&1)"
head -c -40 b.jsonl >torn.jsonl
passes "a torn log" "" "$EVENKEEL" plot torn.jsonl -o torn.svg
report "has what is whole" "$($look svg torn.svg 2 2,3 2>&1)"
sed 's/"val_loss":[0-9.e-]*/"val_loss":null/' a.jsonl >null.jsonl
passes "numbers that are null" "" "$EVENKEEL" plot null.jsonl -o null.svg
report "are not drawn" "$($look svg null.svg 1 4 2 2>&1)"
byte=$(printf '\377')
cp a.jsonl "a${byte}b.jsonl"
passes "a log whose name is no text" "" "$EVENKEEL" plot "a${byte}b.jsonl" -o bytes.png
long=$(printf 'ä%.0s' $(seq 300))
passes "names and a title of which parts are no text" "" \
    "$EVENKEEL" plot a.jsonl a.jsonl -o bytes.svg --labels "x$long,$byte" --title "$long$long$(printf '\357\277\276')"
report "are drawn" "$($look svg bytes.svg 2 4,4 2>&1)"
cp a.svg real.svg && chmod 600 real.svg && ln -s real.svg link.svg
passes "through a symbolic link" "" "$EVENKEEL" plot b.jsonl -o link.svg
same "the file is another, its permissions and the link stay" "yes 600 real.svg" \
    "$(cmp -s a.svg real.svg || echo yes) $(stat -c %a real.svg) $(readlink link.svg)"
fails "a picture in no folder" 1 "^evenkeel plot: gone/p.png: cannot be written: No such file" \
    "$EVENKEEL" plot a.jsonl -o gone/p.png
mkdir folder.png
fails "a picture that is a folder" 1 "^evenkeel plot: folder.png: cannot be written: Is a directory" \
    "$EVENKEEL" plot a.jsonl -o folder.png
ln -s /dev/full full.png
fails "a full disk" 1 "^evenkeel plot: full.png: cannot be written: No space left" "$EVENKEEL" plot a.jsonl -o full.png
absent "no temporary files" "*.tmp* folder.png/*"
finish
