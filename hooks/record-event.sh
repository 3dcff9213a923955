#!/bin/sh
# Claude Code runs this for hook events: record-event.sh [--early] SPOOL-FOLDER [LOST-FILE…], the event as JSON on
# stdin. Invariant: a file named *.json in the spool is complete, because a rename within one folder is atomic; and
# its .part file was there before the client went on, so that who reads can tell the order of events. Where the disk
# hung and the client went on without it, the time in the name tells.
# It always exits 0 and is over within a second even where the disk hangs or stdin never ends: whatever happens to
# the record, the agent goes on. A Stop hook that failed would keep the agent awake. What is not written by then is
# written behind its back, within some seconds.
# --early: prints {"async":true} as soon as the .part file is there; then the client goes on, and sends the rest of
# stdin all the same. Ending early instead would cost what the client has not sent by then (all behind 214 KiB).
# Measured in the client, two hooks of a tool call: 11 ms so; 9 where the hook is but `true`; 20 when it was waited for
# to its end and started by a shell of the client's own; 97 for node that writes SQLite.
# An event that cannot be kept is one byte more in the first LOST-FILE that takes it.
trap 'exit 0' EXIT
exec 3<&0 4>&1 </dev/null >/dev/null 2>&1
umask 077
# Units of 512 bytes, in some shells of 1024: 32 MiB, or 64. More than that is no event.
ulimit -f 65536
# A program that looks for no locale starts in 0.86 ms instead of 1.07.
export LC_ALL=C
early=
if [ "$1" = --early ]; then
  early=yes
  shift
fi
spool=$1
shift
# No process is started for a name that never comes again. It begins with when this began, in seconds since the
# machine was started, by a clock nobody sets; and the pid orders events of one tick of it.
read -r began rest </proc/uptime
read -r id </proc/sys/kernel/random/uuid || id=$(mktemp -u XXXXXXXXXXXXXXXX)
name=${began:+$began-}$$.$id
part=$spool/.part.$name
file=$spool/$name.json

lost() {
  for place; do
    printf . >>"$place" && break
  done
}

# A shell that may start no process ends at once.
trap 'lost "$@"; exit 0' EXIT
(
  # A client that ends hangs up or terminates its hooks and gives them two seconds; one that has ended reads nothing.
  trap '' HUP INT TERM PIPE
  # A part that cannot be removed is counted by who finds it.
  trap 'rm -f "$part" && lost "$@"' EXIT
  trap 'kill -s KILL "$cat"; exit' USR1
  printf '' >"$part" || exit
  [ -z "$early" ] || echo '{"async":true}' >&4
  exec 4>&-
  cat <&3 >"$part" &
  cat=$!
  # From here on only the disk decides: what gets its name late is not lost.
  wait "$cat" && trap '' USR1 && mv -f "$part" "$file" && trap - EXIT
) &
writer=$!
exec 3<&- 4>&-

# `wait` itself knows no limit.
trap : ALRM
trap 'wait "$writer"; exit 0' EXIT
(
  sleep 0.8 &
  nap=$!
  trap 'kill "$nap"; exit' TERM
  # Where there is no `sleep`, or none that takes fractions, nothing bounds it but Claude Code.
  wait "$nap" && kill -s ALRM $$
) &
timer=$!
wait "$writer"
trap 'exit 0' EXIT
# Not written yet: a busy machine, a hanging disk, a stdin without an end. It goes on alone for a while.
if kill -0 "$writer"; then
  (sleep 5; [ -e "$part" ] && kill -s USR1 "$writer") &
fi
kill "$timer"
exit 0
