//! Device-info documents and the rules for them (D-011…D-016). Pure.
//!
//! Programs in Go decode the documents in network-status into typed structures, so the known keys of
//! all sections must have the right type: otherwise these programs could not read network-status at
//! all.

use plexus_api::json::{LimitError, Object, ObjectError, check_limits, decode, parse_object};
use serde_json::value::RawValue;

use super::MAX_SIZE;

/// The largest part of a value in an error, in characters.
const MAX_QUOTED: usize = 40;

/// Why a document is not used. Quotes only the start of a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidDocument {
    #[error("{0}")]
    Limit(#[from] LimitError),
    #[error("{0}")]
    Object(#[from] ObjectError),
    #[error("{0:?} is missing")]
    Missing(&'static str),
    #[error("{0:?} is not a string")]
    NotAString(&'static str),
    #[error("{0:?} is not an object")]
    NotAnObject(&'static str),
    #[error("{key:?} is {value:?}, but must be {expected}")]
    Value {
        key: &'static str,
        value: String,
        expected: String,
    },
}

/// The section of a document that describes a device of the type `name`.
struct Section {
    name: &'static str,
    required: &'static [(&'static str, Format)],
    optional: &'static [&'static str],
}

/// The form of a string.
#[derive(Clone, Copy)]
enum Format {
    Text,
    PciAddress,
    /// `major.minor.patch`
    Version,
    OneOf(&'static [&'static str]),
}

const SECTIONS: [Section; 4] = [
    Section {
        name: "pci",
        required: &[("pci-address", Format::PciAddress)],
        optional: &[
            "vhost-net",
            "rdma-device",
            "pf-pci-address",
            "representor-device",
        ],
    },
    Section {
        name: "vdpa",
        required: &[
            ("parent-device", Format::Text),
            ("driver", Format::OneOf(&["vhost", "virtio"])),
            ("path", Format::Text),
        ],
        optional: &["pci-address", "pf-pci-address", "representor-device"],
    },
    Section {
        name: "vhost-user",
        required: &[
            ("mode", Format::OneOf(&["client", "server"])),
            ("path", Format::Text),
        ],
        optional: &[],
    },
    Section {
        name: "memif",
        required: &[
            ("role", Format::OneOf(&["master", "slave"])),
            ("path", Format::Text),
            // The client library writes `punt` for `inject-punt`.
            (
                "mode",
                Format::OneOf(&["ethernet", "ip", "inject-punt", "punt"]),
            ),
        ],
        optional: &[],
    },
];
const TYPES: &[&str] = &["pci", "vdpa", "vhost-user", "memif"];

/// Reads a document, whose content is not checked.
pub(super) fn parse(bytes: &[u8]) -> Result<Box<RawValue>, InvalidDocument> {
    check_limits(bytes, MAX_SIZE)?;
    let text = decode(bytes);
    let document: Box<RawValue> = parse_object(&text)?;
    parse_object::<Object>(document.get())?;
    Ok(document)
}

/// Checks that a document has a known type and what that type requires. Unknown keys and versions
/// are allowed (D-016).
pub(super) fn validate(document: &RawValue) -> Result<(), InvalidDocument> {
    let object = Object::parse(document.get().as_bytes())?;
    let kind = required(&object, "type", Format::OneOf(TYPES))?;
    required(&object, "version", Format::Version)?;
    for section in &SECTIONS {
        let content = object
            .get::<Object>(section.name)
            .map_err(|_| InvalidDocument::NotAnObject(section.name))?;
        let is_type = section.name == kind;
        let Some(content) = content else {
            if is_type {
                return Err(InvalidDocument::Missing(section.name));
            }
            continue;
        };
        for (key, format) in section.required {
            if is_type {
                required(&content, key, *format)?;
            } else {
                string(&content, key)?;
            }
        }
        for key in section.optional {
            string(&content, key)?;
        }
    }
    Ok(())
}

fn required(object: &Object, key: &'static str, format: Format) -> Result<String, InvalidDocument> {
    let value = string(object, key)?.ok_or(InvalidDocument::Missing(key))?;
    if format.matches(&value) {
        return Ok(value);
    }
    Err(InvalidDocument::Value {
        key,
        value: value.chars().take(MAX_QUOTED).collect(),
        expected: format.description(),
    })
}

fn string(object: &Object, key: &'static str) -> Result<Option<String>, InvalidDocument> {
    object
        .string(key)
        .map_err(|_| InvalidDocument::NotAString(key))
}

impl Format {
    fn matches(self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::PciAddress => is_pci_address(text),
            Self::Version => is_version(text),
            Self::OneOf(values) => values.contains(&text),
        }
    }

    fn description(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::PciAddress => "an address such as 0000:18:02.5".to_owned(),
            Self::Version => "a version such as 1.1.0".to_owned(),
            Self::OneOf(values) => format!("one of {}", values.join(", ")),
        }
    }
}

fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3 && parts.into_iter().all(is_number)
}

/// Whether the text is `domain:bus:device.function`. The domain has four digits, or more behind an
/// Intel VMD controller.
fn is_pci_address(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<_> = text.split(':').collect();
    let [domain, bus, device] = parts[..] else {
        return false;
    };
    let Some((device, function)) = device.split_once('.') else {
        return false;
    };
    (4..=8).contains(&domain.len())
        && bus.len() == 2
        && device.len() == 2
        && [domain, bus, device].into_iter().all(is_hex)
        && matches!(function.as_bytes(), [b'0'..=b'7'])
}

#[cfg(test)]
mod tests;
