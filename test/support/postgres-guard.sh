#!/bin/sh
# Runs one PostgreSQL for a test, and ends and removes it whatever becomes of the test.
#   postgres-guard.sh POSTGRES INITDB FOLDER PORT [SETTING...]
# Commands come line by line on standard input; its end, also by the death of the test, ends the server.
postgres=$1 initdb=$2 folder=$3 port=$4
shift 4
trap '' INT TERM HUP
start() {
  "$postgres" -D "$folder/data" -p "$port" -k '' -h 127.0.0.1 "$@" >>"$folder/log" 2>&1 </dev/null &
  pid=$!
}
"$initdb" -D "$folder/data" -U supabase_admin --pwfile="$folder/password" --auth=scram-sha-256 --no-sync \
  -E UTF8 --locale-provider=icu --icu-locale=en-US --locale=C.UTF-8 >"$folder/log" 2>&1 || {
  cat "$folder/log" >&2
  rm -rf "$folder"
  exit 1
}
start "$@"
while read -r command; do
  case $command in
  # As a crash of the machine's process would: no goodbye to clients, recovery from the log afterwards.
  crash) kill -QUIT "$pid"; wait "$pid"; start "$@" ;;
  restart) kill -INT "$pid"; wait "$pid"; start "$@" ;;
  stop) kill -INT "$pid"; wait "$pid" ;;
  start) start "$@" ;;
  esac
  echo "$command"
done
kill -QUIT "$pid" 2>/dev/null
wait "$pid"
rm -rf "$folder"
