#!/bin/sh
# Makes the secrets that are missing in secrets/, each random; those that are there are kept.
set -eu
cd "$(dirname "$0")"
# Nobody else may enter the folder. The files are open, since containers read them as other users.
mkdir -p secrets
chmod 700 secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
make_secret() {
    [ -s "secrets/$1" ] || printf %s "$2" > "secrets/$1"
    chmod 644 "secrets/$1"
}

make_secret api_key "ew-$(random)"
make_secret postgres_password "$(random)"
make_secret grafana_password "$(random)"
make_secret store_url \
    "postgresql://embedway:$(cat secrets/postgres_password)@postgres:5432/embedway"
echo "embedway: the key that clients present is in $PWD/secrets/api_key" >&2
