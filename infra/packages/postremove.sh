#!/bin/sh
# After a removal: dpkg says "remove", and "purge" if the configuration goes as well; rpm says 0.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi

# The agent's state only saves work. Keys and other files of an administrator stay, and so does the user, whose files may be elsewhere.
if [ "$1" = purge ]; then
    rm -rf /var/lib/fustor
    [ ! -d /etc/fustor ] || rmdir --ignore-fail-on-non-empty /etc/fustor
fi
