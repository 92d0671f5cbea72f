#!/bin/sh
# Puts Orchestra in place, built here or taken from a release, and adds it to Claude Code.
# `./install.sh --help` tells the options.
#
# Everything goes into ${XDG_DATA_HOME:-~/.local/share}/orchestra, in a folder per build, so
# that a run which is going on keeps its programs; `current` is switched over in one step. Of
# other places only links below PREFIX (the program, completions, manual pages) and Claude Code's
# own settings are touched. What was touched is in the file `installed`, and --uninstall undoes it.
set -eu

usage() {
    cat <<'END'
Usage: ./install.sh [OPTIONS]
       ./install.sh --uninstall [--yes] [--dry-run]

  --release [VERSION]  download a built release and check it, instead of building
                       [default: the version of this folder]
  --from DIR           take the programs from DIR, and build nothing
  --scope SCOPE        for whom: user, project (all who work on the repository here),
                       or local (you, in the repository here) [default: user]
  --statusline         also put the live status line into Claude Code's settings of that
                       scope; shows what it will change, and asks
  --yes                do not ask
  --demo               then show the whole job on a sample project: no login, no network
  --dry-run            say what would be done, and do nothing
  --prefix DIR         put the links to the program, its completions and its manual pages
                       below DIR [default: ~/.local]
  --no-claude          leave Claude Code's settings alone
  --uninstall          take everything away again
  -h, --help           this text

ORCHESTRA_RELEASES is where releases are [default: the GitHub releases of the repository that
this folder was cloned from].
END
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
statusline=no
yes=no
scope=user
release=no
version=
from=
prefix=
while [ $# -gt 0 ]; do
    case $1 in
        --demo) demo=yes ;;
        --dry-run) dry=yes ;;
        --no-claude) claude=no ;;
        --uninstall) uninstall=yes ;;
        --statusline) statusline=yes ;;
        -y|--yes) yes=yes ;;
        --release)
            release=yes
            case ${2:-} in
                [0-9]* | v[0-9]*) version=${2#v}; shift ;;
            esac ;;
        --release=*) release=yes; version=${1#*=}; version=${version#v} ;;
        --scope) [ $# -ge 2 ] || fail "--scope needs user, project or local"; scope=$2; shift ;;
        --scope=*) scope=${1#*=} ;;
        --prefix) [ $# -ge 2 ] || fail "--prefix needs a folder"; prefix=$2; shift ;;
        --prefix=*) prefix=${1#*=} ;;
        --from) [ $# -ge 2 ] || fail "--from needs a folder"; from=$2; shift ;;
        --from=*) from=${1#*=} ;;
        -h|--help) usage; exit 0 ;;
        *) usage >&2; fail "$1 is not known" ;;
    esac
    shift
done
case $scope in
    user | project | local) ;;
    *) fail "--scope $scope: there are user, project and local" ;;
esac
case $version in
    *[!0-9A-Za-z.+-]*) fail "--release $version is no version" ;;
esac
[ "$release" = no ] || [ -z "$from" ] || fail "--release and --from exclude each other"

[ -n "${HOME:-}" ] || fail "HOME is not set"
here=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
data=${XDG_DATA_HOME:-}
case $data in
    /*) ;;
    *) data=$HOME/.local/share ;;
esac
home=$data/orchestra
record=$home/installed
prefix=${prefix:-$HOME/.local}
case $prefix in
    /*) ;;
    *) prefix=$here/$prefix ;;
esac
programs='orchestra orchestra-announce orchestra-command orchestra-guard orchestra-heartbeat orchestra-statusline
orchestration-start instance-complete integration-complete'
parts='.claude-plugin hooks commands agents install.sh LICENSE README.md CHANGELOG.md'

# Whether $1 is a link that this script made.
own_link() {
    [ -L "$1" ] || return 1
    case $(readlink "$1") in
        "$home"/*) return 0 ;;
        *) return 1 ;;
    esac
}

# Keeps in mind what is to be undone: a word and a path.
note() {
    grep -qxF "$1 $2" "$record" 2>/dev/null || printf '%s %s\n' "$1" "$2" >>"$record"
}

# The paths that were noted with a word.
noted() {
    [ ! -f "$record" ] || sed -n "s/^$1 //p" "$record"
}

# Makes a folder, and those above it; notes which ones. Another installation may make it first.
made=
make_folder() {
    [ -d "$1" ] && return 0
    make_folder "$(dirname -- "$1")"
    if why=$(mkdir "$1" 2>&1); then
        made="$made$1
"
    else
        [ -d "$1" ] || fail "$why"
    fi
}

# Whether one of the programs in this folder runs.
in_use() {
    # Processes are told by the path without links in it.
    folder=$(CDPATH='' cd -- "$1" && pwd -P)
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null || :) in
            "$folder"/*) return 0 ;;
        esac
    done
    # Without /proc, as on macOS, ps tells the path.
    # shellcheck disable=SC2009 # pgrep looks for names and arguments, not for paths.
    ps -A -o comm= 2>/dev/null | grep -qF -e "$folder/" -e "$1/"
}

# Whether an older version is to stay: a week old at most, or one of its programs runs.
keep() {
    [ -n "$(find "$1" -maxdepth 0 -mtime -7 2>/dev/null)" ] || in_use "$1"
}

have_claude() {
    [ "$claude" = yes ] && command -v claude >/dev/null 2>&1
}

# Whether the marketplace `orchestra` is the folder of this script, and not one from elsewhere.
own_marketplace() {
    claude plugin marketplace list --json 2>/dev/null | grep -qF "\"$home/current"
}

if [ "$uninstall" = yes ]; then
    if [ -x "$home/current/bin/orchestra" ]; then
        flags=
        [ "$dry" = no ] || flags=--dry-run
        [ "$yes" = no ] || flags="$flags --yes"
        # shellcheck disable=SC2086 # Words, none of them from outside.
        "$home/current/bin/orchestra" statusline remove $flags ||
            say "  the status line was left in the settings (see above)"
    fi
    if have_claude; then
        say "Taking the plugin out of Claude Code"
        { printf 'user %s\n' "$HOME"; sed -n 's/^scope //p' "$record" 2>/dev/null || :; } |
            sort -u | while read -r name folder; do
            [ -d "$folder" ] || continue
            if [ "$dry" = yes ]; then
                say "  would run: claude plugin uninstall orchestra@orchestra --scope $name"
                continue
            fi
            (
                cd "$folder"
                claude plugin uninstall orchestra@orchestra --scope "$name" </dev/null
                if own_marketplace; then
                    claude plugin marketplace remove orchestra </dev/null
                fi
            ) >/dev/null 2>&1 || :
        done
        # The client leaves its copy of the plugin, with our programs, to be cleared away later.
        copy=${CLAUDE_CONFIG_DIR:-$HOME/.claude}/plugins/cache/orchestra
        if [ -e "$copy/orchestra" ] && ! claude plugin list --json 2>/dev/null | grep -q '"orchestra@orchestra"'; then
            run rm -rf "$copy"
        fi
    fi
    say "Removing the links to $home"
    { printf '%s\n' "$prefix/bin/orchestra"; noted link; } | sort -u | while IFS= read -r link; do
        if own_link "$link"; then
            run rm -f "$link"
        fi
    done
    # A run would fail without the programs that it began with.
    used=
    for version in "$home/versions"/*; do
        if [ -d "$version" ] && in_use "$version"; then
            used=$version
            say "Leaving $version: its programs run. When they have ended: ./install.sh --uninstall"
        elif [ -d "$version" ]; then
            run rm -rf "$version"
        fi
    done
    if [ -n "$used" ]; then
        run rm -f "$home/current"
        exit 0
    fi
    folders=$(noted folder | sort -r)
    if [ -d "$home" ]; then
        say "Removing $home"
        run rm -rf "$home"
    fi
    # Only those that hold nothing.
    [ "$dry" = yes ] || printf '%s\n' "$folders" | while IFS= read -r folder; do
        [ -z "$folder" ] || rmdir "$folder" 2>/dev/null || :
    done
    say "Orchestrations in your repositories (.claude/orchestration) are left as they are."
    exit 0
fi

# What is in the way is said before anything is done.
link=$prefix/bin/orchestra
if [ -e "$link" ] || [ -L "$link" ]; then
    own_link "$link" || fail "$link exists and is not this program's; remove it, or choose another place with --prefix"
fi

version_of() {
    sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$1/.claude-plugin/plugin.json" | head -n 1
}

# The platform, as releases name it.
target() {
    case $(uname -m) in
        x86_64 | amd64) machine=x86_64 ;;
        aarch64 | arm64) machine=aarch64 ;;
        *) fail "there is no release for $(uname -m); build it: ./install.sh" ;;
    esac
    case $(uname -s) in
        Linux)
            for musl in /lib/ld-musl-*; do
                [ ! -e "$musl" ] || fail "there is no release for this C library (musl); build it: ./install.sh"
            done
            say "$machine-unknown-linux-gnu" ;;
        Darwin) say "$machine-apple-darwin" ;;
        *) fail "there is no release for $(uname -s)" ;;
    esac
}

# Where releases are.
releases() {
    if [ -n "${ORCHESTRA_RELEASES:-}" ]; then
        say "${ORCHESTRA_RELEASES%/}"
        return
    fi
    # A plugin's folder is a copy; the clone that it was made of is Claude Code's marketplace.
    url=
    for clone in "$root" "${CLAUDE_CONFIG_DIR:-$HOME/.claude}/plugins/marketplaces/orchestra"; do
        [ -n "$url" ] || [ ! -e "$clone/.git" ] || url=$(git -C "$clone" remote get-url origin 2>/dev/null || :)
    done
    case $url in
        https://github.com/*) url=${url#https://github.com/} ;;
        git@github.com:*) url=${url#git@github.com:} ;;
        ssh://git@github.com/*) url=${url#ssh://git@github.com/} ;;
        *) fail "this folder is no clone from GitHub; say where the releases are with ORCHESTRA_RELEASES=URL" ;;
    esac
    url=${url%/}
    say "https://github.com/${url%.git}/releases/download"
}

# fetch URL FILE
fetch() {
    case $1 in
        file://*) cp "${1#file://}" "$2" ;;
        *)
            if command -v curl >/dev/null 2>&1; then
                curl -fsSL --retry 2 -o "$2" "$1"
            elif command -v wget >/dev/null 2>&1; then
                wget -q -O "$2" "$1"
            else
                fail "curl or wget is needed to download a release"
            fi ;;
    esac
}

checksum() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1"
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1"
    else
        fail "sha256sum or shasum is needed to check a release"
    fi | cut -d ' ' -f 1
}

scratch=
fresh=
clean_up() {
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$fresh" ] || rm -rf "$fresh"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# 1. The programs.
if [ "$release" = yes ]; then
    version=${version:-$(version_of "$root")}
    target=$(target)
    name=orchestra-$version-$target
    url=$(releases)/v$version/$name.tar.gz
    say "Downloading $url"
    if [ "$dry" = no ]; then
        scratch=$(mktemp -d "${TMPDIR:-/tmp}/orchestra-install.XXXXXX")
        fetch "$url" "$scratch/archive" || fail "$url could not be downloaded; nothing was changed"
        fetch "$url.sha256" "$scratch/sha256" || fail "$url.sha256 could not be downloaded; nothing was changed"
        wanted=$(cut -d ' ' -f 1 "$scratch/sha256")
        found=$(checksum "$scratch/archive")
        [ "$wanted" = "$found" ] ||
            fail "the checksum of $url is $found, and not $wanted; nothing was changed"
        mkdir "$scratch/unpacked"
        tar -xzf "$scratch/archive" -C "$scratch/unpacked"
        # The commands and hooks of a release go with its programs.
        root=$scratch/unpacked/$name
        from=$root/bin
    fi
elif [ -n "$from" ]; then
    [ -d "$from" ] || fail "there is no folder $from"
    from=$(CDPATH='' cd -- "$from" && pwd)
elif [ ! -e "$root/Cargo.toml" ]; then
    # An unpacked release.
    from=$root/bin
else
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo was not found; install Rust (https://rustup.rs), take a release with --release, or give built programs with --from DIR"
    from=${CARGO_TARGET_DIR:-$root/target}/release
    say "Building (cargo build --release)"
    run cargo build --release --locked --bins --manifest-path "$root/Cargo.toml"
fi
if [ "$dry" = no ]; then
    for name in $programs; do
        [ -x "$from/$name" ] || fail "$from/$name is not there"
    done
fi

# 2. A complete plugin in a folder of its own, then one switch.
stamp=$(version_of "$root")
stamp=${stamp:-0}-$(date -u +%Y%m%d%H%M%S)-$$
target=$home/versions/$stamp
say "Putting the plugin into $target"
if [ "$dry" = no ]; then
    make_folder "$home/versions"
    fresh=$(mktemp -d "$home/versions/.new.XXXXXX")
    chmod 755 "$fresh"
    mkdir "$fresh/bin"
    for name in $programs; do
        cp "$from/$name" "$fresh/bin/$name"
        chmod 755 "$fresh/bin/$name"
    done
    for part in $parts; do
        if [ -e "$root/$part" ]; then
            cp -R "$root/$part" "$fresh/"
        fi
    done
    "$fresh/bin/orchestra" --version >/dev/null || fail "the program does not run here; nothing was changed"
    mkdir -p "$fresh/share/bash-completion/completions" "$fresh/share/zsh/site-functions" \
        "$fresh/share/fish/vendor_completions.d" "$fresh/share/man/man1"
    "$fresh/bin/orchestra" completions bash >"$fresh/share/bash-completion/completions/orchestra"
    "$fresh/bin/orchestra" completions zsh >"$fresh/share/zsh/site-functions/_orchestra"
    "$fresh/bin/orchestra" completions fish >"$fresh/share/fish/vendor_completions.d/orchestra.fish"
    "$fresh/bin/orchestra" man "$fresh/share/man/man1"
    previous=$(readlink "$home/current" 2>/dev/null || :)
    mv "$fresh" "$target"
    fresh=
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

# 3. The command, its completions and manual pages.
say "Linking $link"
if [ "$dry" = no ]; then
    make_folder "$prefix/bin"
    ln -sf "$home/current/bin/orchestra" "$link"
    note link "$link"
    (cd "$home/current" && find share -type f) | while IFS= read -r file; do
        make_folder "$prefix/$(dirname -- "$file")"
        if own_link "$prefix/$file" || [ ! -e "$prefix/$file" ]; then
            ln -sf "$home/current/$file" "$prefix/$file"
            note link "$prefix/$file"
        fi
        printf '%s' "$made" | while IFS= read -r folder; do
            note folder "$folder"
        done
    done
    printf '%s' "$made" | while IFS= read -r folder; do
        note folder "$folder"
    done
fi

# 4. Claude Code.
if have_claude; then
    say "Adding the plugin to Claude Code (scope: $scope)"
    if [ "$dry" = yes ]; then
        say "  would run: claude plugin marketplace add $home/current"
        say "  would run: claude plugin install orchestra@orchestra --scope $scope"
    else
        note scope "$scope $here"
        # Adding it again is an error for some versions and an update for others.
        # It is known to the person alone: a project's settings cannot name a place in their home.
        claude plugin marketplace add "$home/current" >/dev/null 2>&1 </dev/null ||
            claude plugin marketplace update orchestra >/dev/null 2>&1 </dev/null ||
            fail "claude plugin marketplace add $home/current failed; run it by hand to see why"
        claude plugin install orchestra@orchestra --scope "$scope" >/dev/null 2>&1 </dev/null ||
            claude plugin update orchestra@orchestra >/dev/null 2>&1 </dev/null ||
            fail "claude plugin install orchestra@orchestra failed; run it by hand to see why"
    fi
elif [ "$claude" = yes ]; then
    say "Claude Code (claude) is not on PATH. Once it is: ./install.sh again"
fi

# 5. The status line.
if [ "$statusline" = yes ]; then
    if [ "$dry" = yes ]; then
        if [ -x "$home/current/bin/orchestra" ]; then
            "$home/current/bin/orchestra" statusline install --scope "$scope" --dry-run
        else
            say "  would put orchestra-statusline into Claude Code's settings (scope: $scope)"
        fi
    elif [ "$yes" = yes ]; then
        "$home/current/bin/orchestra" statusline install --scope "$scope" --yes
    else
        "$home/current/bin/orchestra" statusline install --scope "$scope"
    fi
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
    clean_up
    exec "$home/current/bin/orchestra" demo
fi
say "Next, to see it work:       orchestra demo"
if have_claude; then
    say "or inside Claude Code:      /parallel-dev \"Add user profiles, fix the login, update the docs\""
fi
