# SPDX-License-Identifier: MIT
# Completion of evenkeel in bash. The command itself says what there is: 'evenkeel --complete WORD...'.

_evenkeel()
{
    local -a words=() more
    local i line split= files= folders= name=${1/#\~/$HOME}
    # Bash splits words at '='; the command wants them as they were typed.
    [[ $COMP_WORDBREAKS == *=* ]] && split=1
    for ((i = 1; i <= COMP_CWORD; i++)); do
        if [[ $split && ${#words[@]} -gt 0 && (${COMP_WORDS[i]} == = || ${COMP_WORDS[i - 1]} == =) ]]; then
            words[-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
    local word=${words[-1]-} before=
    [[ $split && $word == *=* ]] && before=${word%%=*}=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        $'\tfiles\t'*) files=1 ;;
        $'\tfolders\t'*) folders=1 ;;
        "$word"*)
            line=${line%%$'\t'*}
            COMPREPLY+=("${line#"$before"}")
            ;;
        esac
    done < <("$name" --complete "${words[@]}" 2>/dev/null)
    # Files alone are for readline, which knows about quotes and '~'.
    if [[ ($files || $folders) && ${#COMPREPLY[@]} -eq 0 ]]; then
        if [[ $files ]]; then compopt -o default; else compopt -o dirnames; fi
    elif [[ $files || $folders ]]; then
        mapfile -t more < <(compgen "$([[ $files ]] && echo -f || echo -d)" -- "${word#"$before"}")
        compopt -o filenames
        COMPREPLY+=("${more[@]}")
    fi 2>/dev/null
}
complete -F _evenkeel evenkeel
