#!/bin/sh
# SPDX-License-Identifier: MIT
# evenkeel fold: what is folded, what stays, channels that are constant, what is refused.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny
"$EVENKEEL" train --data tiny --batch-size 32 --epochs 2 --quiet --out model
fold="$EVENKEEL fold --data tiny"

passes "a model" "^4 batch norms folded$" $fold model -o folded
differ='^on 100 test images of tiny: outputs differ by at most [^ ]*, \([^ ]*\) of the largest; \([0-9]*\) get.*'
same "its outputs are the same, but for rounding, which shows" "yes 0" \
    "$(sed -n "s/$differ/\1 \2/p" out | awk '{print ($1 > 0 && $1 < 1e-5 ? "yes" : "no"), $2}')"
same "nothing is left to fold" 0 "$("$EVENKEEL" inspect folded | grep -c batchnorm)"
accuracy() { "$EVENKEEL" eval --data tiny "$1" --json | sed -n 's/.*"accuracy": *\([0-9.]*\).*/\1/p' | head -n 1; }
same "the accuracy is the same" "$(accuracy model)" "$(accuracy folded)"
same "its labels and data are told as before" "$("$EVENKEEL" inspect model | grep -c data.digest)" \
    "$("$EVENKEEL" inspect folded | grep -c data.digest)"
fails "again" 1 "^evenkeel fold: folded: has no batch norm that can be folded; nothing is written" $fold folded -o twice
absent "nothing is written" "twice*"

cat >stay.net <<'END'
input 1 28 28
conv2d 4 kernel=5 stride=4
batchnorm
residual {
    batchnorm
    relu
}
batchnorm tracking=no
flatten
linear 10
END
"$EVENKEEL" train --data tiny --net stay.net --batch-size 32 --epochs 1 --quiet --out stay
python3 "$here/edit_model.py" stay dead "1.running_var[0]=0" "1.running_var[2]=1e-7"
passes "norms that stay" "^1 batch norm folded, 2 stay$" $fold dead -o some
same "each says why" 1 "$(grep -c '^layer 2.body.0 (batchnorm) stays: others read the output of layer 0, too$' out)"
same "that without statistics, too" 1 "$(grep -c '^layer 3 (batchnorm) stays: it has no moving statistics$' out)"
wanted='variance at most eps (1e-05), so that folding multiplies weights by up to 3[0-9][0-9]; they are constant on the data$'
same "channels whose variance is nearly nothing" 1 "$(grep -c "^layer 1 (batchnorm), channels 0, 2: $wanted" out)"
sed 's/^batchnorm$/batchnorm normalize=mean/' stay.net >mean.net
"$EVENKEEL" train --data tiny --net mean.net --batch-size 32 --epochs 1 --quiet --out mean
python3 "$here/edit_model.py" mean dead "1.running_var[0]=0"
passes "what divides by nothing multiplies by nothing" "^1 batch norm folded, 2 stay$" $fold dead -o some
same "and no channel is named" 0 "$(grep -c 'variance at most' out)"
printf 'input 3 8 8\nconv2d 4 kernel=3\nbatchnorm\nrelu\nflatten\nlinear 3\n' >colour.net
"$EVENKEEL" export colour.net --to pytorch --weights colour >/dev/null
passes "without images, on random ones" "^on 64 random images: outputs .*; 0 get another label$" "$EVENKEEL" fold colour -o some
same "which is saved" "saved some" "$(tail -n 1 out)"
fails "images that do not fit" 1 "tiny: images are 1x28x28, the net's input is 3x8x8; they become that by --resize 8 --colour rgb" \
    $fold colour -o lost
fails "a folder that is not there" 1 "gone/f: cannot be written: its folder does not exist" $fold model -o gone/f
fails "no output" 2 "--out is missing" $fold model
finish
