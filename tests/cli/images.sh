#!/bin/sh
# SPDX-License-Identifier: MIT
# What images go through: --augment, --normalize, --val-split.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 200 --test 40
train() { "$EVENKEEL" train --data tiny --net lenet --epochs 1 --batch-size 50 "$@"; }
notes() { "$EVENKEEL" inspect "$1"; }

passes "augmented" "^saved" train --augment crop,flip,erase --threads 1 -o one
passes "on two threads" "^saved" train --augment crop,flip,erase --threads 2 -o two
same "the same model" "$(sha256sum <one)" "$(sha256sum <two)"
passes "augmented by numbers" "^saved" train --augment crop=2,erase=0.25 -o three
report "another recipe, another model" "$(cmp -s one three && echo the same)"
passes "which the file tells" "^train.augment +crop=2,erase=0.25$" notes three
passes "no augmentation" "^saved" train --augment none -o plain
passes "said so" "^train.augment +none$" notes plain
for wrong in turn crop=0 crop=x crop= crop=1.5 erase=2 erase=-1 flip=1 flip, , cro; do
    fails "--augment $wrong" 2 "^evenkeel train: --augment: '.*' is none of crop" train --augment "$wrong"
done
fails "--augment of much" 2 "too long" train --augment "$(printf 'flip,%.0s' $(seq 100))"

passes "measured" "^saved" train --normalize data -o measured
passes "which the file holds" "^input.mean +0\.[0-9]+$" notes measured
passes "given" "^saved" train --normalize 0.5/0.25 -o given
passes "held as well" "^input.std +0\.25$" notes given
report "another scale, another model" "$(cmp -s given plain && echo the same)"
passes "not at all" "^saved" train --normalize none --augment none -o none
same "as if nothing was said" "$(sha256sum <plain)" "$(sha256sum <none)"
passes "evaluated by the file's numbers" "^" "$EVENKEEL" eval given --data tiny
last=$(train --normalize 0.5/0.25 -o given | awk '$1 == 1 {print $5}')
same "as in training" "$last" "$(printf %.4f "$("$EVENKEEL" eval given --data tiny --json | tr -d ' ,"' | sed -n 's/^accuracy://p')")"
for wrong in 1 1/ /1 x/1 1/2/3 1,2/1 nan/1 1,/1,; do
    fails "--normalize $wrong" 2 "^evenkeel train: --normalize: '.*' is neither data, none" train --normalize "$wrong"
done
fails "--normalize by nothing" 2 "the deviation above 0" train --normalize 0/0
fails "--normalize to infinity" 2 "mean 1e\+20 and deviation 1e-30 make pixels infinite" train --normalize 1e20/1e-30
fails "--normalize of three channels" 2 "the net's input has 1" train --normalize 0,0,0/1,1,1

passes "a share for validation" "200|150 images, 50 for validation" train --val-split 0.25 -o split
passes "noted" "^data.val_split +0.25$" notes split
passes "another seed, other images" "^saved" train --val-split 0.25 --seed 1 -o other
if notes split | grep -q '^data.digest *sha256:'; then
    report "told by the digest" "$([ "$(notes split | grep '^data.digest')" = "$(notes other | grep '^data.digest')" ] &&
        echo the same)"
else
    echo "SKIP: digests of parts: this build has no libcrypto"
fi
passes "resized" "1x14x20" "$EVENKEEL" data info tiny --resize 14x20
passes "and coloured" "3x28x28" "$EVENKEEL" data info tiny --colour rgb
printf 'input 1 14 14\nconv2d 3 kernel=5\nbatchnorm\nsigmoid\nflatten\nlinear 10\n' >small.net
passes "a net for small images" "^saved" "$EVENKEEL" train --data tiny --net small.net --epochs 1 --resize 14 -o small
passes "notes them" "^data.resize +14$" notes small
passes "evaluated at the size it was trained at" "accuracy" "$EVENKEEL" eval small --data tiny
for note in data.resize:1x data.colour:x; do
    python3 "$here/edit_model.py" small wrong "note:${note%:*}=${note#*:}"
    fails "not by a note that is wrong, $note" 1 "^evenkeel eval: wrong: its note ${note%:*} is '${note#*:}', neither" \
        "$EVENKEEL" eval wrong --data tiny
done
fails "not at another" 1 "images are 1x28x28, the net's input is 1x14x14" "$EVENKEEL" eval small --data tiny --resize 28
for wrong in 0 x 14x 14x0 65537 -1 1x2x3; do
    fails "--resize $wrong" 2 "^evenkeel data info: --resize: '.*' is neither N nor HxW" \
        "$EVENKEEL" data info tiny --resize "$wrong"
done
fails "--colour blue" 2 "neither grey nor rgb" "$EVENKEEL" data info tiny --colour blue

# ---- Folders of images
files=$here/../fuzz/corpus/image
mkdir -p photos/train/one photos/train/two photos/val/two
cp "$files/rgb.png" "$files/one.png" "$files/grey.jpg" photos/train/one
cp "$files/palette.png" "$files/cmyk.jpg" "$files/progressive.jpeg" photos/train/two
cp "$files/rgb.jpg" photos/val/two
run "$EVENKEEL" data info photos --resize 12
if grep -q "is without lib" err; then
    echo "SKIP: folders of images: this build lacks libpng or libjpeg"
else
    passes "a folder of images" "^train +6 images 3x12x12, 2 classes, sha256:" "$EVENKEEL" data info photos --resize 12
    same "its classes" "two 3 1" "$(awk '$1 == "two" {print $1, $2, $3}' out)"
    passes "shown" "" "$EVENKEEL" data show photos --resize 12 --count 6 -o sheet.png
    fails "images of several sizes" 1 \
        "one/one.png: 1 pixels wide and 1 high, where one/grey.jpg is 13 wide and 11 high; say .*resized \(--resize N or HxW\)$" \
        "$EVENKEEL" data info photos
    printf 'input 3 12 12\nconv2d 3 kernel=5\nbatchnorm\nsigmoid\nflatten\nlinear 2\n' >photos.net
    passes "trained on" "^saved" "$EVENKEEL" train --data photos --net photos.net --epochs 2 --resize 12 \
        --normalize data --augment crop=1,flip -o photos.model
    passes "trained on as they stream" "^saved" "$EVENKEEL" train --data photos --net photos.net --epochs 2 --resize 12 \
        --normalize data --augment crop=1,flip --stream yes --memory 1MiB -o streamed.model
    same "the same notes, but for the digest" "$(notes photos.model | grep -v '^data.digest')" \
        "$(notes streamed.model | grep -v '^data.digest')"
    tensors() { python3 -c 'import sys; d = open(sys.argv[1], "rb").read()
print(d[8 + int.from_bytes(d[:8], "little"):].hex())' "$1"; }
    same "and the same tensors" "$(tensors photos.model)" "$(tensors streamed.model)"
    fails "--stream perhaps" 2 "none of auto, yes and no" "$EVENKEEL" data info photos --stream perhaps
    fails "--memory much" 2 "no size such as 512MiB" "$EVENKEEL" data info photos --memory much
    fails "files that do not stream" 1 "tiny" "$EVENKEEL" train --data tiny --stream yes --epochs 1
    passes "with its classes' names" "^labels +one, two$" notes photos.model
    passes "evaluated too" "^two " "$EVENKEEL" eval photos.model --data photos
    sed s/3/1/ photos.net >grey.net
    passes "trained on in grey" "^saved" "$EVENKEEL" train --data photos --net grey.net --epochs 1 --resize 12 \
        --colour grey -o grey.model
    passes "and evaluated so" "^two " "$EVENKEEL" eval grey.model --data photos
    same "class names in whole characters" 1 "$(mkdir -p kana/train/りんご kana/val && cp "$files/one.png" kana/train/りんご &&
        cp -r kana/train/りんご kana/val && mkdir kana/train/x && cp "$files/one.png" kana/train/x &&
        "$EVENKEEL" train --data kana --net photos.net --epochs 1 --batch-size 2 --resize 12 -o kana.model >/dev/null &&
        "$EVENKEEL" eval kana.model --data kana | iconv -f UTF-8 -t UTF-8 | grep -c '^ *x  *り$')"
    mkdir -p "odd/$(printf '\355\240\200')" && cp "$files/one.png" "odd/$(printf '\355\240\200')"
    fails "a class name that is no UTF-8" 1 "" "$EVENKEEL" data info odd --resize 12
    cp "$files/bad-short.png" photos/train/two/broken.png
    fails "a broken file" 1 "1 of 7 images cannot be read .* photos/train/two/broken.png: " \
        "$EVENKEEL" data info photos --resize 12
    run "$EVENKEEL" data info photos --resize 12 --skip-broken
    same "skipped by choice" "0 6" "$status $(awk '$1 == "train" && $3 == "images" {print $2}' out)"
    same "and said so" 1 "$(grep -c '1 file left out; the first: photos/train/two/broken.png' err)"
    rm -r photos/val
    rm photos/train/two/broken.png
    passes "training images alone" "^test +none$" "$EVENKEEL" data info photos --resize 12
fi
mkdir half && cp tiny/* half && rm half/t10k-labels*
fails "half a test set" 1 "^evenkeel data info: half: t10k-labels-idx1-ubyte is missing" "$EVENKEEL" data info half
rm tiny/t10k*
passes "no test set" "^test +none$" "$EVENKEEL" data info tiny
passes "no test images are needed then" "150 images, 50 for validation" train --val-split 0.25
fails "but without" 1 "t10k.*; or add --val-split 0.1" train

# ---- The share that was set aside, in the commands that take the model

bn() { "$EVENKEEL" train --data tiny --net bn-lenet --epochs 2 --batch-size 25 --val-split 0.25 --seed 3 "$@"; }
told=$(bn -o share | awk '$1 == 2 {print $4, $5}')
passes "eval takes the share for test images" \
    "^share on tiny, test \(the share 0.25 of the training images that was set aside\): 50 images$" "$EVENKEEL" eval share --data tiny
same "and measures what training did" "$told" "$(sed -n 's/^loss \([0-9.]*\), accuracy \([0-9.]*\) .*/\1 \2/p' out)"
passes "the others were trained on" "^share on tiny, train: 150 images$" "$EVENKEEL" eval share --data tiny --split train
same "as JSON" "test 0.25 50" "$("$EVENKEEL" eval share --data tiny --json | python3 -c 'import json, sys
answer = json.load(sys.stdin)
print(answer["split"], answer["val_split"], answer["count"])')"
passes "doctor measures on the share" "^accuracy on 50 validation images" "$EVENKEEL" doctor share --data tiny
passes "calibrate does" "^with exact ones of 150 training images: .* of 50 images" "$EVENKEEL" calibrate share --data tiny -o exact
passes "fold does" "^on 50 " "$EVENKEEL" fold share --data tiny -o folded
passes "predict does" "^test 49" "$EVENKEEL" predict share --data tiny
passes "export --int8 does" "^in float: .* of 50 images" "$EVENKEEL" export share --data tiny --to c --int8 -o int8
same "calibrated on the others" 1 "$(grep -c '^calibrated on 150 training images of tiny$' out)"
passes "report does" "" "$EVENKEEL" report share --data tiny -o share.html
same "and says so" 1 "$(grep -c '50 validation images' share.html)"
for command in eval doctor "report -o never" "calibrate -o never" "export --to c --int8 -o never"; do
    fails "$command without --data" 1 ": share: was trained on images of its own; name them with --data$" "$EVENKEEL" $command share
done
absent "nothing is written" "never*"
passes "fold does without" "^on 64 random images: " "$EVENKEEL" fold share -o folded
train -o whole --val-split 0.25 >/dev/null
"$EVENKEEL" import share --net bn-lenet -o alone >/dev/null
fails "without a share there is none" 1 "tiny: .*; --split train takes its training images$" "$EVENKEEL" eval alone --data tiny
passes "but training images" "200 images" "$EVENKEEL" eval alone --data tiny --split train
if "$EVENKEEL" inspect share | grep -q '^data.digest '; then
    python3 "$here/make_idx.py" others --train 180
    rm others/t10k*
    fails "of other images neither" 1 "share was validated on a share of its training images, which are others than these" \
        "$EVENKEEL" eval share --data others
    passes "which are all training images" "^share on others, train: 180 images$" "$EVENKEEL" eval share --data others --split train
    python3 "$here/edit_model.py" share there note:data.name=mnist
    fails "a set that is not here" 1 "mnist: not found in" "$EVENKEEL" eval there
    python3 "$here/edit_model.py" share there note:data.name=tiny
    fails "a name that is a folder's" 1 "there: was trained on tiny; name the folder that it is in with --data" "$EVENKEEL" eval there
fi
python3 "$here/edit_model.py" share named "note:labels=ant
bee
cow"
mkdir -p beasts/train/cat beasts/train/dog
for class in cat dog; do { echo 'P5 28 28 255' && head -c 784 /dev/zero; } >beasts/train/$class/0.pgm; done
run "$EVENKEEL" eval named --data beasts --split train
same "other classes are warned of" "0 1 1" "$status $(wc -l <err) \
$(grep -c "named was trained on other classes: class 0 is 'ant' in it, and 'cat' in beasts$" err)"
same "those of the model alone have its names" "cat dog cow 3" \
    "$(sed -n 's/^\([a-z0-9]*\)  *[0-9]  *[0-9] .*/\1/p' out | head -n 4 | paste -sd ' ')"
passes "numbers are no other names" "^cow  " "$EVENKEEL" eval named --data tiny
python3 "$here/make_idx.py" wide --side 30
fails "images of another size" 1 "wide: images are 1x30x30, the net's input is 1x28x28; they become that by --resize 28$" \
    "$EVENKEEL" eval share --data wide
passes "can become that" "accuracy" "$EVENKEEL" eval share --data wide --resize 28
fails "of other colours" 1 "images are 3x28x28, .* by --colour grey$" "$EVENKEEL" eval share --data wide --resize 28 --colour rgb

for wrong in 0 1 -1 x; do
    fails "--val-split $wrong" 2 "^evenkeel train: --val-split" train --val-split "$wrong"
done
finish
