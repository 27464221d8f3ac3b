//! Names as they stand on the wire: length-prefixed labels in lower case, closed by the root label.

use std::borrow::Borrow;
use std::fmt;

use hickory_proto::rr::Name;

use super::DnsError;

/// A name in wire form, lower case, 1 to 255 bytes (RFC 1035 §3.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireName(Box<[u8]>);

impl WireName {
    /// Reads a domain name as people write it, with or without its last dot.
    pub fn parse(text: &str) -> Result<Self, DnsError> {
        let name = Name::from_ascii(text)
            .map_err(|error| DnsError::Name { name: text.to_owned(), reason: error.to_string() })?;
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in &name {
            wire.push(label.len() as u8);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        Ok(Self(wire.into()))
    }

    /// Takes bytes that are a wire name; upper case becomes lower case.
    pub fn from_wire(wire: &[u8]) -> Self {
        Self(wire.to_ascii_lowercase().into())
    }

    /// This name with one more label in front.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let mut wire = Vec::with_capacity(self.0.len() + label.len() + 1);
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        wire.extend_from_slice(&self.0);
        Self(wire.into())
    }

    /// The bytes, root label included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `name`, a wire name in lower case, is this name or lies below it.
    pub fn is_suffix_of(&self, name: &[u8]) -> bool {
        let mut rest = name;
        while rest.len() > self.0.len() {
            rest = rest.get(1 + usize::from(rest[0])..).unwrap_or_default();
        }
        rest == &*self.0
    }
}

/// Maps by name are asked with the bytes of a question.
impl Borrow<[u8]> for WireName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest: &[u8] = &self.0;
        while rest.len() > 1 {
            let (label, after) = rest[1..].split_at(usize::from(rest[0]));
            write!(out, "{}.", label.escape_ascii())?;
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "WireName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_wire_form_whatever_was_typed() {
        let name = WireName::parse("Radio.Example.COM").expect("valid");
        assert_eq!(name.as_bytes(), b"\x05radio\x07example\x03com\x00");
        assert_eq!(WireName::parse("radio.example.com.").expect("valid"), name);
        assert_eq!(name.to_string(), "radio.example.com.");
        assert_eq!(name.child("Node1").to_string(), "node1.radio.example.com.");
    }

    #[test]
    fn only_whole_labels_make_a_name_lie_within_another() {
        let zone = WireName::parse("radio.example.com").expect("valid");
        for (name, want) in [
            ("radio.example.com", true),
            ("a.b.radio.example.com", true),
            ("myradio.example.com", false),
            ("example.com", false),
            ("com", false),
        ] {
            let name = WireName::parse(name).expect("valid");
            assert_eq!(zone.is_suffix_of(name.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn names_that_dns_cannot_carry_are_refused() {
        for name in ["a..b", &"x".repeat(64), &"abcdefg.".repeat(40)] {
            assert!(WireName::parse(name).is_err(), "{name}");
        }
    }
}
