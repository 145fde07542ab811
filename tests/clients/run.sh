#!/bin/sh
# Starts one of the programs beside this file: run.sh NAME HOST PORT USER DATABASE [CA-FILE] < password
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
clients=${DAYPASS_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/daypass/clients}
name=$1
shift
if [ -f "$here/$name.py" ]; then
    exec "$clients/venv/bin/python" -I "$here/$name.py" "$@"
elif [ -f "$here/$name.mjs" ]; then
    NODE_CLIENTS=$clients/node exec node "$here/$name.mjs" "$@"
elif [ -f "$here/$name.java" ]; then
    jars=/usr/share/java
    exec java -cp "$jars/postgresql.jar:$jars/mariadb-java-client.jar" "$here/$name.java" "$@"
elif [ -f "$here/$name.sh" ]; then
    exec sh "$here/$name.sh" "$@"
fi
echo "there is no program $name in $here" >&2
exit 2
