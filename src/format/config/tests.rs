use super::*;

#[test]
fn the_nearer_layer_wins_and_is_named() {
    let layers = Layers {
        flags: Layer {
            max_workers: Some(2),
            ..Layer::default()
        },
        environment: Layer::from_env(|name| match name {
            "ORCHESTRA_MAX_WORKERS" => Some("3"),
            "ORCHESTRA_MODEL" => Some("5"),
            "ORCHESTRA_ALLOWED_TOOLS" => Some("Read, Edit"),
            "ORCHESTRA_MERGE" => Some("review"),
            _ => None,
        })
        .unwrap(),
        user: Layer::from_toml("verify = \"make test\"\nmodel = \"big\"\n", "u").unwrap(),
        project: Layer::from_toml("verify = \"true\"\nsuccess_percent = 90", "p").unwrap(),
    };
    let resolved = resolve(&layers);
    assert_eq!(resolved.max_workers, 2);
    assert_eq!(resolved.model.as_deref(), Some("5"));
    assert_eq!(resolved.verify.as_deref(), Some("make test"));
    assert_eq!(resolved.allowed_tools, ["Read", "Edit"]);
    assert_eq!(resolved.merge, MergeChoice::Review);
    assert_eq!(resolved.success_percent, 90);
    assert_eq!(resolved.timeout_seconds, 3600);
    let source = |key| resolved.rows.iter().find(|r| r.key == key).unwrap().source;
    for (key, expected) in [
        ("max_workers", Source::Flag),
        ("model", Source::Environment),
        ("verify", Source::User),
        ("success_percent", Source::Project),
        ("timeout_seconds", Source::Default),
        ("setup", Source::Default),
    ] {
        assert_eq!(source(key), expected, "{key}");
    }
    assert!(resolved.rows.iter().all(|row| !row.purpose.is_empty()));
}

#[test]
fn lists_and_tables_are_read_from_files_and_variables() {
    let text = "union_files = ['CHANGELOG.md']\n[lockfiles]\n'*.lock' = 'make lock'\n";
    let mut layers = Layers {
        project: Layer::from_toml(text, "p").unwrap(),
        ..Layers::default()
    };
    let resolved = resolve(&layers);
    assert_eq!(resolved.union_files, ["CHANGELOG.md"]);
    assert_eq!(resolved.lockfiles["*.lock"], "make lock");
    layers.environment = Layer::from_env(|name| match name {
        "ORCHESTRA_UNION_FILES" => Some("a, b/*"),
        "ORCHESTRA_LOCKFILES" => Some("{ 'Cargo.lock' = '' }"),
        _ => None,
    })
    .unwrap();
    let resolved = resolve(&layers);
    assert_eq!(resolved.union_files, ["a", "b/*"]);
    assert_eq!(resolved.lockfiles["Cargo.lock"], "");
    assert_eq!(resolve(&Layers::default()).union_files.len(), 0);
}

#[test]
fn an_empty_text_takes_a_value_away() {
    let layers = Layers {
        flags: Layer {
            verify: Some(String::new()),
            ..Layer::default()
        },
        project: Layer::from_toml("verify = 'make'", "p").unwrap(),
        ..Layers::default()
    };
    assert_eq!(resolve(&layers).verify, None);
}

#[test]
fn faults_name_the_line_and_the_remedy() {
    for (text, said) in [
        (
            "\nmax_worker = 3\n",
            "c.toml:2: there is no key `max_worker`. Did you mean `max_workers`?",
        ),
        (
            "a = 1",
            "c.toml:1: there is no key `a`. Known keys: max_workers",
        ),
        (
            "model = 'x'\nmax_workers = 0",
            "c.toml:2: the value of `max_workers` is out of range. It must be from 1",
        ),
        (
            "merge = 'yes'",
            "c.toml:1: the value of `merge` does not fit: unknown variant `yes`",
        ),
        (
            "verify = [1]",
            "c.toml:1: the value of `verify` does not fit",
        ),
        (
            "union_files = ['a', '[']",
            "c.toml:1: the value of `union_files` is out of range. It must be a list of globs",
        ),
        (
            "\nlockfiles = { '{a' = 'make' }",
            "c.toml:2: the value of `lockfiles` is out of range",
        ),
        ("x = \ny = 2", "c.toml:1: this is not TOML"),
        ("model = \"\u{1b}[2J", "c.toml:1: this is not TOML"),
    ] {
        let fault = Layer::from_toml(text, "c.toml").unwrap_err().to_string();
        assert!(fault.starts_with(said), "{text}: {fault}");
    }
    let fault = Layer::from_env(|n| (n == "ORCHESTRA_MAX_WORKERS").then_some("many"));
    assert!(
        fault
            .unwrap_err()
            .to_string()
            .starts_with("ORCHESTRA_MAX_WORKERS: the value of")
    );
}

#[test]
fn the_schema_knows_every_key() {
    let schema = json_schema();
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties.len(), Layer::KEYS.len());
    assert_eq!(schema["additionalProperties"], false);
    for key in Layer::KEYS {
        assert!(properties[*key]["description"].is_string(), "{key}");
    }
}
