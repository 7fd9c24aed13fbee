#!/bin/sh
# Builds the images: build.sh PYTHON [IMAGE…], of router, operator and triton; all, if none is named.
#
#   ENGINE          docker, podman or buildah; the first of them on PATH
#   TAG             tag of the images; the version of the wheel
#   PYTHON_IMAGE, TRITON_IMAGE, COMPILER_IMAGE, TORCH_INDEX_URL    as the Dockerfiles' arguments
#   PIP_CONF        a pip.conf for the builder, which no layer keeps
#   BUILD_OPTIONS   more options of the engine's build
#
# The wheel is made once, with the time of the commit: the same commit gives the same wheel.
set -eu
python=$1
shift
cd "$(dirname "$0")/../.."

stop() { echo "embedway: $1" >&2; exit 1; }

engine=${ENGINE:-}
for one in docker podman buildah; do
    [ -n "$engine" ] || ! command -v "$one" >/dev/null || engine=$one
done
[ -n "$engine" ] || stop "no docker, podman or buildah was found: images are built with one of them"

# OCI's own format knows no health checks.
case $engine in *podman | *buildah) format="--format docker" ;; esac

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
export SOURCE_DATE_EPOCH
rm -rf dist
PIP_CONSTRAINT=$PWD/constraints.txt "$python" -m pip wheel --quiet --no-deps --wheel-dir dist . \
    || stop "the wheel could not be built (see above)"
version=$(basename dist/embedway-*.whl | cut -d- -f2)

set -- ${@:-router operator triton}
for image in "$@"; do
    tag=embedway/$image:${TAG:-$version}
    [ -z "${PIP_CONF:-}" ] || pip_secret="--secret id=pip,src=$PIP_CONF"
    set --
    for argument in PYTHON_IMAGE TRITON_IMAGE COMPILER_IMAGE TORCH_INDEX_URL; do
        eval "value=\${$argument:-}"
        [ -z "$value" ] || ! grep -q "^ARG $argument=" "deploy/images/$image/Dockerfile" \
            || set -- "$@" --build-arg "$argument=$value"
    done
    # shellcheck disable=SC2086
    "$engine" build --file "deploy/images/$image/Dockerfile" --tag "$tag" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" "$@" \
        ${format:-} ${pip_secret:-} ${BUILD_OPTIONS:-} . \
        || stop "the image $image could not be built (see above)"
    echo "embedway: built $tag" >&2
done
