#!/bin/sh
# On an empty volume: make the cluster, and run what lies in /docker-entrypoint-initdb.d against a server on its socket alone.
set -eu
POSTGRES_USER=${POSTGRES_USER:-postgres}
export POSTGRES_USER
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256 --encoding UTF8 >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --options "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do [ ! -f "$script" ] || sh "$script"; done
    pg_ctl --wait --mode fast stop
fi
exec "$@" -c listen_addresses='*'
