//! Renders a chart as Helm does. The templates are executed by a port of Go's text/template; the
//! functions that Helm adds are in [`functions`]. `helm_itself_renders_the_same` compares both.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use gotmpl::{Template, TemplateError, Value as Datum, to_value};
use plexus_e2e::yaml;
use serde_json::{Value, json};

use super::functions;

/// Helm's merge of values: maps are merged key by key, and null removes a key.
pub fn merge(into: &mut Value, from: &Value) {
    let (Value::Object(into), Value::Object(from)) = (&mut *into, from) else {
        *into = from.clone();
        return;
    };
    for (key, value) in from {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key).or_insert(Value::Null), value);
        }
    }
}

pub struct Chart<'a> {
    pub dir: &'a Path,
    pub release: &'a str,
    pub namespace: &'a str,
}

impl Chart<'_> {
    fn read(&self, path: &str) -> String {
        let path = self.dir.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The defaults, overlaid by the values of a user.
    pub fn values(&self, values: &Value) -> Value {
        let mut all = yaml::documents(&self.read("values.yaml"))
            .expect("YAML")
            .remove(0);
        merge(&mut all, values);
        all
    }

    /// The text of each template, by its file name.
    pub fn render(&self, values: &Value) -> Result<Vec<(String, String)>, TemplateError> {
        let chart = yaml::documents(&self.read("Chart.yaml"))
            .expect("YAML")
            .remove(0);
        let data = to_value(&json!({
            "Values": self.values(values),
            "Release": {"Name": self.release, "Namespace": self.namespace, "Service": "Helm"},
            "Chart": {"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
        }))?;
        let mut names: Vec<_> = fs::read_dir(self.dir.join("templates"))
            .expect("templates")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .filter(|name| name != "_helpers.tpl")
            .collect();
        names.sort();
        let mut rendered = Vec::new();
        for name in names {
            let source =
                self.read("templates/_helpers.tpl") + &self.read(&format!("templates/{name}"));
            rendered.push((name, self.execute(&source, &data)?));
        }
        Ok(rendered)
    }

    fn execute(&self, source: &str, data: &Datum) -> Result<String, TemplateError> {
        // `include` executes templates of the text that is being parsed.
        let parsed = Arc::new(OnceLock::<Template>::new());
        let (own, dir) = (Arc::clone(&parsed), self.dir.to_owned());
        let template = functions::add(Template::new("chart"))
            .func("include", move |args| match args {
                [Datum::String(name), data] => {
                    let template = own.get().expect("parsed before it is executed");
                    Ok(template.execute_template_to_string(name, data)?.into())
                }
                _ => Err(TemplateError::Exec(format!("include {args:?}"))),
            })
            .func("filesGet", move |args| match args {
                [Datum::String(path)] => {
                    let text = fs::read_to_string(dir.join(&**path));
                    Ok(text.unwrap_or_default().into())
                }
                _ => Err(TemplateError::Exec(format!("Files.Get {args:?}"))),
            });
        // The port has no methods.
        let source = source
            .replace("$root.Files.Get", "filesGet")
            .replace(".Files.Get", "filesGet");
        let template = parsed.get_or_init(|| template.parse(&source).expect("a template"));
        template.execute_to_string(data)
    }
}
