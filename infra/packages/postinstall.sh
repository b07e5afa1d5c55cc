#!/bin/sh
# After an installation or an upgrade: dpkg says "configure" and the version before, rpm 1 or 2.
set -e

# The agent's user. The servers have dynamic ones.
if ! getent passwd fustor >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/fustor --no-create-home --shell /usr/sbin/nologin --comment "Fustor agent" fustor
fi

# Nothing is started that nobody configured: systemctl enable --now fustor-agent. What runs goes on with the new program.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    case "$1 ${2:-}" in
    "configure "?* | "2 ")
        systemctl try-restart fustor-agent.service fustor-ingest.service fustor-compact.service fustor-query.service
        ;;
    esac
fi
