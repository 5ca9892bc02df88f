#!/bin/sh
# berth @VERSION@: a program for POSIX sh, followed by a compressed archive with Deno and berth's code.
# The archive is unpacked once, into the user's cache directory; docs/architecture.md, "One executable", has the
# rules. Made by scripts/build.ts. Needs sh, tail, gzip, tar, dd, touch and wc only, GNU's or busybox's.

hash=@HASH@
arch=@ARCH@
header_size=@HEADER@
total_size=@TOTAL@
files='@FILES@'

fail() {
  printf 'berth: %s\n' "$1" >&2
  exit 125
}

# Whether directory $1 holds everything, unchanged since it was unpacked: the archive dates every file to 1970, so
# whatever cut or rewrote one made it newer than the stamp. No process is started to find out.
whole() {
  [ -f "$1/stamp" ] && [ -O "$1" ] || return 1
  for file in $files; do
    [ -s "$1/$file" ] && [ "$1/$file" -ot "$1/stamp" ] || return 1
  done
}

# Removes versions unpacked more than a week ago that no process runs from. $1: the directory above them.
sweep() {
  for old in "$1"/*; do
    [ "$old" != "$1/$hash" ] && [ -n "$(find "$old/stamp" -mtime +7 2>/dev/null)" ] || continue
    for process in /proc/[0-9]*; do
      [ "$(readlink "$process/exe" 2>/dev/null)" != "$old/deno" ] || continue 2
    done
    rm -rf "$old"
  done
}

# Whether programs in directory $1 can be executed (not on a noexec mount).
executable() {
  printf '#!/bin/sh\n' >"$1/.try.$$" && chmod 700 "$1/.try.$$" && "$1/.try.$$"
  set -- "$1" $?
  rm -f "$1/.try.$$"
  return "$2"
}

# Unpacks into $1/$hash: under another name, checked, then renamed. Many may try at once: the lock lets one do it.
# Returns 1 when $1 is no place for it.
unpack() (
  umask 077
  mkdir -p "$1" && [ -O "$1" ] && exec 9>>"$1/lock" && executable "$1" || return 1
  if command -v flock >/dev/null; then
    flock 9 || return 1
    ! whole "$1/$hash" || return 0
    # Whoever left these was killed: nobody else holds the lock.
    rm -rf "$1"/.new.* "$1"/.old.*
  fi
  size=$(wc -c <"$self") || return 1
  [ "$size" -eq $total_size ] ||
    fail "$self is damaged: it has $((size)) bytes and should have $total_size. Build it or download it again." 2>&8
  new=$1/.new.$$
  mkdir "$new" || return 1
  tail -c +$((header_size + 1)) "$self" | { gzip -dc || [ $? -gt 128 ] || : >"$new/bad"; } | tar -xof - -C "$new"
  set -- "$1" $?
  if [ -e "$new/bad" ]; then
    rm -rf "$new"
    fail "$self is damaged: its archive cannot be unpacked. Build it or download it again." 2>&8
  fi
  [ "$2" -eq 0 ] || {
    rm -rf "$new"
    return 1
  }
  "$new/deno" --version >/dev/null || {
    rm -rf "$new"
    fail "this file is for $arch Linux with glibc and cannot run on this machine ($(uname -m))." 2>&8
  }
  # What is written in large pieces lies in large pieces in memory: every start is 1 ms faster.
  if dd if="$new/deno" of="$new/.deno" bs=8388608 && chmod 500 "$new/.deno" && touch -r "$new/deno" "$new/.deno"; then
    mv -f "$new/.deno" "$new/deno" || return 1
  else
    rm -f "$new/.deno"
  fi
  sync "$new"/* || :
  : >"$new/stamp"
  [ ! -e "$1/$hash" ] || mv "$1/$hash" "$1/.old.$$"
  mv "$new" "$1/$hash" || return 1
  rm -rf "$1"/.old.*
  sweep "$1"
) 8>&2 2>/dev/null

# Sets `dir` to the unpacked files. A cache below a directory of somebody else is not trusted (sudo keeps HOME).
locate() {
  cache=
  case ${XDG_CACHE_HOME-} in
    /*) [ -e "$XDG_CACHE_HOME" ] && [ ! -O "$XDG_CACHE_HOME" ] || cache=$XDG_CACHE_HOME/berth ;;
    *) home=${HOME:-/root} && case $home in /*) [ ! -O "$home" ] || cache=$home/.cache/berth ;; esac ;;
  esac
  if [ -n "$cache" ]; then
    dir=$cache/$hash
    if whole "$dir"; then return; fi
    unpack "$cache"
    case $? in 0) return ;; 125) exit 125 ;; esac
  fi
  temporary=${TMPDIR:-/tmp}/berth-$(id -u)
  mkdir -m 700 "$temporary" 2>/dev/null
  [ -e "$temporary" ] ||
    fail "cannot unpack: ${cache:-HOME} is not writable, and $temporary cannot be made. Set XDG_CACHE_HOME."
  [ -O "$temporary" ] && [ ! -L "$temporary" ] ||
    fail "cannot unpack: ${cache:-HOME} is not writable, and $temporary belongs to somebody else. Set XDG_CACHE_HOME."
  dir=$temporary/cache/$hash
  if whole "$dir"; then return; fi
  unpack "$temporary/cache"
  case $? in
    0) return ;;
    125) exit 125 ;;
    *) fail "cannot unpack into ${cache:+$cache or }$temporary: it needs @MEGABYTES@ MB there. Set XDG_CACHE_HOME." ;;
  esac
}

main() {
  case $0 in /*) self=$0 ;; *) self=$PWD/$0 ;; esac
  locate
  flags=
  deno_dir=cli
  entry=@CLI_ENTRY@
  command=
  case ${1-} in
@ROLES@
    serve) entry=main.js ;;
    -H | --host) command=${3-} ;;
    --host=*) command=${2-} ;;
    *) command=${1-} ;;
  esac
  case $command in
@SINGLE@
  esac
  export BERTH_EXECUTABLE="$self" DENO_DIR="$dir/cache/$deno_dir" DENO_NO_UPDATE_CHECK=1 DENO_NO_PACKAGE_JSON=1
  exec "$dir/deno" @DENO_FLAGS@ $flags "$dir/$entry" "$@"
}

main "$@"
