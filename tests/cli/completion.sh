#!/bin/sh
# SPDX-License-Identifier: MIT
# Completion for shells: what the command says of itself is what --help says, for every command there is; and bash, zsh
# and fish make words of it.
. "$(dirname "$0")/helpers"
export LC_ALL=C.UTF-8 # fish wants one of UTF-8
completions=$(cd "$here/../../packaging/completions" && pwd)
mkdir -p "$work/place/photos" "$work/bin"
cd "$work/place" || exit 1
: >model.safetensors
: >'two words.safetensors'
ln -s "$EVENKEEL" "$work/bin/evenkeel"
PATH=$work/bin:$PATH

# commands NAME...: those that --help lists.
commands() { "$EVENKEEL" "$@" --help | sed -n '/^Usage/,/^  --help/s/^  \([a-z][a-z-]*\) .*/\1/p'; }
# words WORD...: the candidates for the last one.
words() { "$EVENKEEL" --complete "$@" | cut -f 1; }

check_options() # COMMAND
{
    "$EVENKEEL" $1 --help | sed -n 's/^  \(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' | sort >"$work/wanted"
    words $1 -- | sort >"$work/got"
    report "completion of '$1' knows its options" "$(diff "$work/wanted" "$work/got" | head -n 5)"
    grep -qx -e --help "$work/got" || report "'$1' has options" "no --help among them"
}

same "completion knows the commands" "$(commands)" "$(words '' | grep -v '^-')"
for target in $(commands export); do
    check_options "export --to $target"
done
same "completion knows the targets of export" "$(commands export)" "$(words export m --to '')"
same "completion knows the targets of export, behind =" "$(commands export | sed 's/^/--to=/')" "$(words export --to=)"
same "export has a target and a model first" "--to --help /files" \
    "$("$EVENKEEL" --complete export '' | cut -f 1,2 | sed 's/^\([^\t][^\t]*\).*/\1/' | tr '\n\t' ' /' | sed 's/ $//')"
for command in $(commands | grep -vx export); do
    if "$EVENKEEL" $command --help | grep -q '^Usage: .* COMMAND'; then
        same "completion knows the commands of '$command'" "$(commands $command)" "$(words $command '' | grep -v '^-')"
        for inner in $(commands $command); do
            check_options "$command $inner"
        done
    else
        check_options $command
    fi
done

# candidates NAME WANTED WORD...: all of them, in one line; a line of the shell's own files as it is.
candidates()
{
    name=$1 wanted=$2
    shift 2
    passes "$name" "" "$EVENKEEL" --complete "$@"
    same "$name: candidates" "$wanted" "$(sed 's/^\([^\t][^\t]*\).*/\1/' "$work/out" | tr '\n\t' ' /' | sed 's/ $//')"
}
tab=/
candidates "words of a value" "train test" eval m --split ""
candidates "words of a value, behind =" "--split=train --split=test" eval m --split=
candidates "words and files" "xavier pytorch he ${tab}files${tab}" train --init ""
candidates "data sets and folders" "fashion-mnist mnist cifar-10 cifar-100 ${tab}folders${tab}" train --data ""
candidates "data sets" "fashion-mnist mnist cifar-10 cifar-100" data fetch ""
candidates "nets" "$("$EVENKEEL" net list | cut -d ' ' -f 1 | tr '\n' ' ')${tab}files${tab}" train --net ""
candidates "files behind =" "${tab}files${tab}--log=" train --log=x
candidates "a letter's value" "${tab}files${tab}" train -o ""
candidates "a list" "crop,flip crop,erase" train --augment crop,
candidates "a list's files" "a,sgd a,adam a,adamw" sweep --optimizer a,
candidates "an operand" "${tab}files${tab}" eval ""
candidates "an operand that may be repeated" "${tab}files${tab}" plot a b ""
candidates "an operand behind --" "${tab}files${tab}" eval -- -
candidates "a number" "" train --epochs ""
candidates "an unknown option's value" "" train --teleport=
candidates "an unknown command" "" fly --
same "an option is offered once" "" "$(words eval m --json -- | grep -x -e --json)"
same "options where all operands are there" "--data" "$(words eval m '' | head -n 1)"
same "an implied value is no word of its own" "--data" "$(words train --exact-stats -- | head -n 1)"

# in_shells NAME WANTED LINE: what each shell makes of the line; WANTED in alphabetical order.
in_shells()
{
    for shell in bash zsh fish; do
        command -v $shell >/dev/null || continue
        same "$shell: $1" "$2" "$(complete_in_$shell "$3" 2>&1 | sed 's|/$||' | sort -u | tr '\n' ' ' | sed 's/ $//')"
    done
}
complete_in_bash()
{
    bash --norc --noprofile "$here/complete.bash" "$completions/evenkeel.bash" "$1"
}
complete_in_zsh()
{
    zsh -f "$here/complete.zsh" "$completions" "$1"
}
complete_in_fish()
{
    HOME=$work fish --no-config -c "source $completions/evenkeel.fish; complete -C '$1'" | cut -f 1
}
in_shells "a command" "eval" "evenkeel ev"
in_shells "a net and a file" "mlp model.safetensors" "evenkeel train --net m"
if [ -z "${EVENKEEL_TEST_QUICK-}" ]; then
    in_shells "an option" "--epochs --eps" "evenkeel train --ep"
    in_shells "an inner command" "fetch" "evenkeel data f"
    in_shells "a value" "test" "evenkeel eval model.safetensors --split te"
    in_shells "a list" "crop,erase crop,flip" "evenkeel train --augment crop,"
    in_shells "a data set and a folder" "photos" "evenkeel train --data ph"
fi
# What stands on the line is not run.
: >model.safetensors
in_shells "an option behind a command substitution" "" 'evenkeel predict $(touch ran) `touch ran` --zz'
same "completion runs nothing of the line" "" "$(ls ran 2>/dev/null)"
in_shells "an option behind a word with blanks" "--split" 'evenkeel eval two\ words.safetensors --sp'
for shell in zsh fish; do
    command -v $shell >/dev/null || echo "SKIP: completion in $shell, which is not installed"
done
finish
