_NAME_completion() {
  local line="${COMP_LINE:0:COMP_POINT}"
  local part="${line##*[[:blank:]]}"
  mapfile -t COMPREPLY < <(COMP_UPTO="$line" PROGRAM completion 2>/dev/null)
  if [[ $part == *:* && $COMP_WORDBREAKS == *:* ]]; then
    # What stands before the last colon is a word of its own for bash, and stays as it is.
    COMPREPLY=("${COMPREPLY[@]#"${part%:*}:"}")
  fi
  [ ${#COMPREPLY[@]} -eq 0 ] && mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o filenames -F _NAME_completion PROGRAM
