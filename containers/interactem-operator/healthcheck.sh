#!/bin/sh
# Healthy while the process writes its state every few seconds: one that hangs does not get to it.
set -eu
file=$STEMLINE_HEALTH_DIR/stemline-$INTERACTEM_AGENT_ID
age=$(($(date +%s) - $(stat -c %Y "$file")))
echo "$(cat "$file"), written $age s ago"
[ "$age" -le 15 ]
