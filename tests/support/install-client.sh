#!/bin/sh
# Installs the pinned real client, once, and prints the path of its binary.
#
#   tests/support/install-client.sh [FOLDER]
#
# FOLDER is where it goes: by default $ORCHESTRA_CLIENT_DIR, else
# target/claude-client-VERSION beside Cargo.toml. The package is the public one
# for this system, without the Node wrapper. Callers that may run at the same
# time hold a lock around this script; it is safe without one, since the
# package is installed beside its place and moved there when complete.
set -eu

version=2.1.329

case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) echo "install-client: no client package for $(uname -s)" >&2; exit 1 ;;
esac
case "$(uname -m)" in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) echo "install-client: no client package for $(uname -m)" >&2; exit 1 ;;
esac
if [ "$os" = linux ] && ls /lib/ld-musl-* >/dev/null 2>&1; then
    arch=$arch-musl
fi
package=@anthropic-ai/claude-code-$os-$arch

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-${ORCHESTRA_CLIENT_DIR:-${CARGO_TARGET_DIR:-$root/target}/claude-client-$version}}
binary=$folder/node_modules/$package/claude

if [ ! -x "$binary" ]; then
    if ! command -v npm >/dev/null 2>&1; then
        echo "install-client: npm is needed to install $package@$version." >&2
        echo "Install Node.js with npm, or set ORCHESTRA_CLIENT_DIR to a folder in which" >&2
        echo "  npm install --force --prefix FOLDER $package@$version" >&2
        echo "was run elsewhere." >&2
        exit 1
    fi
    fresh=$folder.new.$$
    trap 'rm -rf "$fresh"' EXIT
    mkdir -p "$fresh"
    # --force: the package names an operating system and libc, which old npm misjudges.
    if ! npm install --force --no-audit --no-fund --no-save --ignore-scripts \
        --loglevel error --prefix "$fresh" "$package@$version" >&2; then
        echo "install-client: npm could not install $package@$version (see above)." >&2
        exit 1
    fi
    if [ ! -x "$fresh/node_modules/$package/claude" ]; then
        echo "install-client: $package@$version holds no program named claude." >&2
        exit 1
    fi
    rm -rf "$folder"
    mv "$fresh" "$folder"
fi
echo "$binary"
