function __NAME_completion
  set -lx COMP_UPTO (commandline -cp)
  set -l found (PROGRAM completion 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c PROGRAM -f -a '(__NAME_completion)'
