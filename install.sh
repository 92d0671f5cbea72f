#!/bin/sh
# Builds Orchestra, puts it in place, and adds it to Claude Code as a plugin.
#
#   ./install.sh [--demo] [--dry-run] [--prefix DIR] [--no-claude] [--from DIR]
#   ./install.sh --uninstall [--dry-run] [--prefix DIR] [--no-claude]
#
# Everything goes into ${XDG_DATA_HOME:-~/.local/share}/orchestra, in a folder per build, so
# that a run which is going on keeps its programs; `current` is switched over in one step. Of
# other places only PREFIX/bin/orchestra (a link) and Claude Code's own settings are touched.
set -eu

usage() {
    cat <<'EOF'
Usage: ./install.sh [OPTIONS]

  --demo         then show the whole job on a sample project: no login, no network
  --dry-run      say what would be done, and do nothing
  --prefix DIR   put the link to the program into DIR/bin [default: ~/.local]
  --no-claude    leave Claude Code's settings alone
  --from DIR     take the programs from DIR, and build nothing
  --uninstall    take everything away again
  -h, --help     this text
EOF
}

say() { printf '%s\n' "$*"; }
fail() { printf 'install: %s\n' "$*" >&2; exit 1; }
run() {
    if [ "$dry" = yes ]; then
        say "  would run: $*"
    else
        "$@"
    fi
}

dry=no
demo=no
claude=yes
uninstall=no
from=
prefix=
while [ $# -gt 0 ]; do
    case $1 in
        --demo) demo=yes ;;
        --dry-run) dry=yes ;;
        --no-claude) claude=no ;;
        --uninstall) uninstall=yes ;;
        --prefix) [ $# -ge 2 ] || fail "--prefix needs a folder"; prefix=$2; shift ;;
        --prefix=*) prefix=${1#*=} ;;
        --from) [ $# -ge 2 ] || fail "--from needs a folder"; from=$2; shift ;;
        --from=*) from=${1#*=} ;;
        -h|--help) usage; exit 0 ;;
        *) usage >&2; fail "$1 is not known" ;;
    esac
    shift
done

[ -n "${HOME:-}" ] || fail "HOME is not set"
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
data=${XDG_DATA_HOME:-}
case $data in
    /*) ;;
    *) data=$HOME/.local/share ;;
esac
home=$data/orchestra
prefix=${prefix:-$HOME/.local}
case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
esac
link=$prefix/bin/orchestra
programs='orchestra orchestra-announce orchestra-command orchestra-guard orchestra-heartbeat orchestra-statusline
orchestration-start instance-complete integration-complete'

# Whether the link at $link is one that this script made.
own_link() {
    [ -L "$link" ] || return 1
    case $(readlink "$link") in
        "$home"/*) return 0 ;;
        *) return 1 ;;
    esac
}

# Whether an older version is to stay: a week old at most, or one of its programs runs.
keep() {
    [ -n "$(find "$1" -maxdepth 0 -mtime -7 2>/dev/null)" ] && return 0
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null || :) in
            "$1"/*) return 0 ;;
        esac
    done
    return 1
}

have_claude() {
    [ "$claude" = yes ] && command -v claude >/dev/null 2>&1
}

if [ "$uninstall" = yes ]; then
    if have_claude; then
        say "Taking the plugin out of Claude Code"
        run claude plugin uninstall orchestra@orchestra >/dev/null 2>&1 || say "  it was not there"
        run claude plugin marketplace remove orchestra >/dev/null 2>&1 || say "  its marketplace was not there"
    fi
    if own_link; then
        say "Removing $link"
        run rm -f "$link"
    fi
    if [ -d "$home" ]; then
        say "Removing $home"
        run rm -rf "$home"
    fi
    say "Orchestrations in your repositories (.claude/orchestration) are left as they are."
    exit 0
fi

# What is in the way is said before anything is done.
if [ -e "$link" ] || [ -L "$link" ]; then
    own_link || fail "$link exists and is not this program's; remove it, or choose another place with --prefix"
fi

# 1. Build.
if [ -n "$from" ]; then
    from=$(CDPATH='' cd -- "$from" && pwd) || fail "there is no folder $from"
else
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo was not found; install Rust (https://rustup.rs), or give built programs with --from DIR"
    from=${CARGO_TARGET_DIR:-$root/target}/release
    say "Building (cargo build --release)"
    run cargo build --release --locked --bins --manifest-path "$root/Cargo.toml"
fi
if [ "$dry" = no ]; then
    for name in $programs; do
        [ -x "$from/$name" ] || fail "$from/$name was not built"
    done
fi

# 2. A complete plugin in a folder of its own, then one switch.
version=$(sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$root/.claude-plugin/plugin.json" | head -n 1)
stamp=${version:-0}-$(date -u +%Y%m%d%H%M%S)-$$
target=$home/versions/$stamp
say "Putting the plugin into $target"
if [ "$dry" = no ]; then
    mkdir -p "$home/versions"
    fresh=$(mktemp -d "$home/versions/.new.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    trap 'exit 130' INT TERM HUP
    chmod 755 "$fresh"
    mkdir "$fresh/bin"
    for name in $programs; do
        cp "$from/$name" "$fresh/bin/$name"
        chmod 755 "$fresh/bin/$name"
    done
    for part in .claude-plugin hooks commands agents LICENSE README.md; do
        if [ -e "$root/$part" ]; then
            cp -R "$root/$part" "$fresh/"
        fi
    done
    "$fresh/bin/orchestra" --version >/dev/null || fail "the built program does not run"
    previous=$(readlink "$home/current" 2>/dev/null || :)
    mv "$fresh" "$target"
    trap - EXIT
    # A link is replaced by a rename, so that `current` is there at every moment.
    ln -s "versions/$stamp" "$home/.current.$$"
    if ! mv -T "$home/.current.$$" "$home/current" 2>/dev/null; then
        # No -T outside of GNU: there, -h does it.
        mv -fh "$home/.current.$$" "$home/current" || fail "$home/current could not be switched"
    fi
    # The one before stays, and what a run may still use; older ones go.
    for old in "$home/versions"/*; do
        name=${old##*/}
        case $name in
            "$stamp" | "${previous##*/}") ;;
            *) keep "$old" || rm -rf "$old" ;;
        esac
    done
fi

# 3. The command.
say "Linking $link"
if [ "$dry" = no ]; then
    mkdir -p "$prefix/bin"
    ln -sf "$home/current/bin/orchestra" "$link"
fi

# 4. Claude Code.
if have_claude; then
    say "Adding the plugin to Claude Code"
    if [ "$dry" = yes ]; then
        say "  would run: claude plugin marketplace add $home/current"
        say "  would run: claude plugin install orchestra@orchestra"
    else
        # Adding it again is an error for some versions and an update for others.
        claude plugin marketplace add "$home/current" >/dev/null 2>&1 ||
            claude plugin marketplace update orchestra >/dev/null 2>&1 ||
            fail "claude plugin marketplace add $home/current failed; run it by hand to see why"
        claude plugin install orchestra@orchestra --scope user >/dev/null 2>&1 ||
            claude plugin update orchestra@orchestra >/dev/null 2>&1 ||
            fail "claude plugin install orchestra@orchestra failed; run it by hand to see why"
    fi
elif [ "$claude" = yes ]; then
    say "Claude Code (claude) is not on PATH. Once it is: ./install.sh again"
fi

say ""
if [ "$dry" = yes ]; then
    say "Nothing was changed."
    exit 0
fi
say "Installed: $("$home/current/bin/orchestra" --version)"
case :$PATH: in
    *:"$prefix/bin":*) ;;
    *) say "Add $prefix/bin to PATH to use it in a terminal." ;;
esac
if [ "$demo" = yes ]; then
    say ""
    exec "$home/current/bin/orchestra" demo
fi
say "Next, to see it work:       orchestra demo"
if have_claude; then
    say "or inside Claude Code:      /parallel-dev \"Add user profiles, fix the login, update the docs\""
fi
