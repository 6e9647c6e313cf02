#!/bin/sh
# SPDX-License-Identifier: MIT
# evenkeel predict: files, a list on standard input, items of a data set; lines and JSON.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 200 --test 40
"$EVENKEEL" train --data tiny --epochs 3 --batch-size 25 --normalize data -o model >/dev/null || echo "not ok train"
predict() { "$EVENKEEL" predict "$@"; }
tab=$(printf '\t')
pgm() # ITEM: an item of the test images as a PGM file's bytes
{
    printf 'P5 28 28 255\n'
    tail -c +$((17 + 784 * $1)) tiny/t10k-images-idx3-ubyte | head -c 784
}
for item in 0 1 2 3 4 5 6 7; do pgm $item >$item.pgm; done

# ---- Items
passes "all items" "^test 39${tab}" predict model --data tiny
same "a line each" 40 "$(wc -l <out)"
cp out all
right=$("$EVENKEEL" eval model --data tiny --json | sed -n 's/.*"correct": \([0-9]*\),$/\1/p' | head -n 1)
same "as many right as eval counts" "$right" "$(grep -c "${tab}right$" all)"
predict model --data tiny --json --top 10 >lines
"$EVENKEEL" eval model --data tiny --json >eval.json
report "the loss of these probabilities is eval's" "$(python3 - 2>&1 <<'END'
import json, math
loss, count = 0, 0
for answer in map(json.loads, open("lines")):
    loss -= math.log(next(c["probability"] for c in answer["top"] if c["class"] == answer["true"]["class"]))
    count += 1
wanted = json.load(open("eval.json"))["loss"]
if count != 40 or not abs(loss / count - wanted) <= 1e-6 * wanted:
    print(loss, count, wanted)
END
)"
passes "some items" "^test 5${tab}" predict model --data tiny --items 7,0,3-5 --threads 2
same "in the order asked for" "$(for i in 7 0 3 4 5; do grep "^test $i$tab" all; done)" "$(cat out)"
passes "one alone" "" predict model --data tiny --items 5
same "as among others" "$(grep "^test 5$tab" all)" "$(cat out)"
passes "training items" "^train 199$tab" predict model --data tiny --split train --items 199
passes "three of them" "^test 2(${tab}[0-9]$tab[01][.][0-9]{4}){3}$tab(right|wrong: [0-9])$" predict model --data tiny --items 2 --top 3
passes "all ten" "^test 2(${tab}[0-9]$tab[01][.][0-9]{4}){10}$tab" predict model --data tiny --items 2 --top 1000
same "which make one" 1 "$(awk -F'\t' '{for (i = 3; i < 22; i += 2) {s += $i; if (i > 3 && $i > last) exit; last = $i}
    print (s > 0.999 && s < 1.001)}' out)"
for wrong in x 1- -1 1,,2 , 1-0 "1 2" 1, 0x1 99999999999999999999; do
    fails "--items $wrong" 2 "^evenkeel predict: --items: '.*' is no list" predict model --data tiny "--items=$wrong"
done
fails "an item too many" 2 "there is no item 40; tiny has items 0 to 39" predict model --data tiny --items 0,38-40
same "said before any answer" 0 "$(wc -l <out)"

# ---- Files
passes "a file" "^3.pgm$tab" predict model 3.pgm --threads 1
same "as the item" "$(grep "^test 3$tab" all | cut -f 2,3)" "$(cut -f 2,3 out)"
passes "files" "" predict model 7.pgm --top 2 0.pgm 3.pgm
same "in their order" "7.pgm 0.pgm 3.pgm" "$(cut -f 1 out | paste -sd ' ')"
{ echo 'P2 28 28 255' && pgm 3 | tail -c 784 | od -An -v -tu1; } >3-text.pgm
{ echo 'P3 28 28 255' && pgm 3 | tail -c 784 | od -An -v -tu1 -w1 | awk '{print $1, $1, $1}'; } >3-colours.ppm
{ echo 'P2 28 28 255' && pgm 3 | tail -c 784 | od -An -v -tu1 -w1 | awk '{print 255 - $1}'; } >3-dark.pgm
for file in 3-text.pgm 3-colours.ppm; do
    passes "the same image as $file" "" predict model $file
    same "has the same answer" "$(grep "^test 3$tab" all | cut -f 2,3)" "$(cut -f 2,3 out)"
done
passes "dark on light, turned round" "" predict model --invert 3-dark.pgm
same "has the same answer" "$(grep "^test 3$tab" all | cut -f 2,3)" "$(cut -f 2,3 out)"
odd=$(printf "it's a\nnew\tline.pgm")
cp 3.pgm "$odd"
passes "a name with a newline" "^it's a\?new\?line.pgm$tab" predict model "$odd"
mkdir many && for i in $(seq 300); do cp 3.pgm many/$i.pgm; done
passes "more than a batch" "^many/300.pgm$tab" predict model many/*.pgm
same "each with its answer" "300 1" "$(wc -l <out) $(cut -f 2,3 out | sort -u | wc -l)"

# ---- What cannot be read
printf 'P5 28 28 255\n123' >cut.pgm
fails "a damaged file among others" 1 "^evenkeel predict: 2 of 4 images could not be predicted; their lines say why$" \
    predict model 0.pgm cut.pgm none.pgm 3.pgm
same "does not end them" "0.pgm cut.pgm none.pgm 3.pgm" "$(cut -f 1 out | paste -sd ' ')"
same "its line says why" "cut.pgm${tab}error: the PGM is cut short" "$(sed -n 2p out)"
same "and the answers are those" "$(grep "^test [03]$tab" all | cut -f 2,3)" "$(grep -v error out | cut -f 2,3)"
fails "no model" 1 "^evenkeel predict: none: " predict none 0.pgm
fails "nothing to predict" 2 "which images\?" predict model
fails "files and data" 2 "files or --data" predict model 0.pgm --data tiny
fails "items of nothing" 2 "--items are those of a data set" predict model 0.pgm --items 0
fails "standard input twice" 2 "can be read once" predict model - -
fails "--background of a data set" 2 "--background is for image files" predict model --data tiny --background white
fails "--split half" 2 "'half' is neither train nor test" predict model --data tiny --split half
for wrong in red fff 12345g ''; do
    fails "--background '$wrong'" 2 "^evenkeel predict: --background: " predict model 0.pgm "--background=$wrong"
done

predict model many/*.pgm cut.pgm many/*.pgm none.pgm 7.pgm --threads 1 >one 2>err
predict model many/*.pgm cut.pgm many/*.pgm none.pgm 7.pgm --threads 5 >five 2>err
same "on five threads the same lines" "603 $(sha256sum <one)" "$(wc -l <five) $(sha256sum <five)"

# ---- Hints
printf 'P2 3 2 9\n0 1 2\n7 8 9\n' >small.pgm
run predict model small.pgm 0.pgm small.pgm
same "images of another size are told, the others counted" "0 2 1 1" "$status $(wc -l <err) \
$(grep -c 'warning: small.pgm: 3 pixels wide and 2 high becomes 28 wide and 28 high' err) $(grep -c 'warning: 2 images in all' err)"
printf 'input 3 14 14\nconv2d 3 kernel=5\nbatchnorm\nsigmoid\nflatten\nlinear 10\n' >colours.net
"$EVENKEEL" train --data tiny --net colours.net --epochs 1 --resize 14 --colour rgb -o colours >/dev/null
passes "of a net that was trained on resized ones they are not" "" predict colours small.pgm 0.pgm
cp out files
passes "whose data are made as its files" "" predict colours --data tiny --items 0
same "and are taken for the same" "$(sed -n 2p files | cut -f 2,3)" "$(cut -f 2,3 out)"

# ---- Labels
seq 10 | sed 's/^/class no. /' >names
passes "classes of other names" "^0.pgm${tab}class no. [0-9]+$tab" predict model 0.pgm --labels names
sed 's/$/\r/' names >returns
passes "with carriage returns" "^0.pgm${tab}class no. [0-9]+$tab" predict model 0.pgm --labels returns
for count in 2 20; do
    seq $count >wrong
    fails "$count names for ten classes" 1 "wrong: it names $count classes, a line each, and the net has 10 outputs$" \
        predict model 0.pgm --labels wrong
done
python3 "$here/edit_model.py" model two "note:labels=ant
bee"
passes "classes beyond those of a note have numbers" "${tab}[2-9]$tab" predict two --data tiny --top 10 --items 0
fails "no such names" 1 "none: No such file" predict model 0.pgm --labels none
printf 'a\0b\n' >zero
fails "names with a zero byte" 1 "zero byte" predict model 0.pgm --labels zero
passes "weights alone, of a net" "^0.pgm$tab[0-9]" predict model 0.pgm --net bn-lenet

# ---- A list on standard input
printf '3.pgm\n\ncut.pgm\n0.pgm' >list
predict model - 7.pgm <list >out 2>err
same "a list, then a file" "1 3.pgm cut.pgm 0.pgm 7.pgm" "$? $(cut -f 1 out | paste -sd ' ')"
{ head -c 5000 /dev/zero | tr '\0' x && printf '\n3.pgm\n' && printf '0.pgm\0\n7.pgm\n' && head -c 20000 /dev/zero | tr '\0' y; } |
    predict model - >out 2>err
same "lines that are no paths" "3.pgm 7.pgm" "$(grep -v error: out | cut -f 1 | paste -sd ' ')"
same "have a line too" "2 1 5" "$(grep -c 'no path is that long' out) $(grep -c '^0.pgm.error: a zero byte' out) $(wc -l <out)"
printf 'gone.pgm\r\n3.pgm\r\n\r\n0.pgm\r' | predict model - >out 2>err
same "a list with carriage returns" "gone.pgm 3.pgm 0.pgm" "$(cut -f 1 out | paste -sd ' ')"
same "of which two are there" "1 2" "$(grep -c 'error: cannot be opened: No such' out) $(grep -vc error: out)"
mkdir folder
cp 3.pgm "$(printf 'r.pgm\r')"
printf 'folder\nr.pgm\r\n' | predict model - >out 2>err
same "a folder is no image" "folder${tab}error: a folder, not a file" "$(head -n 1 out)"
same "and a name may end in a carriage return" "r.pgm?$tab" "$(sed -n '2s/[0-9].*//p' out)"
predict model - </dev/null >out 2>err
same "an empty list" "0 0 0" "$? $(wc -c <out) $(wc -c <err)"
report "an answer comes before the next question" "$(python3 - "$EVENKEEL" 2>&1 <<'END'
import select, subprocess, sys
process = subprocess.Popen([sys.argv[1], "predict", "model", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
for name in b"3.pgm", b"cut.pgm", b"0.pgm":
    process.stdin.write(name + b"\n")
    process.stdin.flush()
    if not select.select([process.stdout], [], [], 60)[0] or not process.stdout.readline().startswith(name + b"\t"):
        print("no answer for", name)
        break
process.stdin.close()
if process.wait() != 1:
    print("exit status", process.returncode)
END
)"
run sh -c "\"$EVENKEEL\" predict model many/*.pgm many/*.pgm >/dev/full"
same "a full disk is told" "1 1" "$status $(grep -c 'standard output: ' err)"

# ---- JSON
predict model --json --top 2 0.pgm cut.pgm >lines 2>err
predict model --json --data tiny --items 0,1 >>lines
bad=$(printf 'b\377\001d\t.pgm')
cp 0.pgm "$odd" && cp 0.pgm "$bad"
predict model --json "$odd" "$bad" "$(printf 'miss"\n\302\205\377\\')" >odd-lines 2>err
report "JSON of odd names" "$(python3 - 2>&1 <<'END'
import json
odd, bad, gone = [json.loads(line) for line in open("odd-lines", encoding="utf-8")]
assert odd["image"] == "it's a\nnew\tline.pgm" and odd["top"], odd
assert bad["image"] == "b\ufffd\x01d\t.pgm" and bad["top"], bad
assert gone["image"] == "miss\"\n\x85\ufffd\\", gone
assert gone["error"] == "cannot be opened: No such file or directory", gone
END
)"
mkdir -p photos/train/a photos/val/a && cp 0.pgm photos/train/a/0.pgm && cp 1.pgm photos/val/a/0.pgm
report "JSON that can be read" "$(python3 - 2>&1 <<'END'
import json
one, cut, item, other = [json.loads(line) for line in open("lines")]
assert one["image"] == "0.pgm" and (one["channels"], one["height"], one["width"]) == (1, 28, 28)
assert len(one["top"]) == 2 and one["top"][0]["probability"] >= one["top"][1]["probability"]
assert cut == {"image": "cut.pgm", "status": "EK_ERR_FORMAT", "error": "the PGM is cut short"}
assert item["top"] == one["top"][:1] and (item["data"], item["split"], item["item"]) == ("tiny", "test", 0)
assert item["true"] == {"class": 0, "label": "0"} and item["right"] == (item["top"][0]["class"] == 0)
assert other["item"] == 1 and other["true"]["class"] == 1
END
)"
if python=$(find_python jsonschema); then
    docs=$here/../../docs
    report "of the documented schema" "$("$python" "$here/read_log.py" schema "$docs/predict.schema.json" lines 2>&1)"
    sed -n '/^```json$/,/^```$/p' "$docs/predict.md" | grep '^{' |
        sed 's/"top":\[\]/"top":[{"class":9,"label":"ankle boot","probability":0.5}]/' >documented
    report "and so is what docs/predict.md shows" \
        "$("$python" "$here/read_log.py" schema "$docs/predict.schema.json" documented 2>&1)"
else
    echo "SKIP: answers against their schema: no Python here has jsonschema"
fi

# ---- Other nets
printf 'input 1 28 28\nflatten\nlinear 6\nbatchnorm tracking=no\nsigmoid\nlinear 10\n' >untracked.net
"$EVENKEEL" train --data tiny --net untracked.net --epochs 1 -o untracked >/dev/null
predict untracked 0.pgm 3.pgm >out 2>err
predict untracked 3.pgm >alone 2>err
same "without moving statistics an image is still alone" "$(cat alone)" "$(sed -n 2p out)"
printf 'input 5 2 2\nflatten\nlinear 10\n' >five.net
python3 - <<'END'
import struct, json
weights = {"1.weight": ((10, 20), 200), "1.bias": ((10,), 10)}
header, offset = {}, 0
for name, (shape, count) in weights.items():
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + 4 * count]}
    offset += 4 * count
text = json.dumps(header).encode()
open("five", "wb").write(struct.pack("<Q", len(text)) + text + bytes(offset))
END
fails "a net of five channels reads no files" 1 "its input has 5 channels, and image files have 1 or 3" predict five 0.pgm --net five.net

files=$here/../fuzz/corpus/image
if "$EVENKEEL" predict colours "$files/rgb.png" "$files/rgb.jpg" 2>&1 | grep -q "is without lib"; then
    echo "SKIP: PNG and JPEG: this build lacks libpng or libjpeg"
else
    passes "PNG and JPEG" "rgb.jpg$tab" predict colours "$files/rgb.png" "$files/rgb.jpg" "$files/grey.png" "$files/cmyk.jpg"
    run predict colours "$files/rgba.png" "$files/grey-alpha.png"
    same "transparency is told" "0 1 1" \
        "$status $(grep -c 'warning: .*/rgba.png: transparent pixels' err) $(grep -c '2 images in all' err)"
    passes "and laid on white" "" predict colours --background white "$files/rgba.png" "$files/grey-alpha.png"
fi
finish
