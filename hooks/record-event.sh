#!/bin/sh
# Claude Code runs this for every hook event: record-event.sh SPOOL-FOLDER [LOST-FILE…], the event as JSON on stdin.
# Invariant: a file named *.json in the spool is complete, because a rename within one folder is atomic.
# It always exits 0, prints nothing, and is over within a second even where the disk hangs or stdin never ends:
# whatever happens to the record, the agent goes on. A Stop hook that failed would keep the agent awake. What is
# not written by then is written behind its back, within some seconds.
# An event that cannot be kept is one byte more in the first LOST-FILE that takes it.
exec 3<&0 </dev/null >/dev/null 2>&1
umask 077
# Units of 512 bytes, in some shells of 1024: 32 MiB, or 64. More than that is no event.
ulimit -f 65536
spool=$1
shift
# No process is started for a name that never comes again. The pid orders events of one tick of the clock.
read -r id </proc/sys/kernel/random/uuid || id=$(mktemp -u XXXXXXXXXXXXXXXX)
part=$spool/.part.$$.$id
file=$spool/$$.$id.json

lost() {
  for place; do
    printf . >>"$place" && break
  done
}

# The writer ends the timer, and the end of the timer ends this script: `wait` itself knows no limit.
sleep 0.8 &
timer=$!
(
  cat=
  trap 'trap - EXIT; kill $cat; lost "$@"; rm -f "$part"; exit' TERM
  # A shell that may start no process ends at once.
  trap 'lost "$@"' EXIT
  cat <&3 >"$part" &
  cat=$!
  trap - EXIT
  if wait "$cat" && mv -f "$part" "$file"; then
    kill "$timer"
    exit
  fi
  lost "$@"
  rm -f "$part"
  kill "$timer"
) &
writer=$!
wait "$timer"
case $? in
  # Not written yet: a busy machine, a hanging disk, a stdin without an end. It goes on alone for a while.
  0) (sleep 5; [ -e "$part" ] && kill "$writer") 3<&- & ;;
  # There is no `sleep` here, or none that takes fractions: then nothing bounds it but Claude Code.
  1 | 2 | 12?) wait "$writer" ;;
esac
exit 0
