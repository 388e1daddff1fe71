_NAME_completion() {
  local -a found
  found=("${(@f)$(COMP_CWORD=$((CURRENT - 1)) PROGRAM completion -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _NAME_completion PROGRAM
