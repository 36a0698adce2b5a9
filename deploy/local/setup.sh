#!/bin/sh
# Make .venv from requirements.txt: exactly those versions, checked against their hashes. Does nothing when it is up to date.
#
#   PYTHON=/path/to/python3.11    the interpreter to use; otherwise python3.11 or python3, whichever is a Python 3.11
#   PERENNIAL_MIN_FREE_GB=4       gigabytes that must be free in the project folder before anything is installed
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd -P)
venv=$root/.venv
lock=$root/requirements.txt
stamp=$venv/perennial.stamp
need_gb=${PERENNIAL_MIN_FREE_GB:-4}
work=

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

is_311() {
    case $(version_of "$1") in
        3.11.*) return 0 ;;
        *) return 1 ;;
    esac
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.11 python3; fi
    found=
    for candidate in "$@"; do
        if is_311 "$candidate"; then
            python=$(command -v "$candidate")
            return
        fi
        version=$(version_of "$candidate") || version='not found, or does not run'
        found="$found, $candidate: $version"
    done
    fail "Python 3.11 is needed; found ${found#, }." \
        "Install it (Debian and Ubuntu: python3.11 and python3.11-venv; or pyenv, uv or conda), or say where it is:" \
        "    make demo PYTHON=/path/to/python3.11"
}

free_kb() { df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'; }

check_space() {
    free=$(free_kb "$root")
    if [ -n "$free" ] && [ "$free" -lt $((need_gb * 1024 * 1024)) ]; then
        fail "$root has $((free / 1024)) MB free; the packages need $need_gb GB." \
            "Free some space, or put the project on a larger disk."
    fi
}

disk_full() {
    fail "the disk filled up while the packages were being installed." \
        "Free in the project folder: $(($(free_kb "$root") / 1024)) MB; the packages need $need_gb GB." \
        "uv keeps downloads in ${UV_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/uv}; \`UV_CACHE_DIR=/elsewhere make env\` moves them." \
        "Free some space and run the same command again; it goes on where it stopped."
}

# Run a command, show what it says, keep it for a look when it fails.
watched() {
    {
        status=0
        "$@" 2>&1 || status=$?
        echo "$status" >"$work/status"
    } | tee -a "$work/said" | sed '/^ [-+~] /d'  # not one line for each of the packages
    [ "$(cat "$work/status")" = 0 ] && return
    if grep -qiE 'no space left|os error 28|disk quota|os error 122' "$work/said"; then disk_full; fi
    fail "the packages could not be installed; the reason is above." \
        "Without a connection to PyPI, name a mirror: UV_DEFAULT_INDEX and PIP_INDEX_URL; behind a proxy, set HTTPS_PROXY."
}

# A venv that was copied, moved or made by another Python does not know its own place, or not the right version.
usable() {
    [ -x "$venv/bin/python" ] && is_311 "$venv/bin/python" && grep -qsF "$venv" "$venv/bin/activate" &&
        { [ -x "$venv/bin/pip" ] || [ -x "$venv/bin/uv" ]; }
}

wanted() {
    "$1" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), sys.argv[2])' "$lock" "$venv"
}

case $need_gb in '' | *[!0-9]*) fail "PERENNIAL_MIN_FREE_GB is '$need_gb'; give whole gigabytes, for example 4." ;; esac
[ -r "$lock" ] || fail "$lock is missing; it lists the packages." "Get it back: git checkout requirements.txt"
if [ -r "$stamp" ] && usable && [ "$(cat "$stamp")" = "$(wanted "$venv/bin/python")" ]; then exit 0; fi

if [ -e "$venv" ] && { [ ! -d "$venv" ] || [ ! -w "$venv" ]; }; then
    fail "$venv cannot be changed by $(id -un); it belongs to $(ls -ld "$venv" | awk '{ print $3 }')." \
        "Run this as that user, or copy the project to a folder of your own."
fi
if [ ! -e "$venv" ] && [ ! -w "$root" ]; then
    fail "$root is not writable for $(id -un), so .venv cannot be made there." "Copy the project to a folder of your own."
fi
if [ -d "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
    fail "$venv is there and is not a virtual environment." "Move it away and run the same command again."
fi

check_space
work=$(mktemp -d)
if usable; then
    python=$venv/bin/python
else
    find_python
    "$python" -c 'import ensurepip, sqlite3, ssl, venv' 2>"$work/modules" || fail "$python lacks a module of the standard library: \
$(tail -n 1 "$work/modules")" \
        "Debian and Ubuntu: apt install python3.11-venv. A Python built from source needs the headers of sqlite3 and openssl."
    say "making .venv with $python ($(version_of "$python"))"
    rm -rf "$venv"
    watched "$python" -m venv "$venv"
fi
rm -f "$stamp"

# uv installs the rest; it comes from the same list, with its hashes, through pip.
awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$lock" >"$work/uv.txt"
pinned=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' "$work/uv.txt")
[ -n "$pinned" ] || fail "$lock does not pin uv." "Add uv to requirements.in and run: make lock"
case $("$venv/bin/uv" --version 2>/dev/null) in
    "uv $pinned" | "uv $pinned "*) ;;
    *)
        say "installing uv $pinned"
        watched "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$work/uv.txt"
        ;;
esac
say "installing $(grep -c '^[A-Za-z0-9].*==' "$lock") packages into .venv; the first time this takes some minutes"
# Compiled once here: where Python may not write bytecode, as in many containers, each process compiles all that it imports.
watched env VIRTUAL_ENV="$venv" "$venv/bin/uv" pip sync --compile-bytecode --require-hashes "$lock"
wanted "$venv/bin/python" >"$stamp"
say "ready: $venv"
