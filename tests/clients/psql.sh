#!/bin/sh
# psql as people use it; see README.md.
set -eu
PGPASSWORD=$(cat)
export PGPASSWORD
target="host=$1 port=$2 user=$3 dbname=$4 connect_timeout=30"
if [ $# -gt 4 ]; then
    target="$target sslmode=verify-full sslrootcert=$5"
else
    target="$target sslmode=disable"
fi
ask() { psql --no-psqlrc --no-align --tuples-only --quiet --set ON_ERROR_STOP=1 "$target" "$@"; }
# By its own process id, to be interrupted.
begin() { exec psql --no-psqlrc "$target" "$@"; }
must() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'" >&2; exit 1; }; }

must "$(ask -c 'SELECT current_user')" "$3"
must "$(ask -c "PREPARE twice AS SELECT \$1::int * 2; EXECUTE twice(21)")" 42
must "$(ask -c "SELECT repeat('x', 100) FROM generate_series(1, 50000)" | wc -c | tr -d ' ')" 5050000
must "$(ask -c 'COPY (SELECT generate_series(1, 1000)) TO STDOUT' | wc -l | tr -d ' ')" 1000
must "$(echo "BEGIN; SET LOCAL clients.kept = 'no'; ROLLBACK; SELECT coalesce(current_setting('clients.kept', true), '')" | ask)" ""

complaint=$(mktemp)
begin -c "SELECT pg_sleep(60) /* psql.sh $$ */" 2>"$complaint" &
sleeper=$!
# Before it asks, psql in the background lets an interrupt pass.
begun="SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%psql.sh $$ *%' AND pid <> pg_backend_pid()"
until [ "$(ask -c "$begun")" = 1 ]; do sleep 0.1; done
kill -INT "$sleeper"
wait "$sleeper" && { echo "the query was not cancelled" >&2; exit 1; }
grep -q 'canceling statement due to user request' "$complaint" || { cat "$complaint" >&2; exit 1; }
rm -f "$complaint"
echo ok
