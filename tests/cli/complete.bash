# SPDX-License-Identifier: MIT
# Completes LINE, whose last word is at its end, as bash does, and prints the candidates a line each.
#     bash complete.bash COMPLETIONS LINE
. "$1"
compopt() { options+=" $*"; } # it works within a completion alone; what readline would add is added below
COMP_LINE=$2
COMP_POINT=${#COMP_LINE}
read -ra typed <<<"${COMP_LINE//=/ = }"
[[ $COMP_LINE == *' ' ]] && typed+=("")
COMP_WORDS=("${typed[@]}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
word=${COMP_WORDS[COMP_CWORD]}
_evenkeel "${COMP_WORDS[0]}" "$word" "${COMP_WORDS[COMP_CWORD - 1]}"
[[ ${#COMPREPLY[@]} -eq 0 && $options == *"-o default"* ]] && mapfile -t COMPREPLY < <(compgen -f -- "$word")
[[ ${#COMPREPLY[@]} -eq 0 && $options == *"-o dirnames"* ]] && mapfile -t COMPREPLY < <(compgen -d -- "$word")
printf '%s\n' "${COMPREPLY[@]}"
