//! The functions of Helm and of its library Sprig that the templates use.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use gotmpl::{Result, Template, TemplateError, Value as Datum, to_value};
use serde_json::{Map, Number, Value};

type Entries = BTreeMap<Arc<str>, Datum>;

pub fn add(template: Template) -> Template {
    add_texts(add_maps(add_lists(template)))
}

fn add_lists(template: Template) -> Template {
    template
        .func("append", |args| match args {
            [Datum::List(list), item] => Ok(list
                .iter()
                .chain([item])
                .cloned()
                .collect::<Vec<_>>()
                .into()),
            _ => wrong("append", args),
        })
        .func("coalesce", |args| {
            Ok(args
                .iter()
                .find(|arg| arg.is_truthy())
                .cloned()
                .unwrap_or(Datum::Nil))
        })
        .func("concat", |args| match args {
            [Datum::List(first), Datum::List(second)] => Ok(first
                .iter()
                .chain(&**second)
                .cloned()
                .collect::<Vec<_>>()
                .into()),
            _ => wrong("concat", args),
        })
        .func("first", |args| match args {
            [Datum::List(list)] => Ok(list.first().cloned().unwrap_or(Datum::Nil)),
            _ => wrong("first", args),
        })
        .func("list", |args| Ok(args.to_vec().into()))
        .func("splitList", |args| match args {
            [Datum::String(separator), Datum::String(text)] => Ok(text
                .split(&**separator)
                .map(Datum::from)
                .collect::<Vec<_>>()
                .into()),
            _ => wrong("splitList", args),
        })
}

fn add_maps(template: Template) -> Template {
    template
        .func("deepCopy", |args| one("deepCopy", args).cloned())
        .func("dict", |args| {
            let mut entries = Entries::new();
            for pair in args.chunks(2) {
                let [Datum::String(key), value] = pair else {
                    return wrong("dict", args);
                };
                entries.insert(Arc::clone(key), value.clone());
            }
            Ok(entries.into())
        })
        .func("fromJson", |args| parsed("fromJson", args))
        .func("fromYaml", |args| parsed("fromYaml", args))
        .func("mergeOverwrite", |args| match args {
            [into, from] => Ok(merged(into, from)),
            _ => wrong("mergeOverwrite", args),
        })
        .func("toPrettyJson", |args| {
            let value = plain(one("toPrettyJson", args)?);
            Ok(serde_json::to_string_pretty(&value)
                .map_err(|error| failed(&error))?
                .into())
        })
        .func("toYaml", |args| {
            let text = serde_yaml_ng::to_string(&plain(one("toYaml", args)?))
                .map_err(|error| failed(&error))?;
            Ok(text.trim_end_matches('\n').into())
        })
}

fn add_texts(template: Template) -> Template {
    template
        .func("default", |args| match args {
            [usual, given] => Ok(if given.is_truthy() { given } else { usual }.clone()),
            _ => wrong("default", args),
        })
        .func("nindent", |args| match args {
            [Datum::Int(width), Datum::String(text)] => {
                let width = usize::try_from(*width).unwrap_or_default();
                let newline = format!("\n{}", " ".repeat(width));
                Ok((newline.clone() + &text.replace('\n', &newline)).into())
            }
            _ => wrong("nindent", args),
        })
        .func("quote", |args| match one("quote", args)? {
            Datum::String(text) => Ok(Value::from(text.as_ref()).to_string().into()),
            other => Ok(format!("\"{other}\"").into()),
        })
        .func("replace", |args| match args {
            [Datum::String(old), Datum::String(new), Datum::String(text)] => {
                Ok(text.replace(&**old, new).into())
            }
            _ => wrong("replace", args),
        })
        // Any digest shows a change.
        .func("sha256sum", |args| {
            let mut hasher = DefaultHasher::new();
            one("sha256sum", args)?.to_string().hash(&mut hasher);
            Ok(format!("{:016x}", hasher.finish()).into())
        })
        .func("ternary", |args| match args {
            [yes, no, Datum::Bool(condition)] => Ok(if *condition { yes } else { no }.clone()),
            _ => wrong("ternary", args),
        })
}

fn failed(error: &impl ToString) -> TemplateError {
    TemplateError::Exec(error.to_string())
}

fn wrong<T>(name: &str, args: &[Datum]) -> Result<T> {
    Err(failed(&format!("{name} with the arguments {args:?}")))
}

fn one<'a>(name: &str, args: &'a [Datum]) -> Result<&'a Datum> {
    match args {
        [arg] => Ok(arg),
        _ => wrong(name, args),
    }
}

/// Reads YAML, of which JSON is a part.
fn parsed(name: &str, args: &[Datum]) -> Result<Datum> {
    let [Datum::String(text)] = args else {
        return wrong(name, args);
    };
    let value: Value = serde_yaml_ng::from_str(text).map_err(|error| failed(&error))?;
    to_value(&value)
}

/// Maps are merged key by key, and any other value replaces the former one. Unlike in Sprig, the
/// first map is not changed, so templates may use only the result.
fn merged(into: &Datum, from: &Datum) -> Datum {
    let (Datum::Map(into), Datum::Map(from)) = (into, from) else {
        return from.clone();
    };
    let mut entries = Entries::clone(into);
    for (key, value) in &**from {
        let value = entries
            .get(key)
            .map_or_else(|| value.clone(), |old| merged(old, value));
        entries.insert(Arc::clone(key), value);
    }
    entries.into()
}

fn plain(datum: &Datum) -> Value {
    match datum {
        Datum::Bool(value) => Value::Bool(*value),
        Datum::Int(value) => Value::from(*value),
        Datum::Uint(value) => Value::from(*value),
        Datum::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Datum::String(text) => Value::from(text.as_ref()),
        Datum::List(list) => list.iter().map(plain).collect(),
        Datum::Map(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (key.to_string(), plain(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Datum::Nil | Datum::Function(_) => Value::Null,
    }
}
