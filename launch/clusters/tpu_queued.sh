#!/usr/bin/env bash
# One training run on a TPU VM slice or pod, asked for as a queued resource.
# Every host runs the same command; --distributed=tpu finds the others.
#
#   export PROJECT=my-project ZONE=us-east5-b
#   export MOUNT_POINT=/mnt/runs
#   export MOUNT='sudo mount -t nfs 10.0.0.2:/runs /mnt/runs'
#   export GLUE_JAX_DATA=/mnt/runs/data GLUE_JAX_WEIGHTS=/mnt/runs/minilm
#   ssh-add ~/.ssh/google_compute_engine    # gcloud asks for it with many hosts
#   launch/clusters/tpu_queued.sh create    # ask for it, and wait
#   launch/clusters/tpu_queued.sh install   # code and packages, on all hosts
#   launch/clusters/tpu_queued.sh train --config=configs/glue.py:mnli \
#     --config.mesh.fsdp=16 --workdir=/mnt/runs/mnli
#   launch/clusters/tpu_queued.sh log       # follow the first host's messages
#   launch/clusters/tpu_queued.sh stop      # save and stop; train goes on
#   launch/clusters/tpu_queued.sh delete
#
# Run it from the repository's root; what is committed is what is sent. The run
# is nobody's child on its hosts: it goes on when this computer is switched off,
# and Ctrl-C in `log` ends the log only. MOUNT is the command that mounts, on
# every host, storage which all of them see (Filestore, or a bucket through
# gcsfuse with the options of launch/clusters/jobset.yaml); it runs where
# nothing is mounted at MOUNT_POINT yet. Workdir, data and weights lie there.
# Every exported GLUE_JAX_* variable is handed on. After a preemption: delete,
# create, install, and train again; the run goes on from its last checkpoint.
#
# Other settings: NAME, ACCELERATOR (v5litepod-16), RUNTIME
# (v2-alpha-tpuv5-lite), SPOT (1 for spot capacity), WAIT (seconds between looks
# at the queue). What Google's documents say of each line is in
# launch/clusters/README.md.
set -euo pipefail

NAME=${NAME:-glue-jax}
ACCELERATOR=${ACCELERATOR:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
WAIT=${WAIT:-30}
PLACE=(--project="${PROJECT:?set PROJECT}" --zone="${ZONE:?set ZONE}")

# On a host: mount what isn't mounted yet.
MOUNTED=true
if [[ -n ${MOUNT:-} ]]; then
  printf -v AT %q "${MOUNT_POINT:?MOUNT also needs MOUNT_POINT}"
  MOUNTED="mountpoint -q $AT || { sudo mkdir -p $AT && $MOUNT; }"
fi
# On a host: is the run that its file names still that run?
RUNNING='grep -qs launch.train "/proc/$(cat glue_jax.pid 2> /dev/null)/cmdline"'

on_hosts() { # which (all, or a number), and a shell command as one string
  gcloud compute tpus tpu-vm ssh "$NAME" "${PLACE[@]}" --worker="$1" \
    --command="$2"
}

create() {
  local spot=()
  if [[ ${SPOT:-0} == 1 ]]; then spot=(--spot); fi
  gcloud compute tpus queued-resources create "$NAME" "${PLACE[@]}" \
    --node-id="$NAME" --accelerator-type="$ACCELERATOR" \
    --runtime-version="$RUNTIME" ${spot[@]+"${spot[@]}"}
  local state=
  while [[ $state != ACTIVE ]]; do
    state=$(gcloud compute tpus queued-resources describe "$NAME" \
      "${PLACE[@]}" --format='value(state.state)')
    echo "$(date +%T) $NAME: $state"
    case $state in
      FAILED | SUSPENDING | SUSPENDED) exit 1 ;;
      ACTIVE) ;;
      *) sleep "$WAIT" ;;
    esac
  done
}

install() {
  local archive
  archive=$(mktemp -d)/glue_jax.tar.gz
  git archive --format=tar.gz --output="$archive" HEAD
  gcloud compute tpus tpu-vm scp "$archive" "$NAME:" "${PLACE[@]}" --worker=all
  # The image's Python may be older than ours; uv brings one, without waiting
  # for the updates that hold apt's lock after the first start.
  on_hosts all "set -e; $MOUNTED"'
    rm -rf glue_jax && mkdir glue_jax && tar -xzf glue_jax.tar.gz -C glue_jax
    cd glue_jax
    curl -LsSf https://astral.sh/uv/install.sh | sh
    ~/.local/bin/uv venv --quiet --clear --python 3.11 ~/glue_jax_venv
    ~/.local/bin/uv pip install --quiet --python ~/glue_jax_venv/bin/python \
      -r requirements.txt -e ".[tpu]"'
}

train() {
  # %q keeps each argument whole on its way through the remote shell.
  local name variables=
  for name in "${!GLUE_JAX_@}"; do
    variables+=" $name=$(printf %q "${!name}")"
  done
  on_hosts all "set -e; $MOUNTED
    if $RUNNING; then
      echo \"\$(hostname): a run is going on; stop it first\" >&2; exit 1
    fi
    cd glue_jax
    trap '' HUP  # the run inherits that, from its first moment
    setsid env$variables ~/glue_jax_venv/bin/python -m launch.train \
      --distributed=tpu $(printf '%q ' "$@") > ~/glue_jax.log 2>&1 < /dev/null &
    echo \$! > ~/glue_jax.pid"
}

log() {
  on_hosts 0 'tail -n +1 -F --pid="$(cat glue_jax.pid)" glue_jax.log'
}

stop() { # on all hosts at once: they agree on the step to save
  on_hosts all "$RUNNING"' && kill -TERM "$(cat glue_jax.pid)" &&
    tail -f --pid="$(cat glue_jax.pid)" /dev/null'
}

delete() {
  gcloud compute tpus queued-resources delete "$NAME" "${PLACE[@]}" \
    --force --quiet
}

case ${1:-} in
  create | install | train | log | stop | delete) "$@" ;;
  *)
    echo "usage: $0 create|install|train FLAGS|log|stop|delete" >&2
    exit 2
    ;;
esac
