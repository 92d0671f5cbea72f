//! Which account an instance uses, as far as its environment tells: runs of one account share
//! what its provider allows.

use uuid::Uuid;

use super::environment::Environment;
use crate::format::launch_file::AgentChoice;

/// Names the account, whatever else is known of it.
pub const ACCOUNT_VARIABLE: &str = "ORCHESTRA_BREAKER";

/// Everything by which the client decides whom it asks and who it is.
const OF_ACCOUNT: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "AWS_PROFILE",
    "AWS_REGION",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CONFIG_DIR",
    "CLOUD_ML_REGION",
    "HOME",
];

/// So that the same texts give other keys elsewhere.
const NAME_SPACE: Uuid = Uuid::from_u128(0x6f72_6368_6573_7472_612d_6272_6561_6b65);

/// Characters of a key: 64 bits.
const LENGTH: usize = 16;

/// The account as a short text that is part of file names. It is a one-way hash: no key or
/// token can be read from it.
///
/// The scripted player has no account, so every run of it is one of its own (`token` is the
/// run's) and neither demonstrations nor tests hold others back.
#[must_use]
pub fn key(agent: &AgentChoice, env: &Environment, token: &str) -> String {
    let given = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let mut text: Vec<u8> = Vec::new();
    let mut add = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.push(0);
        text.extend_from_slice(value);
        text.push(0);
    };
    if let Some(name) = given(ACCOUNT_VARIABLE) {
        add(ACCOUNT_VARIABLE, name.as_encoded_bytes());
    } else {
        match agent {
            AgentChoice::Scripted { .. } => add("scripted", token.as_bytes()),
            AgentChoice::Claude { .. } => {
                for name in OF_ACCOUNT {
                    if let Some(value) = given(name) {
                        add(name, value.as_encoded_bytes());
                    }
                }
            }
        }
    }
    let hash = Uuid::new_v5(&NAME_SPACE, &text).simple().to_string();
    hash.chars().take(LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claude() -> AgentChoice {
        AgentChoice::Claude {
            program: "claude".into(),
        }
    }

    #[test]
    fn accounts_are_told_apart_and_secrets_are_not_told() {
        let key = |vars: &[(&str, &str)]| {
            let env = Environment::from_vars(vars.iter().copied());
            super::key(&claude(), &env, "run")
        };
        let plain = key(&[("HOME", "/h"), ("PATH", "/bin")]);
        assert_eq!(plain, key(&[("HOME", "/h"), ("PATH", "/usr/bin")]));
        assert_eq!(plain, key(&[("HOME", "/h"), ("ANTHROPIC_API_KEY", "")]));
        let secret = key(&[("HOME", "/h"), ("ANTHROPIC_API_KEY", "sk-1")]);
        for other in [
            key(&[("HOME", "/h"), ("ANTHROPIC_API_KEY", "sk-2")]),
            key(&[("HOME", "/h"), ("ANTHROPIC_AUTH_TOKEN", "sk-1")]),
            key(&[("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "/c")]),
            key(&[("HOME", "/other")]),
            plain,
        ] {
            assert_ne!(secret, other);
        }
        assert_eq!(secret.len(), LENGTH);
        assert!(secret.chars().all(|c| c.is_ascii_hexdigit()));
        let named = key(&[("HOME", "/h"), (ACCOUNT_VARIABLE, "team")]);
        assert_eq!(named, key(&[("HOME", "/x"), (ACCOUNT_VARIABLE, "team")]));
    }

    #[test]
    fn runs_of_the_player_share_nothing_unless_they_are_told_to() {
        let player = AgentChoice::Scripted { script: None };
        let env = Environment::from_vars([("HOME", "/h")]);
        assert_ne!(key(&player, &env, "a"), key(&player, &env, "b"));
        assert_ne!(key(&player, &env, "a"), key(&claude(), &env, "a"));
        let env = Environment::from_vars([(ACCOUNT_VARIABLE, "shared")]);
        assert_eq!(key(&player, &env, "a"), key(&player, &env, "b"));
    }
}
