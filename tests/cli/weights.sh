#!/bin/sh
# SPDX-License-Identifier: MIT
# Weights under other names: import, training from them, and what is told where they do not fit.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
printf 'input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nflatten\nlinear 3\n' >small.net
"$EVENKEEL" export small.net --to pytorch --weights m.safetensors >/dev/null || report "a model" "none"
python3 - <<'END'
import json, struct

def rename(path, change):
    data = open("m.safetensors", "rb").read()
    size, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    del header["__metadata__"]
    text = json.dumps({change(name): entry for name, entry in header.items()}).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data[8 + size:])

rename("plain.safetensors", lambda name: name)
rename("module.safetensors", lambda name: "module." + name)
rename("named.safetensors", lambda name: name.replace("0.", "conv.").replace("1.", "bn.").replace("3.", "head.", 1))
open("model.pth", "wb").write(b"PK\3\4" + bytes(200))
END

passes "weights alone" "^saved plain.model$" "$EVENKEEL" import plain.safetensors --net small.net -o plain.model
report "are the same model" "$(cmp plain.model m.safetensors 2>&1)"
printf 'ant\r\nbee\r\ncat\r\n' >names
passes "with what they do not tell" "^saved" "$EVENKEEL" import plain.safetensors --net small.net -o told --labels names \
    --normalize 0.25/0.5
passes "which the model does" "^input.mean +0.25$" "$EVENKEEL" inspect told
same "without their carriage returns" "ant" "$(sed -n 's/^labels  *\([a-z]*\).*/\1/p' out)"
printf 'ant\nbee\n' >few
fails "names of other classes" 1 "few: it names 2 classes, a line each, and the net has 3 outputs$" \
    "$EVENKEEL" import plain.safetensors --net small.net -o never --labels few
fails "a normalisation of other channels" 2 "the net's input has 1" \
    "$EVENKEEL" import plain.safetensors --net small.net -o never --normalize 0,0/1,1
passes "behind a prefix" "^saved" "$EVENKEEL" import module.safetensors --net small.net --rename module.= -o model
report "are the same model, too" "$(cmp model m.safetensors 2>&1)"
passes "under other names" "^saved" "$EVENKEEL" import named.safetensors --net small.net -o model --rename conv=0 --rename bn=1 \
    --rename head=3
report "are the same model as well" "$(cmp model m.safetensors 2>&1)"
rm model
fails "names that do not fit" 1 "^evenkeel import: module.safetensors: .* \(with the rule 'module.=' it has the missing ones\)" \
    "$EVENKEEL" import module.safetensors --net small.net -o model
same "are listed whole" "8 missing, 9 left over" "$(grep -c '^missing  ' out) missing, $(grep -c '^left over  ' out) left over"
fails "a rule that fits nothing" 1 "the rule 'net.=' fits no tensor; one is called 'module.[a-z0-9.]*weight'" \
    "$EVENKEEL" import module.safetensors --net small.net --rename net.= -o model
fails "names that meet" 1 "the rules make '0.bias' of two tensors" "$EVENKEEL" import m.safetensors --net small.net \
    --rename 3=0 -o model
fails "no rule" 1 "'module' is no rule to rename tensors; write FROM=TO" "$EVENKEEL" import m.safetensors --net small.net \
    --rename module -o model
fails "PyTorch's own files" 1 'import torch; .*save_file\(torch.load\("model.pth"' "$EVENKEEL" import model.pth --net small.net \
    -o model
fails "the same as a model" 1 'torch.load\("model.pth"' "$EVENKEEL" inspect model.pth
fails "no net" 2 "^evenkeel import: --net is missing" "$EVENKEEL" import m.safetensors -o model
absent "nothing was written" "model*[!h]"
printf 'input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nflatten\nlinear 5\n' >five.net
passes "another head" "^saved" "$EVENKEEL" import m.safetensors --net five.net --leave 3 -o model
passes "which starts anew" "^ +3  linear 5 +5 +45 " "$EVENKEEL" inspect model

python3 "$here/make_idx.py" tiny --train 40 --test 20 --side 4
train="$EVENKEEL train --data tiny --net small.net --epochs 1 --batch-size 20 --lr 1e-12 --quiet"
sed 's/linear 3/linear 10/' small.net >ten.net
passes "train from weights of others" "" "$EVENKEEL" train --data tiny --net ten.net --epochs 1 --batch-size 20 --lr 1e-12 \
    --quiet --init named.safetensors --rename conv=0 --rename bn=1 --leave head --leave 3 --seed 5 -o trained
"$EVENKEEL" train --data tiny --net ten.net --epochs 1 --batch-size 20 --lr 1e-12 --quiet --seed 5 -o seeded
values() { "$EVENKEEL" inspect "$1" --layer "$2" --json | grep '"name": "'; }
same "the layers that were there" "$(values m.safetensors 0)" "$(values trained 0)"
same "and those that were not start as the seed says" "$(values seeded 3)" "$(values trained 3)"
fails "--rename without a file" 2 "^evenkeel train: --rename is about weights of a file; add --init FILE$" \
    $train --rename a=b
fails "--leave without a file" 2 "^evenkeel train: --leave is about" $train --init he --leave a
fails "a rule for no tensor" 1 "^evenkeel train: m.safetensors: the rule 'a=b' fits no tensor" $train --init m.safetensors --rename a=b
fails "a sweep of rules" 2 "there is no option '--rename'" "$EVENKEEL" sweep --data tiny --net small.net --rename a=b -o swept

if python=$(find_python torch); then
    "$python" "$here/../pytorch/foreign.py" save there || report "a net of others" "none"
    "$python" "$here/../pytorch/foreign.py" text >there.net
    passes "a net of others" "^saved" "$EVENKEEL" import there --net there.net -o there.model --rename module= \
        --rename 'layer1.0=3' --rename 'layer2.0=5' --rename '*.conv1=*.body.0' --rename '*.bn1=*.body.1' \
        --rename '*.conv2=*.body.3' --rename '*.bn2=*.body.4' --rename '*.downsample=*.shortcut' \
        --rename conv1=0 --rename bn1=1 --rename fc=9
    "$EVENKEEL" export there.model --to pytorch -o there.py
    same "predicts the same" "[]" "$("$python" - "$here/../pytorch" <<'END'
import sys
sys.path.append(sys.argv[1])
from safetensors.torch import load_file
from there import load
net, seen = load("there.model"), load_file("there.seen")
off = (net(seen["x"]) - seen["logits"]).abs().max() / seen["logits"].abs().max()
print([] if off <= 1e-5 else off)
END
)"
    fails "what torch.save saves" 1 'import torch; ' "$EVENKEEL" import there.pth --net there.net -o other
else
    echo "SKIP: no Python with torch: no net of others is imported"
fi
finish
