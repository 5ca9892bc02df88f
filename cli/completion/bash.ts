import type { FlagTable } from "../flags/spec.ts";
import { type CompletionTables, flagWords, LISTS } from "./tables.ts";

/**
 * A function for bash's programmable completion; needs nothing but bash. No variable of it is called path: zsh, which runs it too, has
 * $PATH in that.
 */
export function bashScript({ commands, groups, globals }: CompletionTables): string {
  const words = (list: readonly string[]) => `'${list.join(" ")}'`;
  const flagCases = commands.map(({ path, flags }) =>
    `    ${quote(path)}) flags=${words(flagWords(flags))} ;;`
  );
  const valueCases = commands.flatMap(({ path, flags }) => values(path, flags));
  const argumentCases = commands.flatMap(({ path, completes }) =>
    completes === undefined ? [] : [`    ${quote(path)}) kind=${completes} ;;`]
  );
  const groupCases = Object.keys(groups).map((group) => {
    const members = commands.filter(({ path }) => path.startsWith(`${group} `)).map(({ path }) =>
      path.slice(group.length + 1)
    );
    return `    ${quote(group)}) candidates=${words(members)} ;;`;
  });
  const top = [
    ...commands.map(({ path }) => path).filter((path) => !path.includes(" ")),
    ...Object.keys(groups),
    "help",
  ];
  return `# bash completion for berth
_berth() {
  local typed count joined cur prev spelled word i flags kind choices candidates
  # bash takes words apart at : and =, as those of app:1 and --restart=no.
  typed=() count=0 joined=
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $count -gt 1 && -n $word && ( $word == [:=]* || \${typed[count-1]} == *[:=] ) ]]; then
      typed[count-1]+=$word
      joined=yes
    else
      typed[count]=$word
      ((count++))
    fi
  done
  cur=\${typed[count-1]}
  prev=\${typed[count-2]}
  if [[ -n $joined && $cur == --*=* ]]; then
    prev=\${cur%%=*}
    cur=\${cur#*=}
  fi
  spelled=
  for ((i = 1; i < count - 1; i++)); do
    word=\${typed[i]}
    case $word in
    ${takesArgument(globals)}) [[ -z $spelled ]] && { ((i++)); continue; } ;;
    esac
    [[ $word == -* ]] && continue
    if [[ -z $spelled ]]; then spelled=$word
    else
      case $spelled in
      ${Object.keys(groups).map(quote).join("|")}) spelled="$spelled $word" ;;
      esac
      break
    fi
  done
  COMPREPLY=()
  if [[ -z $spelled ]]; then
    if [[ $cur == -* ]]; then candidates=${words(flagWords(globals))}
    else candidates=${words(top)}; fi
    COMPREPLY=($(compgen -W "$candidates" -- "$cur"))
    return
  fi
  case $spelled in
${groupCases.join("\n")}
  esac
  if [[ -n $candidates && $cur != -* ]]; then
    COMPREPLY=($(compgen -W "$candidates" -- "$cur"))
    return
  fi
  case "$spelled $prev" in
${valueCases.join("\n")}
  esac
  if [[ -z $kind && -z $choices ]]; then
    if [[ $cur == -* ]]; then
      case $spelled in
${flagCases.join("\n")}
      esac
      COMPREPLY=($(compgen -W "$flags" -- "$cur"))
      return
    fi
    case $spelled in
${argumentCases.join("\n")}
    'completion') choices='bash fish zsh' ;;
    esac
  fi
  case $kind in
    container) choices=$(${LISTS.container}) ;;
    image) choices=$(${LISTS.image}) ;;
    network) choices=$(${LISTS.network}) ;;
    volume) choices=$(${LISTS.volume}) ;;
    context) choices=$(${LISTS.context}) ;;
    endpoint) choices=$(${LISTS.endpoint}) ;;
    file) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    dir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
  esac
  COMPREPLY=($(compgen -W "$choices" -- "$cur"))
  # What is before the last of these is on the line already.
  [[ -z $joined ]] || COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*[:=]}"}"}")
}
complete -F _berth berth
`;
}

const quote = (text: string): string => `'${text}'`;

/** A pattern of the flags that are followed by an argument. */
function takesArgument(flags: FlagTable): string {
  return Object.entries(flags).filter(([, flag]) => !flag.isBool)
    .flatMap(([name, flag]) => flag.short === undefined ? [`--${name}`] : [`--${name}`, `-${flag.short}`])
    .join("|");
}

function values(path: string, flags: FlagTable): string[] {
  return Object.entries(flags).flatMap(([name, flag]) => {
    if (flag.hidden || flag.completes === undefined) return [];
    const spellings = [`--${name}`, ...(flag.short === undefined ? [] : [`-${flag.short}`])];
    const pattern = spellings.map((spelling) => quote(`${path} ${spelling}`)).join("|");
    const action = typeof flag.completes === "string"
      ? `kind=${flag.completes}`
      : `choices='${flag.completes.join(" ")}'`;
    return [`    ${pattern}) ${action} ;;`];
  });
}
