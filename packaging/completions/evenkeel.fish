# SPDX-License-Identifier: MIT
# Completion of evenkeel in fish. The command itself says what there is: 'evenkeel --complete WORD...'.

function __evenkeel_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in ($words[1] --complete $words[2..-1] "$word" 2>/dev/null)
        set -l part (string split \t -- $line)
        if test -n "$part[1]"
            echo $line
            continue
        end
        # Files, behind what stands before them in the word.
        set -l path (string sub -s (math (string length -- "$part[3]") + 1) -- "$word")
        if test "$part[2]" = files
            string replace -r '^' -- "$part[3]" (__fish_complete_path "$path")
        else
            string replace -r '^' -- "$part[3]" (__fish_complete_directories "$path" '')
        end
    end
end
complete -c evenkeel -f -a '(__evenkeel_complete)'
