#!/bin/sh
# Starts one of the programs beside this file: run.sh NAME HOST PORT USER DATABASE [CA-FILE] < password
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
clients=${DAYPASS_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/daypass/clients}
name=$1
shift
missing() {
    echo "$name needs $1, which is not there: run \`cargo xtask setup clients\`" >&2
    exit 2
}
if [ -f "$here/$name.py" ]; then
    [ -x "$clients/venv/bin/python" ] || missing "$clients/venv"
    exec "$clients/venv/bin/python" -I "$here/$name.py" "$@"
elif [ -f "$here/$name.mjs" ]; then
    [ -d "$clients/node/node_modules" ] || missing "$clients/node"
    NODE_CLIENTS=$clients/node exec node "$here/$name.mjs" "$@"
elif [ -f "$here/$name.java" ]; then
    jars=/usr/share/java
    command -v java >/dev/null || missing java
    [ -f "$jars/postgresql.jar" ] && [ -f "$jars/mariadb-java-client.jar" ] || missing "the JDBC drivers of $jars"
    exec java -cp "$jars/postgresql.jar:$jars/mariadb-java-client.jar" "$here/$name.java" "$@"
elif [ -f "$here/$name.sh" ]; then
    exec sh "$here/$name.sh" "$@"
fi
echo "there is no program $name in $here" >&2
exit 2
