#!/bin/bash
# Installs the dance sampler on the box that it is run on, or brings it up to date: see --help.
#
#   /opt/dance-sampler/releases/NAME   the program, a folder each version; `current` points to the one that runs,
#                                      `previous` to the one before
#   /opt/dance-sampler/venvs/KEY       Python's packages, shared by versions that require the same
#   /etc/dance-sampler/config.toml     what differs from the defaults: kept
#   /var/lib/dance-sampler             takes and models: kept
#
# A version is complete, and has been tried, before `current` points to it: what fails leaves the old one running.

set -Eeuo pipefail
shopt -s nullglob

usage() {
    cat <<'EOF'
Usage: sudo deploy/install.sh [OPTION]...
Installs the dance sampler on this box, or brings it up to date; takes, models and configuration are kept.

  --card PCM         the sound card (hw:CARD=Device); otherwise the one USB card, or the one that you choose
  --camera SOURCE    the camera (picamera2, v4l2:/dev/video0, gst:PIPELINE); otherwise the one that there is
  --no-tone          do not play a tone at the end
  --still FILE       save a picture as PNG, to aim the camera by
  --wheels DIR       install without a network, from a folder that --save-wheels made on a box of the same kind
  --save-wheels DIR  save Python's packages for other boxes
  --python PROGRAM   the Python to use, 3.10 to 3.13; otherwise python3
  --no-start         do not start the service, only install it
  --uninstall        remove the program; takes, models and configuration stay
  --purge            with --uninstall: remove them, too
  --root DIR         install under DIR instead of /, and start nothing: to try it out
  --help             show this
EOF
}

readonly NAME=dance-sampler
readonly FILES=(device deploy systemd dance_sampler.dist-info requirements-device.txt README.md LICENSE)
readonly DROP_INS=etc/systemd/system/$NAME.service.d
readonly MIB_NEEDED=1200
readonly GSTREAMER=(libgstreamer1.0-0 libgstreamer-plugins-base1.0-0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good)
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly SOURCE

root='' python=python3 wheels='' save_wheels=''
setup_options=()
wants_start=yes wants_removal='' wants_purge=''
has_changed='' fallback='' is_set_up=''

say() { printf '%s\n' "$*"; }

die() {
    trap - ERR
    printf 'install.sh: %s\n' "$*" >&2
    [ -z "$fallback" ] || go_back
    exit 1
}

misused() {
    printf 'install.sh: %s; see --help\n' "$*" >&2
    exit 2
}

main() {
    parse "$@"
    trap 'die "stopped at: $BASH_COMMAND; mend that, then run this again"' ERR
    [ "$(id -u)" = 0 ] || die "this changes the system: run it with sudo"
    if [ -n "$wants_removal" ]; then
        uninstall
    else
        install_box
    fi
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --card | --camera | --wheels | --save-wheels | --still | --python | --root)
                [ $# -ge 2 ] && [ -n "$2" ] || misused "$1 needs a value"
                parse_value "$1" "$2"
                shift
                ;;
            --no-tone) setup_options+=(--no-tone) ;;
            --no-start) wants_start='' ;;
            --uninstall) wants_removal=yes ;;
            --purge) wants_purge=yes ;;
            --help)
                usage
                exit 0
                ;;
            *) misused "there is no option $1" ;;
        esac
        shift
    done
    if [ -n "$wants_purge" ] && [ -z "$wants_removal" ]; then misused "--purge goes with --uninstall"; fi
}

parse_value() {
    case $1 in
        --card | --camera) setup_options+=("$1" "$2") ;;
        --wheels)
            [ -d "$2" ] || misused "there is no folder $2"
            wheels=$(realpath "$2")
            ;;
        --save-wheels) save_wheels=$(realpath -m "$2") ;;
        --still) setup_options+=(--still "$(realpath -m "$2")") ;;
        --python) python=$2 ;;
        --root) root=$(realpath -m "$2") wants_start='' ;;
    esac
}

install_box() {
    local release old
    hold_lock
    install_packages
    check_python
    check_room
    release=releases/$(release_name)
    old=$(readlink "$root/opt/$NAME/current" || true)
    make_environment
    copy_release "$release"
    try_release "$release"
    if [ "$release" != "$old" ]; then has_changed=yes fallback=$old; fi
    is_current_enough || stop_service
    activate "$release"
    make_user_and_folders
    set_up_devices "$old"
    allow_network_if_needed
    is_current_enough || start_service
    fallback=''
    if [ -n "$old" ] && [ "$old" != "$release" ]; then link "$old" "$root/opt/$NAME/previous"; fi
    tidy
    [ -z "$save_wheels" ] || save_the_wheels
    report
}

hold_lock() {
    mkdir -p "$root/run/lock"
    exec 9>"$root/run/lock/$NAME-install"
    flock --nonblock 9 || die "it is being installed already: wait until that is done"
}

# --- Debian's packages and Python ---

on_pi() { [[ $(uname -r) == *rpi* ]]; }

install_packages() {
    local names=(openssh-client python3 python3-venv libasound2) missing=() name have
    ! builds_packages || names+=(gcc pkg-config python3-dev libasound2-dev libsystemd-dev)
    ! on_pi || names+=(python3-picamera2 python3-lgpio)
    [[ "${setup_options[*]}" != *gst:* ]] || names+=("${GSTREAMER[@]}")
    # shellcheck disable=SC2016 # dpkg-query's own variables
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' |
        sed -n 's/^installed //; T; s/([^)]*)//g; s/,/ /g; p' | tr -s ' ' '\n')
    for name in "${names[@]}"; do
        grep -qxF "$name" <<<"$have" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing Debian's ${missing[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    if [ -z "$wheels" ]; then
        apt-get update -qq || die "the package lists cannot be fetched: connect the box to a network"
    fi
    # A box that has wheels may have a network all the same, and no list of packages yet.
    fetch "${missing[@]}" || { [ -n "$wheels" ] && apt-get update -qq && fetch "${missing[@]}"; } ||
        die "these packages are missing: ${missing[*]}; connect the box to a network, then run this again"
}

# What is installed already, or comes as wheels, needs no compiler.
builds_packages() {
    [ -z "$wheels" ] && ! { command -v "$python" >/dev/null && [ -e "$(environment)/complete" ]; }
}

fetch() { apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }

check_python() {
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
        die "$python is not Python 3.10 to 3.13: name another with --python python3.11, say"
}

check_room() {
    local free
    mkdir -p "$root/opt/$NAME/releases" "$root/opt/$NAME/venvs"
    [ ! -e "$(environment)/complete" ] || return 0
    free=$(df --output=avail -BM "$root/opt/$NAME" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge "$MIB_NEEDED" ] || die "$root/opt has $free MB free, $MIB_NEEDED are needed: make room"
}

# The folder of Python's packages: named after all that decides what lies in it.
environment() {
    local key
    key=$({
        "$python" -c 'import sys; print(sys.version, sys.executable)'
        on_pi && echo "with the system's"
        cat "$SOURCE/requirements-device.txt"
    } | sha256sum | cut -c 1-12)
    echo "$root/opt/$NAME/venvs/$key"
}

make_environment() {
    local folder options=() quiet=()
    folder=$(environment)
    [ ! -e "$folder/complete" ] || return 0
    ! on_pi || options+=(--system-site-packages)
    [ -t 1 ] || quiet=(--quiet)
    say "Installing Python's packages; this takes some minutes ..."
    rm -rf "$folder"
    "$python" -m venv "${options[@]}" "$folder"
    options=(--use-pep517)
    [ -z "$wheels" ] || options=(--no-index --find-links "$wheels")
    "$folder/bin/python" -m pip install --disable-pip-version-check --no-cache-dir "${quiet[@]}" "${options[@]}" \
        -r "$SOURCE/requirements-device.txt" ||
        die "Python's packages cannot be installed: look above${wheels:+; was $wheels made on such a box?}"
    # The command finds the program from any folder.
    echo "/opt/$NAME/current" >"$(echo "$folder"/lib/python3*/site-packages)/$NAME.pth"
    sync -f "$folder"
    touch "$folder/complete"
}

save_the_wheels() {
    say "Saving Python's packages in $save_wheels ..."
    mkdir -p "$save_wheels"
    "$(environment)/bin/python" -m pip wheel --disable-pip-version-check --quiet --use-pep517 \
        --wheel-dir "$save_wheels" -r "$SOURCE/requirements-device.txt" ||
        die "Python's packages cannot be saved: look above"
}

# --- The program ---

program_files() {
    cd "$SOURCE"
    find "${FILES[@]}" -name __pycache__ -prune -o -type f -print0 | sort -z
}

release_name() {
    local version
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$SOURCE/device/__init__.py")
    echo "$version-$(program_files | (cd "$SOURCE" && xargs -0 sha256sum) | sha256sum | cut -c 1-12)"
}

copy_release() {
    local folder=$root/opt/$NAME/$1
    [ ! -e "$folder" ] || return 0
    say "Copying the program to /opt/$NAME/$1 ..."
    rm -rf "$folder.part"
    mkdir -p "$folder.part"
    program_files | tar -C "$SOURCE" --null --no-recursion -T - -c | tar -C "$folder.part" -x --no-same-owner
    chmod -R u=rwX,go=rX "$folder.part"
    # A link and compiled files, for the service may write neither.
    ln -s "../../venvs/$(basename "$(environment)")" "$folder.part/.venv"
    "$folder.part/.venv/bin/python" -m compileall -q "$folder.part/device"
    sync -f "$folder.part"
    mv -T "$folder.part" "$folder"
}

program() {
    local release=$1
    shift
    (cd "$root/opt/$NAME/$release" && ./.venv/bin/python -m device "$@")
}

try_release() {
    program "$1" models verify "$root/opt/$NAME/$1/device/factory/bundle" >/dev/null ||
        { rm -rf "$root/opt/$NAME/$1" && die "the new program does not work on this box; the old one stays"; }
}

activate() {
    local release=$1 units=$root/opt/$NAME/$1/systemd
    link "$release" "$root/opt/$NAME/current"
    put "$units/$NAME.service" "etc/systemd/system/$NAME.service"
    put "$units/$NAME-poweroff.path" "etc/systemd/system/$NAME-poweroff.path"
    put "$units/$NAME-poweroff.service" "etc/systemd/system/$NAME-poweroff.service"
    put "$units/$NAME-stick@.service" "etc/systemd/system/$NAME-stick@.service"
    put "$units/70-$NAME.rules" "etc/udev/rules.d/70-$NAME.rules"
    put "$units/$NAME.sysusers" "etc/sysusers.d/$NAME.conf"
    put "$units/$NAME.tmpfiles" "etc/tmpfiles.d/$NAME.conf"
    put "$units/watchdog.conf" "etc/systemd/system.conf.d/60-$NAME-watchdog.conf"
    put "$units/journald.conf" "etc/systemd/journald.conf.d/60-$NAME.conf"
    put "$units/command" "usr/local/bin/$NAME" 755
    if [ -e "$root/etc/nv_tegra_release" ]; then
        put "$units/jetson.conf" "$DROP_INS/jetson.conf"
    fi
}

# A file is replaced at once, and only if it differs: a second run changes nothing.
put() {
    local from=$1 to=$root/$2
    if ! cmp --quiet "$from" "$to"; then
        has_changed=yes
        install -D -m "${3:-644}" "$from" "$to.new"
        mv -T "$to.new" "$to"
    fi
}

link() {
    ln -sfn "$1" "$2.new"
    mv -T "$2.new" "$2"
    sync -f "$(dirname "$2")"
}

# This version and the one before stay.
tidy() {
    local each in_use
    in_use=$(readlink "$root/opt/$NAME"/{current,previous} || true)
    for each in "$root/opt/$NAME"/releases/*; do
        grep -qxF "releases/${each##*/}" <<<"$in_use" || rm -rf "$each"
    done
    in_use=$(readlink "$root/opt/$NAME"/releases/*/.venv)
    for each in "$root/opt/$NAME"/venvs/*; do
        grep -qxF "../../venvs/${each##*/}" <<<"$in_use" || rm -rf "$each"
    done
}

# --- The system ---

is_booted() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

make_user_and_folders() {
    systemd-sysusers "--root=${root:-/}" "$NAME.conf"
    move_home
    systemd-tmpfiles "--root=${root:-/}" --create "$NAME.conf"
    systemctl "--root=${root:-/}" --quiet enable "$NAME.service" "$NAME-poweroff.path"
    is_booted || return 0
    systemctl daemon-reload
    systemctl start "$NAME-poweroff.path"
    if [ -S /run/udev/control ]; then
        udevadm control --reload
        udevadm trigger --action=change --subsystem-match=gpio --subsystem-match=dma_heap --subsystem-match=media \
            --subsystem-match=video4linux
    fi
}

# Earlier versions had the user's home where it writes: the program could have let others in by their keys.
move_home() {
    local old=$root/var/lib/$NAME/.ssh/authorized_keys new=$root/etc/$NAME/.ssh/authorized_keys
    grep -q "^$NAME:.*:/var/lib/$NAME:" "$root/etc/passwd" 2>/dev/null || return 0
    if [ -f "$old" ] && [ ! -e "$new" ]; then
        mkdir -p "$(dirname "$new")"
        install -m 644 "$old" "$new"
        sync -f "$new"
    fi
    usermod --root "${root:-/}" --home "/etc/$NAME" "$NAME" || die "who deploys must be done first: run this again then"
    rm -f "$old"
}

set_up_devices() {
    local options=("${setup_options[@]}")
    # Who only brings the program up to date hears no tone.
    [ -z "$1" ] || [ ${#setup_options[@]} -gt 0 ] || options+=(--no-tone)
    [ -z "$root" ] || options+=(--root "$root")
    if program current setup "${options[@]}"; then is_set_up=yes; else is_set_up=''; fi
}

allow_network_if_needed() {
    local webhook options=()
    [ ! -e "$root/etc/$NAME/config.toml" ] || options=(--config "$root/etc/$NAME/config.toml")
    webhook=$(program current config "${options[@]}" | sed -n '/^\[faults\]/,/^\[/s/^webhook = "\(.*\)".*/\1/p')
    if [ -n "$webhook" ]; then
        put "$root/opt/$NAME/current/systemd/network.conf" "$DROP_INS/network.conf"
    elif [ -e "$root/$DROP_INS/network.conf" ]; then
        rm "$root/$DROP_INS/network.conf"
        has_changed=yes
    fi
}

# Nothing to change, no card or camera to try, and it plays: who runs this again interrupts nobody.
is_current_enough() {
    [ -z "$has_changed" ] && [ ${#setup_options[@]} -eq 0 ] && is_booted && systemctl --quiet is-active "$NAME.service"
}

stop_service() {
    ! is_booted || systemctl stop "$NAME.service" 2>/dev/null || true
}

start_service() {
    if [ -z "$wants_start" ] || ! is_booted; then return 0; fi
    systemctl daemon-reload
    say "Starting ..."
    systemctl restart "$NAME.service" || die "it is installed, but does not start: see journalctl -t $NAME"
}

# What ran before runs again.
go_back() {
    local old=$fallback
    fallback=''
    activate "$old"
    if is_booted; then
        systemctl daemon-reload
        systemctl restart "$NAME.service" || true
    fi
    printf 'install.sh: the old program, %s, is in its place again\n' "$old" >&2
}

report() {
    if [ -n "$is_set_up" ]; then
        say "The dance sampler is installed."
    else
        die "the dance sampler is installed; what is still to do stands above"
    fi
}

# --- Away with it ---

uninstall() {
    local file
    if is_booted; then
        systemctl --quiet disable --now "$NAME.service" "$NAME-poweroff.path" 2>/dev/null || true
    else
        systemctl "--root=${root:-/}" --quiet disable "$NAME.service" "$NAME-poweroff.path" 2>/dev/null || true
    fi
    for file in "etc/systemd/system/$NAME.service" "$DROP_INS/jetson.conf" "$DROP_INS/network.conf" \
        "etc/systemd/system/$NAME-poweroff.path" "etc/systemd/system/$NAME-poweroff.service" \
        "etc/systemd/system/$NAME-stick@.service" "etc/udev/rules.d/70-$NAME.rules" "etc/tmpfiles.d/$NAME.conf" \
        "etc/sysusers.d/$NAME.conf" "etc/systemd/system.conf.d/60-$NAME-watchdog.conf" \
        "etc/systemd/journald.conf.d/60-$NAME.conf" "usr/local/bin/$NAME"; do
        rm -f "$root/$file"
    done
    rmdir "$root/$DROP_INS" 2>/dev/null || true
    rm -rf "$root/opt/$NAME"
    ! is_booted || systemctl daemon-reload
    if [ -n "$wants_purge" ]; then
        # shellcheck disable=SC2115 # NAME is not empty
        rm -rf "$root/var/lib/$NAME" "$root/etc/$NAME"
        userdel "--root=${root:-/}" "$NAME" 2>/dev/null || true
        say "The dance sampler is removed, with its takes, models and configuration."
    else
        say "The dance sampler is removed; takes and models stay in /var/lib/$NAME, the configuration in /etc/$NAME."
    fi
}

main "$@"
