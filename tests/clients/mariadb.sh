#!/bin/sh
# The mariadb client as people use it; see README.md.
set -eu
MYSQL_PWD=$(cat)
export MYSQL_PWD
database=$4
set -- --no-defaults --protocol=tcp --host="$1" --port="$2" --user="$3" --batch --skip-column-names --connect-timeout=30 \
    ${5:+--ssl-ca="$5" --ssl-verify-server-cert}
ask() { mariadb "$@" "$database"; }
must() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'" >&2; exit 1; }; }

must "$(ask "$@" -e 'SELECT DATABASE()')" "$database"
must "$(ask "$@" -e "PREPARE twice FROM 'SELECT ? * 2'; SET @n = 21; EXECUTE twice USING @n")" 42
must "$(ask "$@" -e "SELECT REPEAT('x', 100) FROM seq_1_to_50000" | wc -c | tr -d ' ')" 5050000
must "$(ask "$@" --compress -e "SELECT REPEAT('x', 100) FROM seq_1_to_50000" | wc -c | tr -d ' ')" 5050000
must "$(ask "$@" -e 'START TRANSACTION READ ONLY; SELECT 1; ROLLBACK; SELECT @@in_transaction')" "1
0"
told=$(mktemp)
ask "$@" --unbuffered -e 'SELECT CONNECTION_ID(); SELECT COUNT(*) FROM seq_1_to_10000000000 WHERE seq % 7 = 3' >"$told" 2>&1 &
sleeper=$!
until [ -s "$told" ]; do sleep 0.1; done
ask "$@" -e "KILL QUERY $(head -n 1 "$told")"
wait "$sleeper" && { echo "the query was not killed" >&2; exit 1; }
grep -q 'ERROR 1317' "$told" || { cat "$told" >&2; exit 1; }
rm -f "$told"
echo ok
