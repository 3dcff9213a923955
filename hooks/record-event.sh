#!/bin/sh
# Claude Code runs this for every hook event: record-event.sh SPOOL-FOLDER, the event as JSON on stdin.
# Invariant: a file named *.json in the spool is complete, because a rename within one folder is atomic.
# It always exits 0 and prints nothing: whatever happens to the record, the agent goes on. A Stop hook
# that failed would keep the agent awake.
exec 2>/dev/null
umask 077
part=$(mktemp "$1/.part.XXXXXXXXXX") || exit 0
if cat >"$part"; then
  mv "$part" "$1/${part##*/.part.}.json" || rm -f "$part"
else
  rm -f "$part"
fi
exit 0
