#!/usr/bin/env bash
# Runs main.py as N processes with M fake CPU devices each, on this machine: the code paths of a
# cluster without one. Owns starting, naming and ending the processes; what they compute is main.py's.
#
#   launch/local.sh NxM [flags of main.py]
#   launch/local.sh 2x2 --config=configs/bert_ner.py --workdir=runs/x
#
# Each line of output begins with the number of its process. SIGTERM, SIGINT and SIGHUP are handed on
# to all processes as SIGTERM: they save and end with 75, and a second one ends them without saving.
# When a process fails, the others have GRACE_S to end by themselves (they name the dead one, or are
# saving), then they are killed. The exit code is that of the first process that failed, or 0.
#
#   PYTHON=python   the interpreter
#   GRACE_S=120     seconds, more than --config.watchdog.peer_seconds (60) of main.py
#   XLA_FLAGS       kept; the number of devices is added
#   DRY_RUN=1       print the commands, run nothing

set -euo pipefail

say() { echo "local.sh: $*" >&2; }

die() {
  echo "error: $*" >&2
  exit 2
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"
  exit 0
fi
[[ ${1:-} =~ ^([1-9][0-9]{0,3})x([1-9][0-9]{0,3})$ ]] ||
  die "the first argument is '${1:-}'; expected NxM, N processes with M devices each, such as 2x2"
num_processes=${BASH_REMATCH[1]}
num_devices=${BASH_REMATCH[2]}
shift
python=${PYTHON:-python}
grace_s=${GRACE_S:-120}
main=$(dirname "$0")/../main.py
command -v "$python" >/dev/null ||
  die "PYTHON=$python: no such program; activate the environment or set PYTHON"
[[ $grace_s =~ ^[0-9]+$ ]] || die "GRACE_S=$grace_s: expected whole seconds, such as 120"
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
  die "this is bash $BASH_VERSION; expected 5.1 or newer (on macOS: brew install bash)"

command -v setsid >/dev/null || die "setsid: no such program; it is part of util-linux"

# Below the ports that the system gives out by itself, so that none is taken between look and use.
while port=$((20000 + RANDOM % 10000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done

command_of() { # sets the array `command` for process $1, whose flags are the rest
  command=(
    env JAX_PLATFORMS=cpu
    "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }--xla_force_host_platform_device_count=$num_devices"
    "$python" "$main" "--coordinator=127.0.0.1:$port"
    "--num_processes=$num_processes" "--process_id=$1" "${@:2}"
  )
}

if [[ ${DRY_RUN:-0} == 1 ]]; then
  for ((i = 0; i < num_processes; i++)); do
    command_of "$i" "$@"
    printf '%q ' "${command[@]}"
    echo
  done
  exit 0
fi

prefix() { # ends with its input, not with a signal: the last lines are what one wants to read
  trap '' INT TERM HUP
  local line
  while IFS= read -r line || [[ -n $line ]]; do printf '[%s] %s\n' "$1" "$line"; done
}

declare -A number=() # of the processes that run, by process id
prefixes=()

signal_rest() { # $1: the signal; $2: "-" for all that a process has started too
  for pid in "${!number[@]}"; do kill -s "$1" -- "$2$pid" 2>/dev/null || true; done
}

trap 'signal_rest KILL -' EXIT
trap 'signal_rest TERM ""' TERM INT HUP

# Every process in its own session: Ctrl-C of a terminal then reaches this script alone, which hands
# it on once. Twice would mean "end without saving".
for ((i = 0; i < num_processes; i++)); do
  command_of "$i" "$@"
  exec {out}> >(prefix "$i")
  prefixes+=("$!")
  setsid "${command[@]}" </dev/null >&"$out" 2>&1 &
  number[$!]=$i
  exec {out}>&-
done

next_end() { # sets `ended` to a process that has ended, with its `code`, or to nothing for now
  sleep 0.5 >/dev/null 2>&1 & # to look at the clock
  local tick=$!
  code=0 ended=
  wait -n -p ended "${!number[@]}" "$tick" 2>/dev/null || code=$?
  [[ -z ${number[${ended:-none}]:-} ]] || return 0
  for ended in "${!number[@]}"; do # of two killed at once bash may forget to tell of one
    if ! kill -0 "$ended" 2>/dev/null; then
      code=0
      wait "$ended" || code=$?
      return 0
    fi
  done
  ended=
}

first=0 deadline=
while ((${#number[@]})); do
  next_end
  if [[ -n $ended ]]; then
    i=${number[$ended]}
    unset "number[$ended]"
    kill -KILL -- "-$ended" 2>/dev/null || true # what it has started and left behind
    if ((code && !first)); then
      first=$code deadline=$((SECONDS + grace_s))
      say "process $i ended with $code; the others have $grace_s s"
    fi
  elif [[ -n $deadline ]] && ((SECONDS >= deadline)); then
    say "$grace_s s are over: killing those that still run"
    signal_rest KILL -
    deadline=
  fi
done
for pid in "${prefixes[@]}"; do wait "$pid" || true; done
exit "$first"
