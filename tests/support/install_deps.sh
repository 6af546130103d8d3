#!/bin/sh
# Installs what building and testing needs, on Debian 12 and 13. Says and does nothing if all of it
# is there. Which servers packages come from is the machine's own configuration.
set -eu

packages="
    cmake ninja-build gcc g++ clang clang-format pkg-config libc6-dev
    python3 python3-pytest python3-pytest-xdist libcriterion-dev
    libuv1-dev liblz4-dev libjemalloc-dev libxxhash-dev libpcre2-dev libroaring-dev libyaml-dev libjansson-dev libssl-dev
    zlib1g-dev libhttp-parser-dev curl openssl"

# libraft: ownership rules change in the next release, and 0.15 loses acknowledged entries.
raft_version=0.22.1

missing_of() {
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            echo "$package"
    done
}

# The sanitizers' and libFuzzer's runtime has clang's version in its name.
clang_runtime() {
    depends=$(dpkg-query -W -f '${Depends}' clang 2>/dev/null ||
        apt-cache show --no-all-versions clang 2>/dev/null)
    version=$(printf '%s\n' "$depends" | sed -n 's/.*clang-\([0-9][0-9]*\).*/\1/p' | head -n 1)
    [ -z "$version" ] || echo "libclang-rt-$version-dev"
}

raft_is_there() {
    pkg-config --exact-version="$raft_version" raft 2>/dev/null
}

if ! command -v dpkg-query >/dev/null; then
    echo "install_deps.sh knows Debian only; needed are: $packages libraft $raft_version" >&2
    exit 1
fi
# shellcheck disable=SC2046,SC2086  # Lists of words.
if [ -z "$(missing_of $packages $(clang_runtime))" ] && raft_is_there; then
    exit 0
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || { echo "run this as root: packages are missing" >&2; exit 1; }
fi
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"
}

# Debian 12 has the right libraft in its backports only. The line for them is made from the one
# that the machine has for the release itself.
enable_backports() {
    # shellcheck disable=SC2016  # Words of apt, not variables.
    targets=$(apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(COMPONENT)' \
        'Created-By: Packages')
    case $targets in *"|$VERSION_CODENAME-backports|"*) return ;; esac
    uri=$(printf '%s\n' "$targets" |
        awk -F'|' -v r="$VERSION_CODENAME" '$2 == r && $3 == "Debian" && $4 == "main" {print $1; exit}')
    [ -n "$uri" ] || { echo "no package index for $VERSION_CODENAME main" >&2; exit 1; }
    printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\nSigned-By: %s\n' \
        "$uri" "$VERSION_CODENAME" /usr/share/keyrings/debian-archive-keyring.gpg |
        $as_root tee /etc/apt/sources.list.d/backports.sources >/dev/null
    apt update
}

# shellcheck source=/dev/null
. /etc/os-release
apt update
# shellcheck disable=SC2086
apt install --no-install-recommends $packages
# shellcheck disable=SC2046
apt install --no-install-recommends $(clang_runtime)
if ! raft_is_there; then
    if [ "$VERSION_CODENAME" = bookworm ]; then
        enable_backports
        apt install --no-install-recommends -t bookworm-backports libraft-dev
    else
        apt install --no-install-recommends libraft-dev
    fi
fi
raft_is_there || {
    echo "libraft is $(pkg-config --modversion raft), but must be $raft_version" >&2
    exit 1
}
