#!/bin/sh
# SPDX-License-Identifier: MIT
# evenkeel sweep: a grid of trainings, what is told of it, going on after kills, more of it, runs that fail.
. "$(dirname "$0")/helpers"
cd "$work" || exit 1
python3 "$here/make_idx.py" tiny --train 96 --test 50 --side 12
printf 'input 1 12 12\nconv2d 4 kernel=3\nbatchnorm\nrelu\nmaxpool 2\nflatten\nlinear 10\n' >bn.net
printf 'input 1 12 12\nconv2d 4 kernel=3\nrelu\nmaxpool 2\nflatten\nlinear 10\n' >plain.net
sweep="$EVENKEEL sweep --data tiny --batch-size 16"
[ -n "${EVENKEEL_TEST_QUICK-}" ] && long=30 || long=40
export LC_ALL=C.UTF-8
# Where memory is watched: fontconfig keeps some to the end, which is not this command's.
echo "leak:libfontconfig" >suppressions
export LSAN_OPTIONS="suppressions=$work/suppressions:print_suppressions=0"

# ---- What is told before anything runs

fails "no folder" 2 "^evenkeel sweep: --out DIR is missing" $sweep
fails "a wrong value among right ones" 2 "^evenkeel sweep: --lr: '0' is not a number from" $sweep --lr 0.1,0 --out none
fails "a value twice" 2 "^evenkeel sweep: --lr: 0.1 is given twice" $sweep --lr 0.1,1,0.1 --out none
fails "an empty value" 2 "^evenkeel sweep: --lr: an empty value" $sweep --lr 0.1,,1 --out none
fails "an empty value at the end" 2 "^evenkeel sweep: --lr: an empty value" $sweep --lr 0.1, --out none
fails "an option of one training" 2 "--log is for one training; each run of a sweep has its log" $sweep --log x --out none
fails "an unknown net" 1 "neither a net nor a file 'bn-lnet'; did you mean 'bn-lenet'" $sweep --net lenet,bn-lnet --out none
fails "unknown data" 1 "^evenkeel sweep: \./gone: no such folder" "$EVENKEEL" sweep --data ./gone --out none
fails "seeds that are none" 2 "^evenkeel sweep: --seeds: 'x' is neither a number" $sweep --seeds x --out none
fails "both kinds of seeds" 2 "leave one out$" $sweep --seeds 2 --seed 3 --out none
fails "a picture of another kind" 2 "^evenkeel sweep: --plot: 'p.pdf' ends neither" $sweep --out none --plot p.pdf
fails "names that are alike" 2 "have the same name, bn.net; rename one" $sweep --net bn.net,./bn.net --out none
fails "too many runs" 2 "more than 10000 runs" $sweep --seeds 1000 --epochs 1,2,3,4 --patience 5,6,7 --out none
fails "nothing to show" 1 "^evenkeel sweep: none: there is no sweep: none/sweep.json does not exist$" "$EVENKEEL" sweep --show none
absent "nothing was begun" "none*"

# ---- A grid

grid="$sweep --net bn.net,plain.net --epochs 3 --models --out grid"
passes "a grid" "^plain.net +0.1 +2 " $grid --lr 0.01,0.1 --seeds 2
same "a line a run" 8 "$(grep -c 'net,lr=0.*,seed=[01]: val_accuracy' out)"
same "a strip a point of the grid" 4 "$(grep -Ec '^net (bn|plain).net, lr 0.0?1 .*┃' out)"
"$EVENKEEL" train --data tiny --batch-size 16 --net bn.net --epochs 3 --lr 0.1 --seed 1 --out one.model --quiet
report "each run is a training" "$(cmp one.model grid/net=bn.net,lr=0.1,seed=1/model.safetensors 2>&1)"
cp grid/sweep.json before.json
passes "the same again" "^bn.net +0.01 +2 " $grid --lr 0.01,0.1 --seeds 2
same "runs nothing" "0 1" "$(grep -c 'seed=' out) $(cat grid/*/log.jsonl | grep -c '"start"' | awk '{print $1 / 8}')"
passes "one more value and seed" "^bn.net +1 +3 " $grid --lr 0.01,1,0.1 --seeds 0,1,7
same "run what is missing" 10 "$(grep -c 'seed=.*: val' out)"
fails "fewer values" 1 "^evenkeel sweep: grid holds another sweep: --lr 0.01,1,0.1 there, 0.1 now" $grid --lr 0.1 --seeds 8
fails "another recipe" 1 "holds another sweep: --lr .* not given now; --micro.*; --momentum not given there; --ghost not given there" \
    $grid --seeds 8 --momentum 0.9 --ghost --micro-batch 8
passes "as JSON" "" "$EVENKEEL" sweep --show grid --json
report "has what the logs say" "$(python3 - <<'END'
import json, math, statistics
found = json.load(open("out"))
rows = {(r["options"]["net"], r["options"]["lr"]): r for r in found["rows"]}
if len(rows) != 6 or found["runs"] != 18:
    print(len(rows), "rows of", found["runs"], "runs")
for (net, lr), row in rows.items():
    for key in "val_accuracy", "val_loss", "train_loss":
        logs = [[json.loads(line) for line in open(f"grid/net={net},lr={lr},seed={seed}/log.jsonl")] for seed in (0, 1, 7)]
        values = [[e for e in log if e["event"] == "epoch"][-1][key] for log in logs]
        got = row[key]
        wanted = statistics.mean(values), statistics.stdev(values), min(values), max(values)
        if not all(math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)
                   for a, b in zip(wanted, (got["mean"], got["sd"], got["min"], got["max"]))):
            print(net, lr, key, wanted, got)
    if (row["done"], row["failed"], row["to_do"]) != (3, 0, 0):
        print(net, lr, row["done"], row["failed"], row["to_do"])
END
)"
export LC_ALL=C
passes "in ASCII" "^bn.net +0.01 +3 +0.[0-9]+ [+]- 0" "$EVENKEEL" sweep --show grid
same "all of it" 0 "$(tr -d '\n -~' <out | wc -c)"
export LC_ALL=C.UTF-8
axis='{"name":"--%s","values":["1"],"silent":null},'
many=$(for i in $(seq 200); do printf "$axis" o$i; done)
for options in '' "$(printf "$axis" ../x)" "$(printf "$axis" A)" "$many" '{"name":"--lr","values":[],"silent":null},'; do
    printf '{"format":1,"options":[%s{"name":"--seed","values":["0"],"silent":null}],"flags":%s}' "$options" \
        "$([ "$options" ] && echo '[]' || echo '{')" >grid/sweep.json
    fails "a grid that is none" 1 "^evenkeel sweep: grid/sweep.json: is not what a sweep has written" "$EVENKEEL" sweep --show grid
done
head -c 100 before.json >grid/sweep.json
fails "nor is it overwritten" 1 "grid/sweep.json: is not what a sweep has written" $grid --seeds 2
cp before.json grid/sweep.json
passes "the best epoch" "^best +" sh -c '"$0" "$@" && echo "best "' $sweep --net bn.net --lr 1 --epochs 5 --keep-best --json --out best
report "counts with --keep-best" "$(python3 - <<'END'
import json
epochs = [json.loads(line) for line in open("best/seed=0/log.jsonl")]
epochs = [e for e in epochs if e["event"] == "epoch"]
got = json.loads(open("out").readline())["rows"][0]["runs"][0]
best = max(epochs, key=lambda e: (e["val_accuracy"], -e["epoch"]))
if (got["epoch"], got["val_loss"]) != (best["epoch"], best["val_loss"]) or best is epochs[-1] or got["epochs"] != 5:
    print(got, best)
END
)"
passes "an option that needs no value" "^bn.net.* 2 " $sweep --exact-stats --epochs 1 --net bn.net,plain.net --seeds 2 --out exact
same "is every run's" 4 "$(cat exact/*/log.jsonl | grep -c '"exact_stats":96,')"
passes "one with several" "^50 +1 " $sweep --exact-stats=50,all --epochs 1 --net bn.net --out exacts
same "is each run's own" "1 1" "$(grep -c '"exact_stats":50,' exacts/exact-stats=50,seed=0/log.jsonl) $(
    grep -c '"exact_stats":96,' exacts/exact-stats=all,seed=0/log.jsonl)"
passes "lists of lists" "^crop=1,flip +1 " $sweep --net bn.net --epochs 1 --augment 'none;crop=1,flip' --out lists
passes "plot takes the logs, or there is no cairo" "" \
    sh -c '"$0" plot lists/*/log.jsonl -o p.svg 2>said || grep -q "without cairo" said' "$EVENKEEL"

# ---- Pictures

run "$EVENKEEL" sweep --show grid --plot grid.png
if grep -q "without cairo" err; then
    echo "SKIP: pictures of sweeps: this build has no cairo"
else
    fails "a picture in no folder, before anything runs" 1 "gone/p.png: cannot be written: its folder does not exist" \
        $sweep --out none --plot gone/p.png
    absent "no run of it" "none*"
    passes "as PNG" "^bn.net" "$EVENKEEL" sweep --show grid --plot grid.png
    report "in a colour a value" "$(python3 "$here/read_picture.py" png grid.png white 0072b2 d55e00 2>&1)"
    passes "as SVG" "^bn.net" "$EVENKEEL" sweep --show grid --plot grid.svg
    report "which is XML" "$(python3 -c 'import xml.etree.ElementTree as t; t.parse("grid.svg")' 2>&1)"
fi

# ---- Runs that fail

fails "options that do not go together" 2 "^evenkeel sweep: momentum is SGD's" \
    $sweep --momentum 0.9 --optimizer sgd,adam --out fails
absent "are told before anything runs" "fails"
failing="$sweep --net bn.net --epochs 1 --warmup 0.5,2 --seeds 2 --out fails"
run $failing
same "runs that fail" "1 2" "$status $(grep -c "^evenkeel sweep: warning: warmup=2,seed=[01] failed: .*warm-up is as long" err)"
same "do not keep the rest" "2 0 2 0.5 2 0" "$(awk '$1 == "2" {a = $1 " " $2 " " $NF} $1 == "0.5" {b = $1 " " $2 " " $NF}
    END {print a, b}' out)"
rm -r fails/warmup=2,seed=0 && : >fails/warmup=2,seed=0
run $failing
same "a folder that cannot be made" "1 1" "$status $(grep -c "warmup=2,seed=0 failed: " err)"

# ---- Files that became others

cp bn.net other.net
printf 'input 1 12 12\nflatten\nlinear 10\n' >seen.net
passes "a net in a file" "^ +1 " $sweep --net seen.net --epochs 1 --out seen
printf '# a remark\ninput 1 12 12\nflatten\nlinear 10\n' >seen.net
passes "the same net in other words" "^ +1 " $sweep --net seen.net --epochs 1 --out seen
cp plain.net seen.net
fails "another net of that name" 1 "^evenkeel sweep: seen holds another sweep: --net seen.net is not what it was" \
    $sweep --net seen.net --epochs 1 --out seen --seeds 2
cp plain.net "a,b.net"
passes "a net whose name has a comma" "^a,b.net|1 of 1|0\." $sweep --net "a,b.net" --epochs 1 --out comma
"$EVENKEEL" train --data tiny --net plain.net --epochs 1 --out start.st --quiet
passes "weights of a file" "^ +1 " $sweep --net plain.net --init start.st --epochs 1 --out started
"$EVENKEEL" train --data tiny --net plain.net --epochs 1 --seed 1 --out start.st --quiet
fails "other weights of that name" 1 "^evenkeel sweep: started holds another sweep: --init start.st is not what it was" \
    $sweep --net plain.net --init start.st --epochs 1 --out started
cp -r tiny data && passes "data" "^ +1 " "$EVENKEEL" sweep --data data --net plain.net --epochs 1 --out of
python3 "$here/make_idx.py" data --train 90 --test 50 --side 12
fails "other data of that name" 1 "^evenkeel sweep: of holds another sweep: --data data is not what it was" \
    "$EVENKEEL" sweep --data data --net plain.net --epochs 1 --out of

# ---- Stopped and gone on with

whole="$sweep --net bn.net --epochs $long --seeds 3 --jobs 2 --models --out"
run $whole whole
[ -n "${EVENKEEL_TEST_QUICK-}" ] && signals="2 9" || signals="2 15 9"
for number in $signals; do
    signal=$(kill -l $number)
    rm -rf part
    python3 - $number $whole part >out 2>err <<'END'
import glob, signal, subprocess, sys, time
process = subprocess.Popen(sys.argv[2:], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
while process.poll() is None and not glob.glob("part/*/checkpoints/*.safetensors"):
    time.sleep(0.001)
process.send_signal(int(sys.argv[1]))
print("status", process.wait())
END
    same "SIG$signal ends a sweep" "status -$number" "$(tail -n 1 out)"
    [ $number = 9 ] || same "and it says how to go on" 1 \
        "$(grep -c "^evenkeel sweep: SIG$signal: stopped, [012] of 3 runs done; to go on, give the same command again$" err)"
    passes "which ends it" "^ +3 " $whole part
    report "as it would have ended" "$(for seed in 0 1 2; do
        cmp whole/seed=$seed/model.safetensors part/seed=$seed/model.safetensors 2>&1
    done)"
    same "with runs that were gone on with" yes "$([ "$(cat part/*/log.jsonl | grep -c '"event":"start"')" -gt 3 ] && echo yes)"
    absent "no checkpoints are left" "part/*/checkpoints"
done

python3 - $whole stopped >out 2>err <<'END'
import glob, os, signal, subprocess, sys, time
sweep = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.setpgid(0, 0))
while not glob.glob("stopped/*/checkpoints/*.safetensors"):
    time.sleep(0.001)
sweep.send_signal(signal.SIGTSTP)
print(os.WIFSTOPPED(os.waitpid(sweep.pid, os.WUNTRACED)[1]))
runs = open(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read().split()
time.sleep(0.05)
print({open(f"/proc/{run}/stat").read().rpartition(")")[2].split()[0] for run in runs} <= {"T", "Z"}, len(runs) > 0)
sweep.send_signal(signal.SIGCONT)
print(sweep.wait())
END
same "Ctrl-Z stops a sweep and its runs, until they go on" "True True True 0" \
    "$(grep -E '^(True|False|[0-9])' out | tr '\n' ' ' | sed 's/ $//')"
report "to the end" "$(for seed in 0 1 2; do cmp whole/seed=$seed/model.safetensors stopped/seed=$seed/model.safetensors 2>&1; done)"

# A signal that comes while a run is started is that run's, too: none goes on to its end.
[ -n "${EVENKEEL_TEST_QUICK-}" ] && tries=3 || tries=8
python3 - $tries $sweep --net bn.net --epochs 5000 --seeds 2 --jobs 2 --out early 2>err >out <<'END'
import glob, shutil, signal, subprocess, sys, time
for k in range(int(sys.argv[1])):
    shutil.rmtree("early", ignore_errors=True)
    process = subprocess.Popen(sys.argv[2:], stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while process.poll() is None and not glob.glob("early/seed=*"):
        pass
    if process.poll() is not None:
        sys.exit("the sweep has ended by itself")
    time.sleep(k * 0.0004)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(4)
    except subprocess.TimeoutExpired:
        print("not after", k * 0.4, "ms")
        process.kill()
        process.wait()
END
report "a signal while runs are started ends them" "$(cat out err)"

# ---- On a terminal

python3 "$here/terminal.py" --raw raw $sweep --net bn.net --epochs $long --seeds 3 --jobs 1 --out shown >screen
same "a line tells how far it is" yes "$(grep -aEq '[012] of 3 runs, 1 running(, about [0-9]+ s left)?' raw && echo yes)"
same "and leaves nothing behind" "0" "$(grep -c running screen)"
finish
