#!/usr/bin/env bash
# Makes .venv with the pinned packages of constraints.txt and mmcnn itself, editable. Called by make setup.
#   usage: tools/setup_venv.sh PYTHON
set -uo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "error: $1" >&2
  exit 1
}

python=${1:-}
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  found=$("${python:-python3}" --version 2>&1) || found=none
  fail "mmcnn needs Python 3.11 or 3.12, found: $found. Install one, or say which: make setup PYTHON=/path/to/python3.11"
fi
if [ ! -x .venv/bin/python ]; then
  echo "making .venv with $("$python" --version) ..."
  "$python" -m venv .venv >.setup.log 2>&1 || {
    rm -rf .venv
    fail "$python cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv); details in .setup.log"
  }
fi

pip=(.venv/bin/python -m pip --disable-pip-version-check --retries 1)
install() { # a title, then pip's arguments
  printf 'installing %s ' "$1"
  shift
  "${pip[@]}" install "$@" >>.setup.log 2>&1 &
  while kill -0 $! 2>/dev/null; do
    printf .
    sleep 2
  done
  echo
  wait $! || fail "the packages could not be installed: is there a network? The whole log is in .setup.log"
}

torch=$(grep '^torch==' constraints.txt)
if ! .venv/bin/python -c "import torch; assert torch.__version__.split('+')[0] == '${torch#torch==}'" 2>/dev/null; then
  # PyPI's build brings gigabytes of CUDA libraries, which a machine without an NVIDIA GPU has no use for.
  index=()
  command -v nvidia-smi >/dev/null || index=(--extra-index-url https://download.pytorch.org/whl/cpu)
  install "PyTorch (200 MB, with CUDA 3 GB)" --constraint constraints.txt "${index[@]}" torch
fi
# --no-deps: MMEngine asks for opencv-python, which needs libGL; the list holds all that is needed.
install "the other packages" --no-deps -r constraints.txt
install "mmcnn" --no-deps --no-build-isolation --editable .
echo "ready: .venv/bin/python"
