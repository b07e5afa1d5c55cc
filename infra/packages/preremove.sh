#!/bin/sh
# Before a removal: dpkg says "remove", rpm 0. In an upgrade everything goes on running.
set -e

case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now fustor-agent.service fustor-ingest.service fustor-compact.service fustor-query.service
    fi
    ;;
esac
