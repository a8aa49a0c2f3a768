"""The scripts for bash, zsh and fish: each asks the program, and shows what it answers."""

from typing import Final

from qicore.base import Failure, Result, Success
from qicore.cli.errors import CLI_BAD_VALUE, mistake, quoted

__all__ = ["SHELLS", "script", "variable"]

# bash splits words at the characters of COMP_WORDBREAKS, `=` and `:` among them; words without a blank
# between them are joined again, and what was joined before the last piece is cut off each proposal.
_BASH: Final = r"""
_@ID@_complete() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" word lead joined=() piece="" last="" first=1
    local index
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word="${COMP_WORDS[index]}"
        if ((index == COMP_CWORD)); then
            word="${word:0:${#line}}"
            while [[ -n $word && $line != *"$word" ]]; do word="${word%?}"; done
        fi
        if [[ -z $word ]]; then
            lead="${line}"
            [[ -z $line ]] && lead="" || line=""
        else
            lead="${line%%"$word"*}"
            line="${line#*"$word"}"
        fi
        if [[ $first == 0 && -z $lead ]]; then
            last="${joined[${#joined[@]}-1]}"
            joined[${#joined[@]}-1]="$last$word"
        else
            last=""
            joined+=("$word")
        fi
        first=0
    done
    COMPREPLY=()
    local kind text help
    while IFS=$'\t' read -r kind text help; do
        case "$kind" in
            text)
                printf -v piece '%q' "${text#"$last"}"
                COMPREPLY+=("$piece")
                [[ ${#text} -gt 1 && $text == *= ]] && compopt -o nospace
                ;;
            file) compopt -o default ;;
            directory) compopt -o dirnames ;;
        esac
    done < <(@VAR@=bash "${COMP_WORDS[0]}" "${joined[@]:1}" 2>/dev/null)
}
complete -F _@ID@_complete @NAME@
"""

_ZSH: Final = r"""
#compdef @NAME@
_@ID@_complete() {
    local -a texts shown
    local kind text help
    while IFS=$'\t' read -r kind text help; do
        case "$kind" in
            text) texts+=("$text"); shown+=("${text}${help:+  -- $help}") ;;
            file) compset -P '--*='; _files ;;
            directory) compset -P '--*='; _files -/ ;;
        esac
    done < <(@VAR@=zsh "${(Q)words[1]}" "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    (( ${#texts} )) && compadd -l -d shown -a texts
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _@ID@_complete "$@"
else
    compdef _@ID@_complete @NAME@
fi
"""

_FISH: Final = r"""
function _@ID@_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l begun (string replace -r -- '^--[^=]*=' '' $current)
    set -l length (math (string length -- "$current") - (string length -- "$begun"))
    set -l before (string sub -l $length -- "$current")
    for line in (env @VAR@=fish $words[1] $words[2..-1] "$current" 2>/dev/null)
        set -l parts (string split \t -- $line)
        switch $parts[1]
            case text
                printf '%s\t%s\n' $parts[2] "$parts[3]"
            case file
                printf '%s\n' $before(__fish_complete_path "$begun")
            case directory
                printf '%s\n' $before(__fish_complete_directories "$begun" "")
        end
    end
end
complete --no-files --command @NAME@ --arguments '(_@ID@_complete)'
"""

SHELLS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str, name: str) -> Result[str]:
    """Return the completion script of a program for a shell."""
    template = SHELLS.get(shell)
    if template is None:
        choices = ", ".join(SHELLS)
        return Failure(
            mistake(CLI_BAD_VALUE, f"no completion for {quoted(shell)}", (), f"choose from {choices}")
        )
    if (
        not name
        or not name.isascii()
        or not name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    ):
        return Failure(mistake(CLI_BAD_VALUE, f"{quoted(name)} is no name of a program", ()))
    text = (
        template.replace("@VAR@", variable(name)).replace("@ID@", _identifier(name)).replace("@NAME@", name)
    )
    return Success(text.lstrip("\n"))


def variable(name: str) -> str:
    """Return the environment variable by which a shell asks the program for proposals.

    >>> variable("ask-docs")
    '_ASK_DOCS_COMPLETE'
    """
    return f"_{_identifier(name).upper()}_COMPLETE"


def _identifier(name: str) -> str:
    return "".join(character if character.isalnum() and character.isascii() else "_" for character in name)
