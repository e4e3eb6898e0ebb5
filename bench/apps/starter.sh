#!/bin/sh
# Gives a program that speaks systemd's protocol the socket of Server::Starter:
#   start_server --port 127.0.0.1:8080 … -- bench/apps/starter.sh PROGRAM…
fd=${SERVER_STARTER_PORT##*=}
[ "$fd" = 3 ] || eval "exec 3<&$fd"
export LISTEN_FDS=1 LISTEN_PID=$$ HANDOVER_GENERATION="$SERVER_STARTER_GENERATION"
exec "$@"
