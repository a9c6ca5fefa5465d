//! The output of the demo.

use std::io::{IsTerminal as _, stdout};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

static STEP: AtomicUsize = AtomicUsize::new(0);

pub fn title(text: &str) {
    println!("\n{}", styled("1", text));
}

/// The title of the next step, with its number.
pub fn step(text: &str) {
    let number = STEP.fetch_add(1, Ordering::Relaxed) + 1;
    println!("\n{}", styled("1;36", &format!("{number}. {text}")));
}

pub fn say(text: &str) {
    println!("   {text}");
}

/// The result of a check.
pub fn good(text: &str) {
    println!("   {} {text}", styled("32", "✓"));
}

/// A command line.
pub fn command(text: &str) {
    println!("   {}", styled("2", &format!("$ {text}")));
}

/// Indented output.
pub fn show(text: &str) {
    for line in text.trim_end().lines() {
        println!("     {line}");
    }
}

/// An indented JSON document. Lists of scalars stay on one line.
pub fn show_json(value: &Value) {
    show(&pretty(value, 0));
}

fn pretty(value: &Value, depth: usize) -> String {
    let (inner, outer) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    let (open, items, close) = match value {
        Value::Object(map) if map.values().any(has_children) || value.to_string().len() > 70 => {
            let items = map
                .iter()
                .map(|(key, value)| format!("{inner}\"{key}\": {}", pretty(value, depth + 1)));
            ('{', items.collect::<Vec<_>>(), '}')
        }
        Value::Array(list) if list.iter().any(has_children) => (
            '[',
            list.iter()
                .map(|value| format!("{inner}{}", pretty(value, depth + 1)))
                .collect(),
            ']',
        ),
        plain => {
            return plain
                .to_string()
                .replace("\":", "\": ")
                .replace(",\"", ", \"");
        }
    };
    format!("{open}\n{}\n{outer}{close}", items.join(",\n"))
}

fn has_children(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => list.iter().any(has_children),
        _ => false,
    }
}

fn styled(style: &str, text: &str) -> String {
    if stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
