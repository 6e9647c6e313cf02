#!/bin/sh
# SPDX-License-Identifier: MIT
# train --report and evenkeel report: the page's numbers against eval, inspect, the log and a net computed here; names
# that look like markup; trainings that do not end; pages that cannot be written; an HTML validator.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
train="$EVENKEEL train --data tiny --batch-size 32"
look="python3 $here/read_page.py"

# valid PAGE...: tidy has nothing to say of them
if command -v tidy >/dev/null; then
    valid() { for page in "$@"; do report "tidy accepts $page" "$(tidy -quiet -errors "$page" 2>&1)"; done; }
else
    echo "SKIP: pages in an HTML validator: there is no tidy (apt-get install tidy)"
    valid() { :; }
fi

# ---- A model and its training

passes "train --report" "^saved a.html" $train --epochs 3 --report a.html --log log --out model.safetensors
$train --epochs 3 --quiet --out plain.safetensors
report "the same model without" "$(cmp model.safetensors plain.safetensors 2>&1)"
"$EVENKEEL" eval model.safetensors --data tiny --json >eval.json
"$EVENKEEL" inspect model.safetensors --json >inspect.json
report "its numbers are those of eval, inspect and the log" \
    "$($look a.html --eval eval.json --inspect inspect.json --log log --text "bn-lenet on tiny" "Epochs 3 of 3" \
        "train.seed 0" "100 of 1x28x28, 10 classes" 2>&1)"
digest=$("$EVENKEEL" inspect model.safetensors | awk '$1 == "data.digest" {print $2}')
passes "report" "" "$EVENKEEL" report model.safetensors --data tiny -o b.html
report "has the same numbers but for the curves" \
    "$($look b.html --eval eval.json --inspect inspect.json --without curves --text "bn-lenet on tiny" ${digest:+"$digest"} 2>&1)"
$train --epochs 1 --log log --quiet
$train --epochs 3 --seed 1 --log log --quiet
head -n "$(grep -n '"event":"end"' log | head -n 1 | cut -d: -f1)" log >first
passes "report --log" "" "$EVENKEEL" report model.safetensors --data tiny --log log -o c.html
report "has the curves of the run that the model came from" "$($look c.html --log first 2>&1)"
$train --epochs 1 --seed 9 --log other --quiet
fails "the log of another training" 1 "^evenkeel report: other: no run in it ends in model.safetensors" \
    "$EVENKEEL" report model.safetensors --data tiny --log other -o none.html
passes "a training with exact statistics" "" $train --epochs 2 --exact-stats --exact-compare --log both --report both.html \
    --out both.safetensors --quiet
report "has the curves with the moving ones, too" "$($look both.html --log both --text "With moving statistics" 2>&1)"
passes "report --log of it" "" "$EVENKEEL" report both.safetensors --data tiny --log both -o moving.html
report "has them likewise" "$($look moving.html --log both --text "With moving statistics" 2>&1)"
valid a.html b.html c.html moving.html

# ---- A training that is gone on with

passes "a training with checkpoints" "" $train --epochs 3 --checkpoint kept --log part --quiet
rm kept/checkpoint-000000030*
passes "gone on with" "" $train --epochs 3 --resume kept --quiet --report resumed.html
report "has the curves of all its epochs" "$($look resumed.html --log part 2>&1)"

# ---- A net that can be computed here, with a name that looks like markup

odd=$(printf '<script>"x"&amp;\047\377.net')
printf 'input 1 28 28\nflatten\nlinear 10\n' >"$odd"
linear=$(printf 'm\377<i>.safetensors')
run $train --epochs 1 --lr 0.003 --net "$odd" --report d.html --out "$linear"
same "a net whose name looks like markup" 0 "$status"
"$EVENKEEL" eval "$linear" --data tiny --json >linear.json
report "is text, and its mistakes are those computed here" \
    "$($look d.html --eval linear.json --linear "$linear" tiny --without norms \
        --text "<script>\"x\"&amp;'�.net on tiny" 'm�<i>.safetensors' 2>&1)"
valid d.html
files="$here/../fuzz/corpus/image"
for class in "<i>a'b" 'c"&lt;'; do
    mkdir -p "photos/train/$class"
    cp "$files/rgb.png" "photos/train/$class"
    cp "$files/palette.png" "photos/train/$class"
done
if "$EVENKEEL" data info photos --resize 28 --colour grey 2>&1 | grep -q "without lib"; then
    echo "SKIP: classes whose names look like markup: this build lacks libpng"
else
    passes "classes whose names look like markup" "" $EVENKEEL train --data photos --resize 28 --colour grey --val-split 0.5 \
        --batch-size 2 --epochs 1 --net mlp --report e.html
    report "are text" "$($look e.html --text "<i>a'b" 'c"&lt;' "validation images" 2>&1)"
    valid e.html
fi

# ---- Trainings that do not end

run $train --epochs 99 --lr 1e6 --net mlp --quiet --report failed.html
same "a training that fails" 1 "$status"
why=$(tail -n 1 err | sed 's/^evenkeel train: //')
report "has a page that says why" \
    "$($look failed.html --text "The training did not come to its end: $why" --without mistakes 2>&1)"
python3 - $train --epochs 1000000 --quiet --log endless --log-every 0 --report stopped.html >out 2>err <<'END'
import os, signal, subprocess, sys, time
process = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
while not (os.path.exists("endless") and '"epoch"' in open("endless").read()):
    time.sleep(0.01)
process.send_signal(signal.SIGINT)
print(signal.Signals(-process.wait()).name)
END
same "SIGINT ends it" "SIGINT" "$(cat out)"
report "and has a page of what there is" \
    "$($look stopped.html --text "The training did not come to its end: SIGINT: stopped in epoch" 2>&1)"
valid failed.html stopped.html

# ---- Pages that cannot be written

fails "a page in no folder" 1 "^evenkeel train: gone/p.html: cannot be written: its folder does not exist" \
    $train --report gone/p.html --log untouched
absent "is told before anything else" "untouched"
fails "a page that is a folder" 1 "^evenkeel train: tiny: a folder; give the name of a file" $train --report tiny
fails "the model's own name" 2 "--out and --report name the same file, 'x': give --report another" $train --out x --report x
fails "report without a page" 2 "--out is missing" "$EVENKEEL" report model.safetensors
fails "report into no folder" 1 "^evenkeel report: gone/p.html: cannot be written: its folder" \
    "$EVENKEEL" report model.safetensors --data tiny -o gone/p.html
fails "report of no model" 1 "^evenkeel report: none: " "$EVENKEEL" report none --data tiny -o none.html
fails "report without data" 1 "^evenkeel report: " "$EVENKEEL" report model.safetensors --data none -o none.html
fails "report without its log" 1 "^evenkeel report: none: cannot be read: No such file" \
    "$EVENKEEL" report model.safetensors --data tiny --log none -o none.html
fails "a full disk" 1 "^evenkeel report: /dev/full: cannot be written: No space left on device" \
    "$EVENKEEL" report model.safetensors --data tiny -o /dev/full
echo old >kept.html
ln -s kept.html link.html
passes "a page by a link" "" "$EVENKEEL" report model.safetensors --data tiny -o link.html
same "is the page that it points to" "yes" "$([ -L link.html ] && grep -q '</html>' kept.html && echo yes)"
absent "nothing half-written" "*.tmp* gone none.html"
finish
