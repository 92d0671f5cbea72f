//! Signed commits, by the person's own git configuration.

use super::*;
use crate::git::testkit::{git_in, write_executable};

/// A key of its own; its files are beside the repository.
fn ssh_key(f: &Fixture) -> std::path::PathBuf {
    let key = f.beside("key");
    let path = key.to_str().unwrap();
    // By way of git, which is the only program that this room may start.
    let script = "alias.keygen=!ssh-keygen";
    let call = ["-c", script, "keygen", "-q", "-t", "ed25519", "-N", ""];
    git_in(&f.root, &[&call[..], &["-f", path]].concat());
    assert!(key.is_file(), "ssh-keygen made no key");
    key
}

#[test]
fn commits_for_delivery_are_signed_as_configured() {
    let f = Fixture::new();
    let repo = f.repo();
    let [_, main, head] = plain(&f);
    let key = ssh_key(&f);
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let signers = f.beside("signers");
    std::fs::write(&signers, format!("ada@example.org {public}")).unwrap();
    f.git(&["config", "gpg.format", "ssh"]);
    f.git(&["config", "user.signingKey", key.to_str().unwrap()]);
    let allowed = signers.to_str().unwrap();
    f.git(&["config", "gpg.ssh.allowedSignersFile", allowed]);
    let base_branch = branch("main");
    let task = task("api", &head);
    for (style, count) in [
        (DeliveryStyle::Merge, 1),
        (DeliveryStyle::Squash, 1),
        (DeliveryStyle::Rebase, 2),
    ] {
        for sign in [false, true] {
            f.git(&["config", "commit.gpgSign", &sign.to_string()]);
            let how = LinkHow::new(&base_branch, style);
            let tip = commit_of(link(&repo, &main, &task, &how).unwrap());
            let signatures = log(&f, "%G?%GS", &format!("{main}..{tip}"));
            let expected = if sign { "Gada@example.org" } else { "N" };
            assert_eq!(signatures, vec![expected; count], "{style:?}");
        }
    }
    let how = LinkHow::new(&base_branch, DeliveryStyle::Rebase);
    let tip = commit_of(link(&repo, &main, &task, &how).unwrap());
    assert_eq!(
        log(&f, "%an %at %cn", &format!("{main}..{tip}")),
        ["Wrote 2 1700000002 Ada", "Wrote 3 1700000003 Ada"],
        "who wrote it and when stays"
    );
    std::fs::remove_file(&key).unwrap();
    let error = link(&repo, &main, &task, &how).unwrap_err();
    assert!(matches!(error, GitError::Signing { .. }), "{error}");
    let error = error.to_string();
    for part in [
        "commit.gpgSign",
        "user.signingKey",
        "git commit --allow-empty -S",
    ] {
        assert!(error.contains(part), "{part} missing in {error}");
    }
}

/// The other formats differ only in the program that git starts.
#[test]
fn the_signing_program_of_each_format_is_the_configured_one() {
    let f = Fixture::new();
    let repo = f.repo();
    let [_, main, head] = plain(&f);
    let program = f.beside("sign");
    write_executable(
        &program,
        "cat > /dev/null\n\
         echo '[GNUPG:] SIG_CREATED ' >&2\n\
         echo '-----BEGIN PGP SIGNATURE-----'\n\
         echo \"by $*\"\n\
         echo '-----END PGP SIGNATURE-----'",
    );
    let base_branch = branch("main");
    f.git(&["config", "commit.gpgSign", "true"]);
    f.git(&["config", "user.signingKey", "my-key"]);
    for format in ["openpgp", "x509"] {
        f.git(&["config", "gpg.format", format]);
        let key = format!("gpg.{format}.program");
        f.git(&["config", &key, program.to_str().unwrap()]);
        let how = LinkHow::new(&base_branch, DeliveryStyle::Squash);
        let tip = commit_of(link(&repo, &main, &task("api", &head), &how).unwrap());
        let raw = f.git(&["cat-file", "commit", tip.as_str()]);
        assert!(
            raw.contains("gpgsig -----BEGIN PGP") && raw.contains("my-key"),
            "{raw}"
        );
    }
}
