# SPDX-License-Identifier: MIT
# Completes LINE in an interactive zsh of its own, and prints the candidates a line each.
#     zsh -f complete.zsh FOLDER-OF-COMPLETIONS LINE
zmodload zsh/zpty
found=$(mktemp -d)
trap 'rm -rf $found' EXIT
cat >$found/rc <<END
fpath=(${(q)1} \$fpath)
autoload -U compinit && compinit -u -D
compadd()
{
    local -a hits
    if [[ " \${@[1,(i)--]} " != *' -'[OAD]' '* ]]; then
        builtin compadd -A hits "\$@"
        print -rl -- \$hits >>$found/words
    fi
    builtin compadd "\$@"
}
tell() { _main_complete; : >$found/end }
zle -C tell list-choices tell
bindkey '^I' tell
END
zpty shell zsh -f -i
zpty -w shell "source $found/rc; : >$found/ready"
await() # FILE: reads on what the shell shows, else it would wait for a reader
{
    local shown
    repeat 1000; do
        while zpty -rt shell shown; do done
        [[ -e $1 ]] && return
        sleep 0.01
    done
    print "no $1:t"
}
await $found/ready
zpty -n -w shell "$2"$'\t'
await $found/end
[[ -e $found/words ]] && grep . $found/words
zpty -d shell
