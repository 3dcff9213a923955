#!/bin/sh
# keep-daemon.sh HOME PROGRAM ARG...: runs the daemon of that home, and again whenever it died.
# This is what `ccm start` leaves where no systemd and no launchd does it: a shell of about 1 MB. It ends with the
# daemon when that ended on purpose (0; 130 and 143: by a second signal or out of time; 75: another one has the
# home), or when the very first start failed. It passes TERM, INT and HUP on. Killed by -9 it leaves the daemon
# at work; nobody restarts that one then, but the next `ccm` command does.
home=$1
shift
CCM_KEEPER_PID=$$
export CCM_KEEPER_PID
child= nap= ending= first=1 delay=1

pass() {
  [ -z "$child" ] || kill -s "$1" "$child" 2>/dev/null
}
trap 'ending=1; pass TERM; [ -z "$nap" ] || kill "$nap" 2>/dev/null' TERM
trap 'ending=1; pass INT; [ -z "$nap" ] || kill "$nap" 2>/dev/null' INT
trap 'pass HUP' HUP

# The daemon writes its pid there when it serves, and removes the file when it ends on purpose.
was_up() {
  case $(cat "$home/daemon.json" 2>/dev/null) in
    *"\"pid\":$child,"*) return 0 ;;
    *) return 1 ;;
  esac
}

while :; do
  began=$(date +%s)
  "$@" &
  child=$!
  # A trapped signal ends `wait` too; only a child that is gone has a status.
  while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  [ -z "$ending" ] || exit "$status"
  case $status in
    0 | 75 | 130 | 143) exit "$status" ;;
  esac
  if was_up; then
    [ $(($(date +%s) - began)) -lt 60 ] || delay=1
  elif [ -n "$first" ]; then
    exit "$status"
  fi
  first= child=
  printf '{"level":"error","time":"%s","code":"DAEMON_DIED","msg":"the daemon died (status %s); it is started again in %s s"}\n' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$status" "$delay" >&2
  sleep "$delay" &
  nap=$!
  wait "$nap"
  nap=
  [ -z "$ending" ] || exit 0
  delay=$((delay * 2))
  [ "$delay" -le 60 ] || delay=60
done
