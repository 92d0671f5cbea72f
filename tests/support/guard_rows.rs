//! What an instance may try to reach beyond its worktree, and what it does all day.
//!
//! In the texts `MAIN` stands for the main checkout, `OTHER` for another task's worktree, `MINE`
//! for the instance's own, `SCRATCH` for its folder for temporary files, `OUT` for a folder that
//! is nobody's business, and `HOME_DIR` for the home folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A way out.
pub struct Class {
    /// What is done.
    pub name: &'static str,
    /// Whether the client's deny rules stop the first attempt of it, without the guard.
    pub rules: bool,
    /// What a sandbox round the client does about it.
    pub sandbox: Sandbox,
    /// Shell lines.
    pub attempts: &'static [&'static str],
}

/// What a sandbox does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sandbox {
    /// It stops it.
    Stops,
    /// It cannot: what is changed lies where the worktree's own things lie.
    Passes,
    /// It stops what would be changed on this machine; what goes over a network passes.
    Here,
}

use Sandbox::{Here, Passes, Stops};

const fn class(
    name: &'static str,
    rules: bool,
    sandbox: Sandbox,
    attempts: &'static [&'static str],
) -> Class {
    Class {
        name,
        rules,
        sandbox,
        attempts,
    }
}

/// Shell lines that must be denied.
pub const CLASSES: &[Class] = &[
    class(
        "redirection to an absolute path",
        false,
        Stops,
        &[
            "echo x > MAIN/made",
            "echo x >> MAIN/README.md",
            "echo x >| MAIN/made",
            "echo x &> MAIN/made",
            "echo x &>> MAIN/made",
            "echo x >& MAIN/made",
            "echo x 2> OUT/made",
            ": <> MAIN/made",
            "> MAIN/README.md",
            "{ echo a; echo b; } > OTHER/made",
            "(echo x) > /etc/orchestra-made",
            "exec 3> MAIN/made; echo x >&3",
            "for i in 1 2; do echo $i; done > MAIN/made",
            "if true; then echo x; fi > MAIN/made",
            "echo x > /tmp/orchestra-made",
        ],
    ),
    class(
        "`..`",
        false,
        Stops,
        &[
            "echo x > ../../main/made",
            "touch ../other/made",
            "echo x > src/../../other/made",
            "cd src && echo x > ../../other/made",
            "cd src; cd ..; cd ..; touch made",
            "rm -rf ../other",
            "mkdir -p ./a/../../b",
        ],
    ),
    class(
        "symbolic links",
        false,
        Stops,
        &[
            "echo x > link/made",
            "touch dangling",
            "echo x > deep/link/made",
            "ln -s MAIN here && echo x > here/made",
            "ln -s ../../main/README.md mine",
            "ln MAIN/README.md hard && echo x >> hard",
            "cp -l MAIN/README.md hard",
            "tee li*/made < src/a.rs",
            "sed -i s/a/b/ link/README.md",
        ],
    ),
    class(
        "`~` and variables",
        false,
        Stops,
        &[
            "echo x > ~/made",
            "echo x > $HOME/made",
            "echo x >> \"${HOME}/.bashrc\"",
            "D=MAIN; echo x > $D/made",
            "D=MAIN && F=$D/made && touch \"$F\"",
            "export D=MAIN; touch ${D}/made",
            "echo x > $UNKNOWN/made",
            "echo x > ${UNKNOWN:-MAIN}/made",
            "echo x > \"$(cat where)\"",
            "A='x MAIN/made'; rm $A",
            "echo x > $OLDPWD/made",
            "echo x > ${PWD%/*}/other/made",
            "echo x > ~+/../other/made",
            "for f in MAIN/a MAIN/b; do touch $f; done",
            "read f < where; rm \"$f\"",
            "printf -v f %s MAIN/made; rm \"$f\"",
            "set -- MAIN/made; touch \"$1\"",
            "f=src/x; printf -v f %s MAIN/made; rm \"$f\"",
            "f=src; unset f; rm -rf \"$f/x\"",
            "declare -n r=f; r=MAIN/made; rm \"$f\"",
            "f=src; . ./run.sh; rm -rf $f/x",
        ],
    ),
    class(
        "`cd` and what follows",
        false,
        Stops,
        &[
            "cd MAIN && touch made",
            "cd MAIN; ls",
            "cd ../../main && git commit -am x",
            "(cd MAIN && touch made)",
            "pushd MAIN/src && touch made",
            "cd OTHER",
            "cd / && touch tmp/made",
            "cd OUT && make install",
            "cd && touch made",
            "cd ~ ; echo x > made",
            "cd link && touch made",
            "cd $UNKNOWN && rm -rf src",
            "false && cd src; touch ../made",
            "if cd src; then :; fi; touch ../../made",
            "CDPATH=MAIN cd src; CDPATH=MAIN; cd src && touch made",
            "cd src & touch ../made",
            "(cd ..; touch made)",
            "cd ..; cd mine; cd -; touch made",
            "f() { cd ..; }; f; touch made",
        ],
    ),
    class(
        "git elsewhere",
        false,
        Stops,
        &[
            "git -C MAIN commit -am x",
            "git -C ../../main add .",
            "git -C link reset --hard",
            "git --git-dir=MAIN/.git --work-tree=MAIN checkout .",
            "git --git-dir MAIN/.git commit -m x --allow-empty",
            "GIT_DIR=MAIN/.git git commit --allow-empty -m x",
            "GIT_WORK_TREE=MAIN git checkout -- .",
            "env GIT_DIR=MAIN/.git git commit --allow-empty -m x",
            "export GIT_DIR=MAIN/.git; git commit --allow-empty -m x",
            "GIT_DIR=$UNKNOWN git commit -m x",
            "git -c core.worktree=MAIN checkout .",
            "declare -x GIT_INDEX_FILE=MAIN/.git/index; git add .",
            "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.worktree GIT_CONFIG_VALUE_0=MAIN git checkout .",
            "git clone . MAIN/made",
            "git archive -o MAIN/made HEAD",
            "git diff --output=MAIN/made",
            "git bundle create ../../main/made HEAD",
            "git format-patch -o OUT HEAD~1",
            "git init --separate-git-dir=OUT/x sub",
            "git checkout-index -a --prefix=OUT/",
            "git -C src -C ../.. add .",
            "git worktree add ../made",
        ],
    ),
    class(
        "branches and refs",
        false,
        Passes,
        &[
            "git checkout main",
            "git switch main",
            "git checkout -b made",
            "git checkout --detach",
            "git checkout main --",
            "git checkout -",
            "git branch -D task/other",
            "git branch -f task/other HEAD",
            "git branch made",
            "git branch -m made",
            "git update-ref refs/heads/task/other HEAD",
            "git symbolic-ref HEAD refs/heads/main",
            "git tag made",
            "git fetch . HEAD:main",
            "git fetch origin +main:main",
            "git rebase main task/other",
            "git rebase --update-refs main",
            "git notes add -m x",
            "git reflog expire --expire=now --all",
            "git gc --prune=now",
            "git replace HEAD HEAD~1",
            "git bisect start HEAD HEAD~1",
            "g=git; $g checkout main",
            "git 'check'out main",
        ],
    ),
    class(
        "stash and worktrees",
        true,
        Passes,
        &[
            "git stash",
            "git stash push -u",
            "git stash pop",
            "git stash drop",
            "git worktree remove --force OTHER",
            "git worktree prune",
            "git -c x.y=z stash",
        ],
    ),
    class(
        "pushes and remotes",
        true,
        Here,
        &[
            "git push",
            "git push origin HEAD:main --force",
            "git -C . push",
            "git remote add made MAIN",
            "git remote set-url origin MAIN",
            "git send-pack MAIN HEAD:refs/heads/main",
            "git lfs push origin main",
            "git -c alias.p=push p",
            "git up",
            "gh pr create --fill",
            "gh api -X POST repos/a/b/merges",
            "cargo publish",
        ],
    ),
    class(
        "configuration and hooks",
        false,
        Stops,
        &[
            "git config user.name me",
            "git config --global user.name me",
            "git config --unset user.name",
            "git config set user.name me",
            "git config core.hooksPath src",
            "echo x > MAIN/.git/hooks/pre-commit",
            "cp src/a.rs \"$(git rev-parse --git-common-dir)/hooks/pre-commit\"",
            "git config -f MAIN/.git/config a.b c",
            "git config --file=HOME_DIR/.gitconfig a.b c",
            "git lfs install",
            "git submodule sync",
            "git sparse-checkout set src",
        ],
    ),
    class(
        "its own settings",
        false,
        Passes,
        &[
            "echo '{}' > .claude/settings.local.json",
            "rm -rf .claude",
            "mv .claude gone",
            "rm .git",
            "echo 'gitdir: MAIN/.git' > .git",
            "echo 'gitdir: MAIN/.git' > SCRATCH/.git",
            "git clean -fdx",
            "echo '{\"disableAllHooks\":true}' > .claude/settings.json",
            "rm -rf MINE",
        ],
    ),
    class(
        "programs that write",
        false,
        Stops,
        &[
            "touch MAIN/made",
            "mkdir -p MAIN/made",
            "rm -rf MAIN/src",
            "rm MAIN/src/*.rs",
            "cp src/a.rs MAIN/src/",
            "cp -t MAIN/src src/a.rs",
            "cp --target-directory=MAIN src/a.rs",
            "mv MAIN/README.md .",
            "mv src/a.rs MAIN/",
            "install -m 755 src/a.rs OUT/made",
            "install -d MAIN/made",
            "rsync -a src/ MAIN/src/",
            "rsync -a --remove-source-files MAIN/src/ src/",
            "dd if=/dev/zero of=MAIN/made bs=1 count=1",
            "tee MAIN/made < src/a.rs",
            "echo x | tee -a MAIN/README.md > /dev/null",
            "truncate -s 0 MAIN/README.md",
            "chmod -R 777 MAIN",
            "chown nobody MAIN/README.md",
            "tar -xf a.tar -C MAIN",
            "tar xf a.tar --directory=MAIN",
            "tar -cf MAIN/made.tar src",
            "tar czf OUT/made.tgz src",
            "unzip a.zip -d MAIN",
            "sed -i s/a/b/ MAIN/README.md",
            "sed -n -i.bak p MAIN/README.md",
            "sed 'w MAIN/made' src/a.rs",
            "perl -pi -e s/a/b/ MAIN/README.md",
            "patch -d MAIN -p1 < x.diff",
            "patch MAIN/README.md x.diff",
            "sort -o MAIN/made src/a.rs",
            "awk '{print > \"MAIN/made\"}' src/a.rs",
            "split -l 1 src/a.rs OUT/made",
            "gzip MAIN/README.md",
            "unlink MAIN/README.md",
            "shred -u MAIN/README.md",
            "mkfifo MAIN/made",
            "mktemp OUT/madeXXXX",
            "vim -es -c 'w MAIN/made' -c q src/a.rs",
            "curl -o MAIN/made http://127.0.0.1:9/",
            "wget -O OUT/made http://127.0.0.1:9/",
            "gcc -o MAIN/made a.c",
            "cargo build --target-dir MAIN/target",
            "make -C MAIN",
            "npm --prefix MAIN install",
            "docker run -v MAIN:/x alpine touch /x/made",
            "docker run -v /:/x alpine touch /x/made",
            "xxd -r src/a.rs MAIN/made",
            "sed -e 's/a/touch MAIN\\/made/e' src/a.rs",
            "cp -a link here && touch here/made",
            "curl -sSfLo MAIN/made http://127.0.0.1:9/",
            "wget -qO MAIN/made http://127.0.0.1:9/",
            "sqlite3 x.db '.output MAIN/made'",
            "kill -9 -1",
            "make install",
            "npm install -g x",
            "cargo install ripgrep",
        ],
    ),
    class(
        "here-documents",
        false,
        Stops,
        &[
            "cat <<E > MAIN/made\nhello\nE",
            "cat > MAIN/made <<'E'\nhello\nE",
            "cat <<-E >> ../../main/README.md\n\thello\n\tE",
            "tee MAIN/made <<< hello",
            "bash <<E\ntouch MAIN/made\nE",
            "cat <<E | sh\ntouch MAIN/made\nE",
            "cat <<E\n$(touch MAIN/made)\nE",
            "cat <<'A' <<B\nx\nA\n`touch MAIN/made`\nB",
            "cat <<'E'\nE\ntouch MAIN/made",
            "cat <<E\na\\\nE\n$(touch MAIN/made)\nE",
        ],
    ),
    class(
        "shells in shells",
        false,
        Stops,
        &[
            "sh -c 'touch MAIN/made'",
            "bash -c \"touch MAIN/made\"",
            "bash -lc 'cd MAIN && touch made'",
            "bash -c 'touch \"$1\"' _ MAIN/made",
            "eval 'touch MAIN/made'",
            "eval touch MAIN/made",
            "eval \"$UNKNOWN\"",
            "echo 'touch MAIN/made' | sh",
            "printf 'touch MAIN/made' | bash -s",
            "echo dG91Y2ggeA== | base64 -d | sh",
            "bash <(echo touch MAIN/made)",
            "source /dev/stdin <<< 'touch MAIN/made'",
            "trap 'touch MAIN/made' EXIT",
            "sh -c '[[ a > MAIN/made ]]'",
            "$(echo touch) MAIN/made",
            "\"$UNKNOWN\" MAIN/made",
            "f() { touch \"$1\"; }; f MAIN/made",
            "alias t='touch MAIN/made'; t",
            "bash out.sh",
            "./out.sh",
            ". ./out.sh",
            "sh MAIN/tool.sh",
            "command_not_found_handle() { touch MAIN/made; }; nosuch",
            "=touch MAIN/made",
            "printf '%s\\n' 'touch MAIN/made' > s.sh && bash s.sh",
            "echo 'touch MAIN/made' > s.sh; chmod +x s.sh; ./s.sh",
            "cat > s.py <<'E'\nopen('MAIN/made','w')\nE\npython3 s.py",
            "touch $(<where)",
            "sudo -i touch MAIN/made",
            "make -f /dev/stdin <<E\na:; touch MAIN/made\nE",
            "- touch MAIN/made",
            "echo x >! MAIN/made",
        ],
    ),
    class(
        "programs that run programs",
        false,
        Stops,
        &[
            "env touch MAIN/made",
            "env -C MAIN touch made",
            "env -S 'touch MAIN/made'",
            "nohup touch MAIN/made &",
            "timeout 5 touch MAIN/made",
            "timeout -k 1 5s touch MAIN/made",
            "nice -n 5 touch MAIN/made",
            "sudo touch MAIN/made",
            "sudo -u root sh -c 'touch MAIN/made'",
            "command touch MAIN/made",
            "exec touch MAIN/made",
            "time touch MAIN/made",
            "setsid touch MAIN/made",
            "echo MAIN/made | xargs touch",
            "xargs -I{} cp src/a.rs {} < where",
            "find . -name a.rs -exec cp {} MAIN/made \\;",
            "find MAIN -name '*.rs' -delete",
            "find MAIN -type f -exec rm {} +",
            "find . -fprint MAIN/made",
            "find -L . -name README.md -exec rm {} +",
            "find . -name x -execdir sh -c 'touch MAIN/made' \\;",
            "busybox touch MAIN/made",
            "coproc touch MAIN/made",
            "flock lock touch MAIN/made",
            "watch -n 1 touch MAIN/made",
            "parallel touch ::: MAIN/made",
            "systemd-run --user touch MAIN/made",
            "tmux new -d 'touch MAIN/made'",
            "echo 'touch x' | at now",
            "git rebase -x 'touch MAIN/made' HEAD~1",
            "git submodule foreach 'touch MAIN/made'",
            "git -c core.editor='touch MAIN/made' commit",
            "GIT_EDITOR='touch MAIN/made' git commit",
        ],
    ),
    class(
        "substitutions and quoting",
        false,
        Stops,
        &[
            "echo $(touch MAIN/made)",
            "echo `touch MAIN/made`",
            "echo \"$(echo \"$(touch MAIN/made)\")\"",
            "cat <(touch MAIN/made)",
            "echo x > >(tee MAIN/made)",
            "t\\ouch MAIN/made",
            "'touch' \"MAIN\"/made",
            "tou\\\nch MAIN/made",
            "$'touch' MAIN/made",
            "$'\\x74ouch' $'MAIN/made'",
            "touch {MAIN,src}/made",
            "touch {a,MAIN/made}",
            "echo x > $'MAIN/made'",
            "[[ -n $(touch MAIN/made) ]]",
            "(( $(touch MAIN/made; echo 1) ))",
            "x=$(touch MAIN/made)",
            "case $(touch MAIN/made) in *) ;; esac",
            "echo ${x:-$(touch MAIN/made)}",
            "! touch MAIN/made",
            "true;touch MAIN/made",
            "true|touch MAIN/made",
            "while touch MAIN/made; do break; done",
            "echo a # b\ntouch MAIN/made",
            "echo 'a\n'; touch MAIN/made",
            "a=(1 2); touch MAIN/made",
            "echo \"unfinished; touch MAIN/made",
            "cat <<E; touch MAIN/made\nx\nE",
            "/bin/touch MAIN/made",
            "\\touch MAIN/made",
        ],
    ),
    class(
        "interpreters",
        false,
        Stops,
        &[
            "python3 -c \"open('MAIN/made','w')\"",
            "python3 - <<E\nopen('MAIN/made','w')\nE",
            "python3 -c 'import shutil; shutil.rmtree(\"../../main/src\")'",
            "python3 -c 'import os; os.system(\"git push\")'",
            "node -e \"require('fs').writeFileSync('MAIN/made','')\"",
            "perl -e 'open(F, \">MAIN/made\")'",
            "ruby -e 'File.write(\"MAIN/made\", 1)'",
            "python3 -c \"open('OUT/made','w').write('x')\"",
            "awk 'BEGIN { system(\"touch MAIN/made\") }'",
            "echo \"open('MAIN/made','w')\" | python3",
            "php -r 'touch(\"MAIN/made\");'",
        ],
    ),
    class(
        "devices and connections",
        false,
        Here,
        &[
            "echo x > /dev/tcp/127.0.0.1/80",
            "exec 3<>/dev/udp/127.0.0.1/53",
            "cat < /dev/tcp/127.0.0.1/80",
            "dd if=src/a.rs of=/dev/sda",
            "echo x > /dev/shm/made",
            "socat - EXEC:sh",
        ],
    ),
];

/// Other tools: name, input, as JSON.
pub const TOOLS: &[(&str, &str)] = &[
    ("Write", r#"{"file_path":"MAIN/made","content":"x"}"#),
    ("Write", r#"{"file_path":"OUT/made","content":"x"}"#),
    (
        "Write",
        r#"{"file_path":"/tmp/orchestra-made","content":"x"}"#,
    ),
    ("Write", r#"{"file_path":"../../main/made","content":"x"}"#),
    (
        "Write",
        r#"{"file_path":"MINE/../other/made","content":"x"}"#,
    ),
    ("Write", r#"{"file_path":"MINE/link/made","content":"x"}"#),
    ("Write", r#"{"file_path":"MINE/dangling","content":"x"}"#),
    ("Write", r#"{"file_path":"~/made","content":"x"}"#),
    (
        "Write",
        r#"{"file_path":"MINE/.git","content":"gitdir: MAIN/.git"}"#,
    ),
    (
        "Write",
        r#"{"file_path":"MINE/.claude/settings.local.json","content":"{}"}"#,
    ),
    (
        "Write",
        r#"{"file_path":"MINE/.claude/settings.json","content":"{}"}"#,
    ),
    (
        "Write",
        r#"{"file_path":"MAIN/.git/hooks/pre-commit","content":"x"}"#,
    ),
    ("Write", r#"{"file_path":7,"content":"x"}"#),
    ("Write", r#"{"content":"x"}"#),
    (
        "Edit",
        r#"{"file_path":"MAIN/README.md","old_string":"a","new_string":"b"}"#,
    ),
    (
        "Edit",
        r#"{"file_path":"link/README.md","old_string":"a","new_string":"b"}"#,
    ),
    ("MultiEdit", r#"{"file_path":"OTHER/a","edits":[]}"#),
    (
        "NotebookEdit",
        r#"{"notebook_path":"MAIN/n.ipynb","new_source":"x"}"#,
    ),
    (
        "NotebookEdit",
        r#"{"file_path":"MINE/n.ipynb","new_source":"x"}"#,
    ),
    ("Bash", r#"{"command":["touch","MAIN/made"]}"#),
    ("Bash", r#"{}"#),
    (
        "Bash",
        r#"{"command":"ls","dangerouslyDisableSandbox":true}"#,
    ),
    (
        "Monitor",
        r#"{"command":"touch MAIN/made","description":"x"}"#,
    ),
    ("PowerShell", r#"{"command":"New-Item x"}"#),
    ("EnterWorktree", r#"{"name":"made"}"#),
    ("ExitWorktree", r#"{"action":"keep"}"#),
    (
        "Agent",
        r#"{"prompt":"x","description":"y","isolation":"worktree"}"#,
    ),
    (
        "mcp__files__write_file",
        r#"{"path":"MAIN/made","content":"x"}"#,
    ),
    (
        "mcp__files__move",
        r#"{"source":"src/a.rs","destination":"../../main/made"}"#,
    ),
    ("mcp__shell__run", r#"{"command":"touch MAIN/made"}"#),
];

/// Shell lines of real work: all of them pass.
pub const ORDINARY: &[&str] = &[
    // Building and testing.
    "cargo build",
    "cargo test 2>&1 | tail -20",
    "cargo test --lib parser:: -- --nocapture",
    "cargo clippy --all-targets -- -D warnings",
    "cargo fmt && cargo check --message-format short 2>&1 | grep -E '^error' | head",
    "RUST_BACKTRACE=1 RUST_LOG=debug cargo test -- --test-threads=1",
    "CARGO_TARGET_DIR=target/other cargo build",
    "cargo run --bin tool -- --input src/a.rs --output target/out.json",
    "npm ci && npm test",
    "npm run build -- --mode production",
    "npx tsc --noEmit -p tsconfig.json",
    "yarn install --frozen-lockfile",
    "pnpm --filter ./sub test",
    "NODE_ENV=test node --test sub/",
    "pytest -x -q tests/test_a.py::test_b -k 'not slow'",
    "python3 -m pytest --basetemp=$TMPDIR/pytest",
    "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt",
    "source .venv/bin/activate",
    "python3 script.py --out result.csv",
    "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"a\"])' < sub/a.json",
    "python3 -c \"print(open('src/a.rs').read())\"",
    "python3 - <<'EOF'\nimport re\ns = open('src/a.rs').read()\nopen('src/a.rs', 'w').write(re.sub('a', 'b', s))\nEOF",
    "node -e \"console.log(require('./package.json').version)\"",
    "make -j4",
    "make -C sub test",
    "cd sub && make && ./a.out",
    "cmake -S . -B build && cmake --build build",
    "go build ./... && go test ./... -run TestX -coverprofile=cover.out",
    "go vet ./...",
    "mvn -q test",
    "./gradlew test --tests 'A.b'",
    "gcc -o build/a src/a.c && ./build/a",
    "bundle exec rspec spec/a_spec.rb",
    "dotnet test",
    "docker compose up -d db && docker compose logs db | tail",
    "docker build -t x .",
    "timeout 300 cargo test || echo failed",
    "nohup ./server.sh > server.log 2>&1 &",
    "env -u CI FOO=bar cargo test",
    "time cargo build --release",
    "nice -n 10 make",
    // Git.
    "git status",
    "git status --short && git diff --stat",
    "git diff HEAD~1 -- src/a.rs",
    "git diff main...HEAD",
    "git log --oneline -20 | cat",
    "git log -p --follow src/a.rs | head -100",
    "git show HEAD:src/a.rs",
    "git show main:src/a.rs > src/b.rs",
    "git blame -L 1,5 src/a.rs",
    "git fetch",
    "git fetch origin main",
    "git add -A && git commit -m 'push the stash: a worktree of `things`'",
    "git add src/a.rs && git commit -q -F - <<'EOF'\nSay why\n\nnot > what; cd MAIN\nEOF",
    "git commit -m \"$(cat <<'EOF'\nA message of several lines\n\n- it's \"quoted\"\nEOF\n)\"",
    "git commit --amend --no-edit",
    "git -c user.name=x -c user.email=y@z commit -m x",
    "GIT_AUTHOR_DATE='2020-01-01' GIT_EDITOR=true git commit --allow-empty -m x",
    "git rebase main",
    "GIT_SEQUENCE_EDITOR=: git rebase -i --autosquash main",
    "git rebase --continue",
    "git rebase --onto main HEAD~2",
    "git merge main --no-edit",
    "git cherry-pick abc123",
    "git revert --no-edit HEAD",
    "git reset --soft HEAD~1",
    "git reset --hard HEAD",
    "git checkout -- src/a.rs",
    "git checkout src/a.rs",
    "git checkout HEAD~1 -- src",
    "git checkout --theirs src/a.rs",
    "git restore --staged .",
    "git rm --cached src/a.rs",
    "git mv src/a.rs src/b.rs",
    "git clean -fd",
    "git branch --show-current",
    "git branch -a --contains HEAD",
    "git tag --list 'v*'",
    "git stash list",
    "git worktree list",
    "git remote -v",
    "git config user.name",
    "git config --get remote.origin.url",
    "git rev-parse --abbrev-ref HEAD",
    "git ls-files | xargs wc -l",
    "git ls-files '*.rs' | xargs sed -i 's/a/b/g'",
    "git grep -n 'TODO' -- src",
    "git apply fix.patch",
    "git diff > fix.patch",
    "git format-patch -1 -o patches",
    "cd \"$(git rev-parse --show-toplevel)\" && ls",
    "git init $TMPDIR/r && cd $TMPDIR/r && git checkout -b x && git commit --allow-empty -m x",
    "git clone -q . \"$TMPDIR/copy\" && git -C \"$TMPDIR/copy\" log -1",
    "git submodule update --init",
    // Files of its own.
    "mkdir -p src/new/deep && touch src/new/deep/x.rs",
    "echo x > src/b.rs",
    "echo x >> src/a.rs 2>/dev/null",
    "cat > notes.md <<'EOF'\ngit push\ncd MAIN\n$(touch MAIN/made)\nEOF",
    "cat <<EOF > src/version.rs\npub const V: &str = \"$(git rev-parse HEAD)\";\nEOF",
    "cat > src/gen.rs <<-EOF\n\tfn main() {}\n\tEOF",
    "tee src/b.rs <<< 'fn x() {}'",
    "printf '%s\\n' a b > list.txt",
    "cp src/a.rs src/b.rs && mv src/b.rs src/c.rs",
    "cp -r src sub/",
    "cp MAIN/.env .env",
    "cp -r MAIN/src/. src/",
    "rm -rf target node_modules dist",
    "rm -f src/*.orig",
    "find . -name '*.pyc' -delete",
    "find src -name '*.rs' -exec grep -l foo {} +",
    "find . -type f -name '*.js' -not -path './node_modules/*' | xargs grep -n foo",
    "find src -name '*.rs' -exec sed -i 's/a/b/' {} \\;",
    "find . -name '*.rs' -print0 | xargs -0 sed -i -e 's/old/new/g'",
    "sed -i 's#/usr/local#/opt#g; s/a/b/' src/a.rs",
    "sed -i.bak -e '1,3d' src/a.rs && rm src/a.rs.bak",
    "sed -n '10,20p' src/a.rs",
    "grep -rl foo src | xargs sed -i 's/foo/bar/g'",
    "for f in src/*.rs; do sed -i 's/a/b/' \"$f\"; done",
    "for f in $(git ls-files '*.rs'); do echo \"$f\"; rustfmt \"$f\"; done",
    "find src -name '*.js' | while read -r f; do mv \"$f\" \"${f%.js}.ts\"; done",
    "for i in {1..5}; do echo $i > out_$i.txt; done",
    "for i in $(seq 1 3); do touch \"sub/$i.txt\"; done",
    "i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i >> n.txt; done",
    "awk '{ sum += $1 } END { print sum }' sub/a.json > sum.txt",
    "awk -F, '{print $2}' sub/a.json | sort | uniq -c | sort -rn | head",
    "jq '.a |= 1' sub/a.json > sub/b.json && mv sub/b.json sub/a.json",
    "jq -r '.[] | select(.x > 3) | .y' sub/a.json",
    "perl -pi -e 's/a/b/' src/a.rs",
    "chmod +x run.sh && ./run.sh",
    "ln -s a.rs src/alias.rs",
    "tar czf dist.tgz src && tar xzf dist.tgz -C sub",
    "unzip -q a.zip -d sub",
    "patch -p1 < fix.patch",
    "dd if=/dev/urandom of=sub/random bs=1k count=1 2>/dev/null",
    "sort -u list.txt -o list.txt",
    "diff -u src/a.rs src/b.rs > a.diff; true",
    "truncate -s 0 server.log",
    "touch MINE/src/z.rs",
    "(cd sub && touch x) && ls sub",
    "pushd sub > /dev/null && touch y && popd > /dev/null",
    "cd src && cp a.rs ../sub/b.rs && cd .. && ls",
    "mkdir -p build && cd build && touch ../built",
    // Temporary files.
    "echo x > $TMPDIR/x",
    "T=$(mktemp) && echo x > \"$T\" && cat \"$T\" && rm \"$T\"",
    "d=$(mktemp -d); cp -r src \"$d/\"; (cd \"$d\" && ls); rm -rf \"$d\"",
    "cargo test > \"${TMPDIR:-/tmp}/out.txt\" 2>&1; tail \"${TMPDIR:-/tmp}/out.txt\"",
    "echo x > SCRATCH/y && rm SCRATCH/y",
    "curl -fsS -o \"$TMPDIR/page\" http://localhost:8080/",
    "trap 'rm -rf \"$TMPDIR/a\"' EXIT; mkdir $TMPDIR/a",
    // Looking around, also outside.
    "ls -la",
    "cat MAIN/src/a.rs",
    "diff -r MAIN/src src",
    "ls MAIN OTHER",
    "grep -rn foo MAIN/src",
    "find MAIN -name '*.rs' | head",
    "head -5 /etc/passwd; wc -l /etc/hosts",
    "cd /usr/include && grep -rn stdio.h . | head -3",
    "cat ~/.cargo/config.toml 2>/dev/null",
    "which python3 && python3 --version",
    "env | grep -i rust | sort",
    "echo $PATH; echo \"$HOME\"",
    "ps aux | grep -v grep | grep server",
    "test -f src/a.rs && echo yes || echo no",
    "[ -d src ] && echo yes",
    "if [[ -f src/a.rs && ! -d x ]]; then cat src/a.rs; else echo none; fi",
    "case $(uname) in Linux) echo l;; Darwin) echo d;; *) echo o;; esac",
    "X=$(git rev-parse HEAD); echo \"$X\" | cut -c1-7",
    "echo 'git push'; grep -rn 'git stash' .",
    "command -v cargo >/dev/null 2>&1 && echo there",
    "curl -s http://localhost:3000/health | jq .",
    "ss -ltnp 2>/dev/null | grep 3000; lsof -i :3000",
    "kill $(cat server.pid) 2>/dev/null; sleep 1",
    "wc -l < src/a.rs",
    "cat src/a.rs | tr 'a-z' 'A-Z' | head -c 100",
    "echo done >&2; exit 0",
    "export FOO=bar; ./run.sh",
    "f() { echo \"$1\" >> log.txt; }; f a; f b",
    "set -euo pipefail; cargo build",
    "xxd src/a.rs | head -2; base64 < src/a.rs",
    "echo '{\"a\": [1, 2]}' | python3 -m json.tool",
    "orchestra report progress half --percent 50",
    "orchestra report stuck --reason 'may I `git push`? or git stash; rm -rf ..' --option a",
    "rg -n 'fn main' --type rust | head",
    "psql postgres://localhost/db -c 'select 1 > 0'",
    "sqlite3 sub/test.db 'create table t(a); insert into t values (1);'",
    "gh pr list --limit 3",
    "gh api repos/a/b/pulls",
    "cd $(mktemp -d) && git init -q && touch x && git add x",
    "make install DESTDIR=\"$PWD/stage\"",
    "./configure --prefix=/usr/local",
    "while getopts ab o; do echo $o; done",
    "set -- a b; echo \"$1\" > sub/first.txt",
    "bash -c 'cargo test && echo ok'",
    "bash run.sh --fast",
    "sh ./run.sh",
    "openssl rand -hex 8",
    "date +%s > stamp && cat stamp",
    "tree -L 2 -I node_modules | head -50",
    "echo \"a\" \\\n  | cat \\\n  > sub/cat.txt",
    "# just a remark\nls # and another",
    "mkdir -p \"sub/with space\" && touch \"sub/with space/x\"",
    "echo ${BASH_VERSION:-none} $((1 + 2)) $? $$",
    "printf 'a\\tb\\n' | column -t",
    "xargs -n1 echo < list.txt",
    "echo src/a.rs | xargs cat",
    "wait; jobs",
    "stat -c %s src/a.rs",
];

/// Other tools that pass: name, input.
pub const ORDINARY_TOOLS: &[(&str, &str)] = &[
    ("Write", r#"{"file_path":"MINE/src/new.rs","content":"x"}"#),
    ("Write", r#"{"file_path":"src/new.rs","content":"x"}"#),
    ("Write", r#"{"file_path":"SCRATCH/x","content":"x"}"#),
    (
        "Write",
        r#"{"file_path":"MINE/.claude/agents/x.md","content":"x"}"#,
    ),
    ("Write", r#"{"file_path":"MINE/.gitignore","content":"x"}"#),
    (
        "Edit",
        r#"{"file_path":"MINE/src/a.rs","old_string":"a","new_string":"b"}"#,
    ),
    (
        "Edit",
        r#"{"file_path":"./src/../src/a.rs","old_string":"a","new_string":"b"}"#,
    ),
    ("MultiEdit", r#"{"file_path":"MINE/src/a.rs","edits":[]}"#),
    (
        "NotebookEdit",
        r#"{"notebook_path":"MINE/n.ipynb","new_source":"x"}"#,
    ),
    ("Read", r#"{"file_path":"MAIN/README.md"}"#),
    ("Grep", r#"{"pattern":"x","path":"MAIN"}"#),
    ("Glob", r#"{"pattern":"**/*.rs","path":"/usr"}"#),
    (
        "Agent",
        r#"{"prompt":"look at MAIN/README.md","description":"y"}"#,
    ),
    (
        "Monitor",
        r#"{"command":"tail -f server.log","description":"x"}"#,
    ),
    ("WebFetch", r#"{"url":"https://example.com","prompt":"x"}"#),
    ("TaskCreate", r#"{"subject":"x"}"#),
    ("mcp__files__read_file", r#"{"path":"MAIN/README.md"}"#),
    ("mcp__db__query", r#"{"sql":"select '../x'"}"#),
];

/// Places as an instance has them.
#[derive(Clone)]
pub struct Ground {
    /// The folder that all of it lies in, without links.
    pub root: PathBuf,
}

impl Ground {
    /// Makes them in a folder that is there.
    pub fn make(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let ground = Self { root };
        for folder in [
            "main/src",
            "main/.git/hooks",
            "trees/other/src",
            "trees/mine/src",
            "trees/mine/sub",
            "trees/mine/deep",
            "trees/mine/.claude",
            "scratch",
            "home",
            "out",
        ] {
            fs::create_dir_all(ground.root.join(folder)).unwrap();
        }
        ground.dress(&ground.work());
        fs::write(ground.main().join("README.md"), "read me\n").unwrap();
        fs::write(ground.main().join("tool.sh"), "touch made\n").unwrap();
        fs::write(ground.work().join(".git"), "gitdir: elsewhere\n").unwrap();
        ground
    }

    /// What the attempts and the ordinary work find in the worktree.
    pub fn dress(&self, work: &Path) {
        for folder in ["src", "sub", "deep", ".claude"] {
            fs::create_dir_all(work.join(folder)).unwrap();
        }
        fs::write(work.join("src/a.rs"), "a\n").unwrap();
        fs::write(work.join("sub/a.json"), "{}\n").unwrap();
        let out = format!(
            "#!/bin/sh\necho hello\ntouch {}/made\n",
            self.main().display()
        );
        fs::write(work.join("out.sh"), out).unwrap();
        fs::write(
            work.join("run.sh"),
            "#!/bin/sh\nset -e\nfor x in \"$@\"; do echo \"$x\" >> \"$LOG\"; done\ncd \"$(dirname \"$0\")\"\nrm -rf /var/tmp/x\n",
        )
        .unwrap();
        fs::write(
            work.join("where"),
            format!("{}/made\n", self.main().display()),
        )
        .unwrap();
        symlink(self.main(), work.join("link")).unwrap();
        symlink(self.main(), work.join("deep/link")).unwrap();
        symlink(self.main().join("made"), work.join("dangling")).unwrap();
    }

    pub fn main(&self) -> PathBuf {
        self.root.join("main")
    }

    pub fn work(&self) -> PathBuf {
        self.root.join("trees/mine")
    }

    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// A text with the places put in.
    pub fn put(&self, text: &str) -> String {
        let place = |name: &str| self.root.join(name).display().to_string();
        text.replace("MAIN", &place("main"))
            .replace("OTHER", &place("trees/other"))
            .replace("MINE", &place("trees/mine"))
            .replace("SCRATCH", &place("scratch"))
            .replace("HOME_DIR", &place("home"))
            .replace("OUT", &place("out"))
    }
}

/// The page about isolation, made out of the table.
#[allow(dead_code, reason = "one of those that share this makes the page")]
pub fn page() -> String {
    let mut text = String::from(PAGE_TOP);
    text.push_str("| way out | attempts | guard | deny rules | sandbox | for instance |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for class in CLASSES {
        let sandbox = match class.sandbox {
            Sandbox::Stops => "stops",
            Sandbox::Passes => "-",
            Sandbox::Here => "in part",
        };
        let example = class.attempts[0].replace('|', "\\|").replace('\n', "⏎");
        text.push_str(&format!(
            "| {} | {} | stops | {} | {sandbox} | `{example}` |\n",
            class.name.replace('|', "\\|"),
            class.attempts.len(),
            if class.rules { "stops" } else { "-" },
        ));
    }
    text.push_str(&format!(
        "| other tools | {} | stops | `Edit`, `Write` into the main checkout | `Edit`, `Write`: stops \
         | `Write`, `NotebookEdit`, `EnterWorktree`, tools of MCP servers |\n",
        TOOLS.len()
    ));
    text.push_str(PAGE_END);
    text
}

const PAGE_TOP: &str = "\
# What keeps instances apart

Every task is worked on by a client of its own, in a git worktree of its own. Three layers keep
it there. This page is made out of the table that they are tested with.

- **The guard** (`orchestra-guard`) is asked by the client before every tool that writes or runs
  something, and says why when it refuses, so that the instance can do it another way. It reads
  shell lines as the shell would: folders, variables, functions, here-documents, scripts in
  scripts. What it cannot understand it refuses, and when it fails itself the client refuses
  (`onFailure: block`). It is always on where the plugin's programs are installed.
- **Deny rules** of the client, in the worktree's own settings: they hold without the guard.
- **A sandbox** of the operating system, when it is configured: `sandbox = \"bubblewrap\"` (the
  run does not start without it) or `sandbox = \"auto\"` (where it is to be had). The whole file
  system can be read, and only the instance's own places can be written.

An instance may write to its worktree and to a folder for temporary files beside the worktrees,
which is `$TMPDIR` there, and goes with the worktree. `/tmp` is not open: it belongs to everybody, two
instances would overwrite each other's `/tmp/out.txt`, and checkouts lie there as well. With the
sandbox `/tmp` *is* the instance's own folder.

";

const PAGE_END: &str = "
*stops*: every attempt of the table for the guard; the first one of its kind for the deny rules;
for the sandbox it is tried that nothing is changed. *in part*: what would change this machine;
not what goes over a network.

## What none of them stops

- **The guard sees calls, not programs.** A build script, a test or a program in a file does what
  it does; of shell scripts in the worktree only what is certain is refused (a push, a write into the
  main checkout). Aliases of the person's shell are not known to it. The sandbox stops what these
  write.
- **The sandbox does not tell the branches of tasks apart**: they lie in one folder, so that an
  instance that gets round the guard could move another task's branch, or the stash. Commits
  that were merged are frozen by then, and every attempt leaves a backup.
- **The set-up and verify commands run outside the sandbox.** They are the person's, but they run code
  of the worktree.
- **The network is open**, and so is reading: what must not be read must not be readable.
- Sockets outside of the places that are hidden (`$XDG_RUNTIME_DIR`, Docker, Podman, containerd, the
  system bus): abstract ones, and those of other programs in the home folder.
- With the sandbox on, containers cannot be started from inside.
- On macOS there is no bubblewrap; `auto` says so.

## What the sandbox opens

The worktree (but for `.git` and the settings), the folder for temporary files, git's folder but for
configuration, hooks, index, branches other than those of tasks, and the client's folder
(`~/.claude`, but for settings, agents, commands, hooks, skills and plugins that are there); the
instance's inbox, for `orchestra report`; caches in the home folder that are there (`~/.cache`,
`~/.cargo/registry`, `~/.npm`, `~/go/pkg`, `~/.m2/repository` and the like).
";
