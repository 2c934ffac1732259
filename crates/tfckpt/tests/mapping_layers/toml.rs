//! Mappings in TOML.

use super::*;

const TEXT: &str = r#"
names = "slim"
scope = "net"
ignore = ["global_step", "{x:**}/Adam"]

[[rules]]
path = "fc.weight"
variable = "logits/weights"
transpose = [1, 0]
dtype = "float16"

[[rules]]
path = "norm.weight"
constant = 1

[[rules]]
path = "enc.{i}"
layer = "lstm"
cell = "basic_lstm_cell"
forget_bias = 0.5
note = "as it was trained"

[rules.variables]
kernel = "enc{i}/W"
bias = "enc{i}/b"

[[rules]]
path = "table"
variables = ["t/0", "t/1"]
axis = 0
"#;

const JSON: &str = r#"{
    "names": "slim", "scope": "net", "ignore": ["global_step", "{x:**}/Adam"],
    "rules": [
        { "path": "fc.weight", "variable": "logits/weights", "transpose": [1, 0], "dtype": "float16" },
        { "path": "norm.weight", "constant": 1 },
        { "path": "enc.{i}", "layer": "lstm", "cell": "basic_lstm_cell", "forget_bias": 0.5, "note": "as it was trained",
          "variables": { "kernel": "enc{i}/W", "bias": "enc{i}/b" } },
        { "path": "table", "variables": ["t/0", "t/1"], "axis": 0 }
    ]
}"#;

#[test]
fn a_mapping_is_the_same_in_either_language() {
    let (json, toml) = (Mapping::from_json(JSON).unwrap(), Mapping::from_toml(TEXT).unwrap());
    assert_eq!(json, toml);
    assert_eq!(Mapping::from_toml(&json.to_toml()).unwrap(), json, "{}", json.to_toml());
    assert_eq!(Mapping::from_toml("").unwrap(), Mapping::default());
    assert_eq!(NameMap::from(json), NameMap::from(toml));
    for case in cases() {
        let mapping = Mapping::from_json(&format!("{{ \"rules\": [{}] }}", case.rule)).unwrap();
        assert_eq!(Mapping::from_toml(&mapping.to_toml()).unwrap(), mapping);
    }
}

#[test]
fn the_end_of_a_file_says_what_it_is_and_mistakes_have_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (json, toml) = (write("map.json", JSON), write("map.toml", TEXT));
    assert_eq!(Mapping::open(&json).unwrap(), Mapping::open(&toml).unwrap());
    let told = |name: &str, text: &str| Mapping::open(write(name, text)).unwrap_err().to_string();
    let (of_json, of_toml) = (
        told("a.json", &JSON.replace("\"axis\"", "\"axes\"")),
        told("a.toml", &TEXT.replace("axis = 0", "axes = 0")),
    );
    for (text, place) in [(of_json, "line 8"), (of_toml, "line 30 column 1")] {
        assert!(text.contains("unknown field `axes`") && text.contains(place), "{text}");
        assert!(text.contains("a.json") || text.contains("a.toml"), "{text}");
    }
    let text = told("b.toml", "names = \"slim\nx");
    assert!(text.contains("this is no mapping") && text.contains("line 2"), "{text}");
    let text = told(
        "b.toml",
        &TEXT.replace("variables = [\"t/0\", \"t/1\"]", "variables = 3"),
    );
    assert!(
        text.contains("a list of variables") && text.contains("line 29 column 13"),
        "{text}"
    );
    let text = told("b.toml", &TEXT.replace("\"enc{i}/W\"", "7"));
    assert!(
        text.contains("expected a string") && text.contains("line 24 column 10"),
        "{text}"
    );
    for (text, rule) in [
        (
            told("c.json", &JSON.replace("[1, 0]", "[1, 1]")),
            "rule 1 of the mapping",
        ),
        (
            told("c.toml", &TEXT.replace("[1, 0]", "[1, 1]")),
            "rule 1 of the mapping",
        ),
    ] {
        assert!(text.contains(rule) && text.contains("each once"), "{text}");
    }
    assert!(matches!(
        Mapping::open(dir.path().join("none.toml")),
        Err(Error::Io { action: "read", .. })
    ));
}
