#!/bin/sh
# Makes the virtual environment: setup.sh PYTHON VENV EXTRA
# torch is asked for by pip itself, so that a CPU wheel offered by the machine's own pip
# configuration is taken; a resolver that ignores it would fetch gigabytes of CUDA.
set -eu
python=$1 venv=$2 extra=$3

stop() { echo "embedway: $1" >&2; exit 1; }

command -v "$python" >/dev/null || stop "$python was not found: install Python 3.11 or later"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || stop "$("$python" --version) is too old: Python 3.11 or later is needed (make PYTHON=…)"
"$python" -c 'import ensurepip, venv' 2>/dev/null \
    || stop "this Python cannot make virtual environments: install python3-venv"
command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null \
    || stop "no C compiler was found: install gcc (Triton's batch strategy is built with it)"

# An interrupted run may have left an environment without pip; making it again completes it.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 \
    || "$python" -m venv "$venv" || stop "$venv could not be made"
echo "embedway: installing ($extra); the first time takes a few minutes" >&2
# Progress bars where somebody watches, silence elsewhere; pip resumes from its own cache.
quiet=-qq
[ -t 2 ] && quiet=
"$venv/bin/python" -m pip install $quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[$extra]" \
    || stop "the packages could not be installed: is the package index reachable? (see above)"
