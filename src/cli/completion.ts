import { Argument } from 'commander'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

// The words that were typed go to ccm as they are: nothing of them is ever evaluated, as TAB must run nothing.
const SCRIPTS = {
  bash: `# bash completion for ccm
_ccm() {
  local line cur="\${COMP_WORDS[COMP_CWORD]}"
  [[ $cur == "=" ]] && cur=""
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :dirs) compopt -o filenames 2>/dev/null; while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$cur") ;;
      :files) compopt -o filenames 2>/dev/null; while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur") ;;
      *) line="\${line%%$'\\t'*}"; [[ $line == *= ]] && compopt -o nospace 2>/dev/null; COMPREPLY+=("$line") ;;
    esac
  done < <(command ccm complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _ccm ccm
`,
  zsh: `#compdef ccm
# zsh completion for ccm
_ccm() {
  local line value
  local -a described open
  while IFS= read -r line; do
    value="\${line%%$'\\t'*}"
    case $line in
      :dirs) _files -/ ;;
      :files) _files ;;
      *=) open+=("$value") ;;
      *$'\\t'*) described+=("\${value//:/\\\\:}:\${line#*$'\\t'}") ;;
      *) described+=("\${value//:/\\\\:}") ;;
    esac
  done < <(command ccm complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)
  (( $#open )) && compadd -S '' -- $open
  (( $#described )) && _describe -t words ccm described
}
if [[ \${funcstack[1]} == _ccm ]]; then
  _ccm "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
  compdef _ccm ccm
fi
`,
  fish: `# fish completion for ccm
function __ccm_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (command ccm complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':dirs'
                __fish_complete_directories "$current"
            case ':files'
                __fish_complete_path "$current"
            case '*'
                echo $line
        end
    end
end
complete -c ccm -e
complete -c ccm -f -a '(__ccm_complete)'
`,
}

/** `ccm completion`: a script that makes a shell complete commands, options, ids and names. */
export const completionCommand: DefineCommand = (context, done) =>
  createCommand(
    'completion',
    'Print a script that completes commands, options, ids and names of the daemon that runs.',
    [
      'ccm completion bash > ~/.local/share/bash-completion/completions/ccm',
      'source <(ccm completion zsh)',
      'ccm completion fish > ~/.config/fish/completions/ccm.fish',
    ],
  )
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS)))
    .action((shell: keyof typeof SCRIPTS, options: { json?: boolean }) => {
      if (options.json) printJson(context, { shell, script: SCRIPTS[shell] })
      else context.stdout.write(SCRIPTS[shell])
      done(EXIT.ok)
    })
