#!/usr/bin/env bash
# One training run on a TPU VM slice or pod, asked for as a queued resource.
# Every host runs the same command; --distributed=tpu finds the others.
#
#   export PROJECT=my-project ZONE=us-east5-b
#   export MOUNT='sudo mkdir -p /mnt/runs &&
#     sudo mount -t nfs 10.0.0.2:/runs /mnt/runs'
#   launch/clusters/tpu_queued.sh create    # ask for it, and wait
#   launch/clusters/tpu_queued.sh install   # code and packages, on all hosts
#   launch/clusters/tpu_queued.sh train --config=configs/glue.py:mnli \
#     --config.mesh.fsdp=16 --workdir=/mnt/runs/mnli
#   launch/clusters/tpu_queued.sh delete
#
# Run it from the repository's root; what is committed is what is sent. MOUNT is
# a command for every host that mounts storage which all of them see (Filestore,
# or a bucket through gcsfuse): workdir and data lie there. After a preemption:
# delete, create, install, and train again; the run goes on from its last
# checkpoint.
#
# Other settings: NAME, ACCELERATOR (v5litepod-16), RUNTIME
# (v2-alpha-tpuv5-lite), SPOT (1 for spot capacity), WAIT (seconds between looks
# at the queue), GLUE_JAX_DATA (the data folder on the hosts).
set -euo pipefail

NAME=${NAME:-glue-jax}
ACCELERATOR=${ACCELERATOR:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
WAIT=${WAIT:-30}
PLACE=(--project="${PROJECT:?set PROJECT}" --zone="${ZONE:?set ZONE}")

on_all_hosts() { # a shell command, given as one string
  gcloud compute tpus tpu-vm ssh "$NAME" "${PLACE[@]}" --worker=all \
    --command="$1"
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
      FAILED | SUSPENDED) exit 1 ;;
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
  on_all_hosts "set -e; ${MOUNT:-true}"'
    mkdir -p glue_jax && tar -xzf glue_jax.tar.gz -C glue_jax && cd glue_jax
    if ! command -v python3.11; then
      sudo apt-get -qq update && sudo apt-get -qq install -y python3.11-venv
    fi
    python3.11 -m venv .venv
    .venv/bin/pip install --quiet -r requirements.txt -e ".[tpu]"'
}

train() {
  # %q keeps each argument whole on its way through the remote shell.
  local data=${GLUE_JAX_DATA:+GLUE_JAX_DATA=$(printf %q "$GLUE_JAX_DATA")}
  on_all_hosts "cd glue_jax && $data .venv/bin/python -m launch.train \
    --distributed=tpu $(printf '%q ' "$@")"
}

delete() {
  gcloud compute tpus queued-resources delete "$NAME" "${PLACE[@]}" \
    --force --quiet
}

case ${1:-} in
  create | install | train | delete) "$@" ;;
  *)
    echo "usage: $0 create|install|train <launch.train flags>|delete" >&2
    exit 2
    ;;
esac
