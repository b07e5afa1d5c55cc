#!/bin/sh
# Writes .env beside this file, with new keys and passwords, unless it is there. `make compose-env` calls it.
set -eu
file="${1:-$(dirname "$0")/.env}"
if [ -e "$file" ]; then
    echo "$file is there already; it stays as it is" >&2
    exit 0
fi
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
# Written aside first: whoever finds the file finds all of it.
cat >"$file.partial" <<END
# The store that Compose runs: minio, or versitygw.
COMPOSE_PROFILES=minio
STORE_ACCESS_KEY=fustor
STORE_SECRET_KEY=$(random)
FUSTOR_ADMIN_KEY=$(random)
FUSTOR_AGENT_KEY=$(random)
FUSTOR_READER_KEY=$(random)
# What the demo agent watches, and where ingest and query are reached.
FUSTOR_DEMO_DIR=./demo
FUSTOR_BIND=127.0.0.1
END
mv "$file.partial" "$file"
echo "$file has new keys; keep it to yourself" >&2
