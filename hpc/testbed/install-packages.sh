#!/bin/sh
# Install Debian's packages without letting any of their services start, now
# or at the next boot. Run as root: install-packages.sh PACKAGE...
# Services of packages that were installed before are not changed.
set -eu

policy=/usr/sbin/policy-rc.d
saved=$policy.before-testbed
mark='weather_hpc testbed: no service starts while packages are installed'

restore() {
    if [ -f "$policy" ] && grep -q "$mark" "$policy"; then
        rm -f "$policy"
        if [ -e "$saved" ]; then mv "$saved" "$policy"; fi
    fi
}

restore # an earlier run may have been killed before it could
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'; }

new=''
for name in munge slurmctld slurmd slurmdbd; do
    is_installed "$name" || new="$new $name"
done

if [ -e "$policy" ]; then mv "$policy" "$saved"; fi
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
get() { apt-get -q -o DPkg::Lock::Timeout=180 "$@"; }
get install -y --no-install-recommends "$@" ||
    { get update && get install -y --no-install-recommends "$@"; }

for name in $new; do
    if is_installed "$name" && [ -e "/etc/init.d/$name" ]; then
        update-rc.d "$name" disable
    fi
done
