#!/bin/sh
# SPDX-License-Identifier: MIT
# Data sets from folders: what they are, pictures of them, and files that lie.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 40 --test 20
python3 "$here/make_idx.py" packed --train 40 --test 20 --gzip

passes "info" "^train +40 images 1x28x28, 10 classes" "$EVENKEEL" data info tiny
same "images of each class" "3 4 2" "$(awk '$1 == 3 {print $1, $2, $3}' out)"
digests=$(grep -o 'sha256:.*' out)
run "$EVENKEEL" data info packed
grep -q "without zlib" err && zlib= || zlib=yes
if [ "$zlib" ]; then
    passes "info of packed files" "^test +20 images" "$EVENKEEL" data info packed
    same "packed or not, the same content" "$digests" "$(grep -o 'sha256:.*' out)"
else
    echo "SKIP: packed files: this build has no zlib"
fi
fails "info of nothing" 1 "^evenkeel data info: .*gone" "$EVENKEEL" data info ./gone
fails "info of an empty folder" 1 "^evenkeel data info: " "$EVENKEEL" data info "$(mkdir empty && echo empty)"
fails "fetch of an unknown set" 1 "^evenkeel data fetch: .*imagenet" "$EVENKEEL" data fetch imagenet

run "$EVENKEEL" data show tiny -o sheet.png
if grep -q "without libpng" err; then
    echo "SKIP: pictures: this build has no libpng"
else
    same "show" "0 89504e470d0a1a0a" "$status $(head -c 8 sheet.png | od -An -tx1 | tr -d ' \n')"
    passes "show with every option" "" \
        "$EVENKEEL" data show tiny --split test --first 2 --count 18 --columns 9 -o p.png
    fails "show beyond the end" 1 "^evenkeel data show: " "$EVENKEEL" data show tiny --first 39 --count 2 -o none.png
    absent "no picture of it" "none*"
fi

# ---- Files that lie. Each is a copy of the good folder with one file replaced.

lie() # NAME PATTERN FILE: the new content on standard input
{
    rm -rf bad
    cp -r tiny bad
    cat >"bad/$3"
    fails "$1" 1 "^evenkeel train: .*$2" "$EVENKEEL" train --data bad --epochs 1 --batch-size 8 --out none
}
images=train-images-idx3-ubyte labels=train-labels-idx1-ubyte
head -c 1000 tiny/$images | lie "truncated images" $images $images
head -c 10 tiny/$images | lie "truncated header" $images $images
: | lie "empty images" $images $images
{ cat tiny/$images; echo more; } | lie "bytes behind the images" $images $images
head -c 20 tiny/$labels | lie "fewer labels than the header says" $labels $labels
{ printf '\0\0\10\1\0\0\0\47'; tail -c +9 tiny/$labels | head -c 39; } | lie "39 labels for 40 images" "39" $labels
cat tiny/$labels | lie "labels in the place of images" $images $images
cat tiny/$images | lie "images in the place of labels" $labels $labels
printf 'not a data file, but some text that is longer than a header\n' | lie "text" $images $images
printf '\0\0\10\3\177\377\377\377\177\377\377\377\177\377\377\377' | lie "a header beyond all memory" $images $images
printf '\0\0\10\3\0\0\0\0\0\0\0\34\0\0\0\34' | lie "no images" $images $images
{ printf '\0\0\15\3'; tail -c +5 tiny/$images; } | lie "floats instead of bytes" $images $images
{ head -c 27 tiny/t10k-labels-idx1-ubyte; printf '\14'; } |
    lie "a label beyond the classes" t10k-labels-idx1-ubyte t10k-labels-idx1-ubyte
absent "no model of any of these" "none*"

lie_packed() # NAME FILE: the new content on standard input
{
    rm -rf bad
    cp -r packed bad
    cat >"bad/$2"
    fails "$1" 1 "^evenkeel data info: .*$2" "$EVENKEEL" data info bad
}
if [ "$zlib" ]; then
    head -c 4000 packed/$images.gz | lie_packed "truncated gzip" $images.gz
    { head -c 3000 packed/$images.gz; printf '\0\1\2\3\4\5\6\7'; tail -c +3009 packed/$images.gz; } |
        lie_packed "damaged gzip" $images.gz
    { cat packed/$images.gz; echo more; } | lie_packed "bytes behind the gzip" $images.gz
    printf '\037\213not gzip' | lie_packed "gzip in name alone" $images.gz
    head -c 100000000 /dev/zero | gzip -1 | lie_packed "a hundred megabytes of zeros" $images.gz
fi

rm -rf bad && cp -r tiny bad && rm bad/$labels
fails "labels missing" 1 "train-labels" "$EVENKEEL" data info bad
rm -rf bad && cp -r tiny bad && rm bad/$images && mkfifo bad/$images
fails "a pipe in the place of images" 1 "^evenkeel data info: " timeout 20 "$EVENKEEL" data info bad
rm -rf bad && cp -r tiny bad && rm bad/$images && mkdir bad/$images
fails "a folder in the place of images" 1 "^evenkeel data info: " "$EVENKEEL" data info bad
finish
