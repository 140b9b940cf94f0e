#!/bin/sh
# Runs a command with TACTFUL_POSTGRES set to a PostgreSQL server of its own, in a folder that goes
# with it. The server's programs come from Debian's package postgresql.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
if [ -z "$bin" ]; then
    echo "postgres: no server found; apt-get install postgresql" >&2
    exit 2
fi
folder=$(mktemp -d)
user=$(id -un)
as=""
if [ "$user" = root ]; then # a server does not run as root
    as="su postgres -s /bin/sh -c"
    chown postgres "$folder"
fi
run() { if [ -n "$as" ]; then $as "$*"; else sh -c "$*"; fi; }
run "$bin/initdb -D $folder/data -U tactful -A trust >/dev/null"
run "$bin/pg_ctl -D $folder/data -o \"-k $folder -c listen_addresses=''\" -l $folder/log -w start >/dev/null"
trap 'run "$bin/pg_ctl -D $folder/data -m fast stop >/dev/null"; rm -rf "$folder"' EXIT
TACTFUL_POSTGRES="postgresql+psycopg://tactful@/postgres?host=$folder" "$@"
