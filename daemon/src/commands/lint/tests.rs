mod definitions;
mod pods;

use super::*;
use crate::cli::LintFormat;

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    files
        .iter()
        .map(|(name, text)| Source {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        })
        .collect()
}

fn printed(files: &[(&str, &str)], format: LintFormat) -> String {
    let sources = sources(files);
    let mut out = Vec::new();
    output::print(&check(&sources).0, format, &mut out).expect("written");
    String::from_utf8(out).expect("text")
}

/// The findings in one file, one line each.
fn findings(text: &str) -> String {
    printed(&[("f.yaml", text)], LintFormat::Text)
}

/// Asserts that each file has exactly one finding, with these parts.
fn assert_found(cases: &[(&str, &[&str])]) {
    for (text, parts) in cases {
        let found = findings(text);
        assert_eq!(found.lines().count(), 1, "{text}\n{found}");
        for part in *parts {
            assert!(found.contains(part), "{found} should have {part:?}\n{text}");
        }
    }
}

fn definition(name: &str, config: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: {name}\nspec:\n  \
         config: '{config}'\n"
    )
}

fn pod(networks: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    k8s.v1.cni.cncf.io/networks: '{networks}'\n"
    )
}

#[test]
fn objects_and_networks_are_compared_within_a_directory() {
    let network = |name: &str, namespace: &str, own: &str, subnet: &str| {
        let config = format!(
            "{{\"name\": \"{own}\", \"type\": \"macvlan\", \"ipam\": {{\"type\": \"host-local\", \"subnet\": \"{subnet}\"}}}}"
        );
        definition(name, &config)
            .replace("metadata:", &format!("metadata:\n  namespace: {namespace}"))
    };
    let a = network("a", "x", "a", "10.1.0.0/24");
    for (other, parts) in [
        (
            a.clone(),
            Some("error[duplicate]: NetworkAttachmentDefinition x/a"),
        ),
        (
            network("b", "x", "b", "10.1.0.0/16"),
            Some("warning[ip-overlap]"),
        ),
        (network("b", "x", "b", "10.2.0.0/16"), None),
        // Both use the same leases.
        (network("b", "x", "a", "10.1.0.0/24"), None),
        (
            network("a", "y", "a", "10.2.0.0/16"),
            Some("warning[shared-name]"),
        ),
        // A copy shares its leases with the original on purpose.
        (network("a", "y", "a", "10.1.0.0/24"), None),
        (network("a", "y", "b", "10.1.0.0/24"), None),
    ] {
        let files = [("dir/a.yaml", a.as_str()), ("dir/b.yaml", other.as_str())];
        let found = printed(&files, LintFormat::Text);
        assert_eq!(found.is_empty(), parts.is_none(), "{other}\n{found}");
        assert!(found.contains(parts.unwrap_or_default()), "{found}");
        let files = [("one/a.yaml", a.as_str()), ("two/b.yaml", other.as_str())];
        assert_eq!(printed(&files, LintFormat::Text), "", "{other}");
    }
}

#[test]
fn configurations_of_plexusd_are_checked_by_its_own_rules() {
    let file = |text: &str| printed(&[("daemon-config.json", text)], LintFormat::Text);
    assert_eq!(
        file("{\"addTimeout\": \"30s\", \"binDir\": \"/opt/cni/bin\"}"),
        ""
    );
    for (text, parts) in [
        (
            "{\n  \"addTimeout\": 30}",
            ["2:17: error[daemon-config]", "must be a duration"],
        ),
        (
            "{\n  \"pluginTimout\": \"3s\"}",
            [
                "2:3: warning[unknown-key]",
                "did you mean \"pluginTimeout\"?",
            ],
        ),
        (
            &format!("{{\n  \"socketDir\": \"/{}\"}}", "d".repeat(86)),
            ["2:16: error[daemon-config]", "at most 86 bytes, not 87"],
        ),
        ("{\"a\" 1}", ["1:6: error", "not a JSON object"]),
        (
            "{\"delegates\": [{\"type\": \"a/b\"}]}",
            ["1:16: error", "delegates[0]"],
        ),
    ] {
        let found = file(text);
        for part in parts {
            assert!(found.contains(part), "{found} should have {part:?}");
        }
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n  daemon-config.json: |\n    {}\n",
            text.replace('\n', "\n    ")
        );
        assert!(findings(&map).contains(parts[1]), "{map}");
    }
    // One of several files that are merged.
    let part = "{\"startupTaint\": \"example.com/x\"}";
    assert!(file(part).contains("set shimDir"));
    assert_eq!(printed(&[("taint.json", part)], LintFormat::Text), "");
    // A file of another program.
    let other = "{\"name\": \"x\", \"version\": \"1\", \"scripts\": {}}";
    assert_eq!(printed(&[("package.json", other)], LintFormat::Text), "");
    let list = "{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{\"type\": \"bridge\", \"mtu\": \"1\"}]}";
    let found = printed(&[("10-n.conflist", list)], LintFormat::Text);
    assert!(
        found.starts_with("10-n.conflist:1:76: error[plugin-config]: network \"n\""),
        "{found}"
    );
}

#[test]
fn a_file_that_is_not_yaml_has_a_position() {
    assert_found(&[
        ("a: [1\nb: 2\n", &["f.yaml:2:", "error[yaml]"]),
        (
            "kind: Pod\nname: {{ .Values.name }}\n",
            &["f.yaml:2:", "helm template"],
        ),
    ]);
}

#[test]
fn all_formats_have_the_same_findings() {
    let text = definition("lan", "{\"type\": \"bridge\", \"mtu\": \"100%\"}");
    let files = [("a,b.yaml", text.as_str())];
    let json: Value = serde_json::from_str(&printed(&files, LintFormat::Json)).expect("JSON");
    let finding = &json[0];
    assert_eq!(
        (&finding["file"], &finding["line"], &finding["column"]),
        (&"a,b.yaml".into(), &6.into(), &38.into())
    );
    let sarif: Value = serde_json::from_str(&printed(&files, LintFormat::Sarif)).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["message"]["text"], finding["message"]);
    assert_eq!(result["ruleId"], "plugin-config");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 6);
    let github = printed(&files, LintFormat::Github);
    assert!(
        github.starts_with("::error file=a%2Cb.yaml,line=6,col=38,title=plugin-config::")
            && github.contains("\"100%25\""),
        "{github}"
    );
}
