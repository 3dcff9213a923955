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
# A signal that comes before the server has set its handlers is lost, so it is sent until the server is gone.
end() {
  while kill -s "$1" "$pid" 2>/dev/null && sleep 0.1; do :; done &
  again=$!
  wait "$pid"
  kill -s KILL "$again" 2>/dev/null
  wait "$again" 2>/dev/null
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
  crash) end QUIT; start "$@" ;;
  restart) end INT; start "$@" ;;
  stop) end INT ;;
  start) start "$@" ;;
  esac
  echo "$command"
done
end QUIT
rm -rf "$folder"
