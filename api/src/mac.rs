//! Ethernet addresses.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 48-bit Ethernet address; written as six hex pairs joined by colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A text that is not an Ethernet address.
#[derive(Debug, thiserror::Error)]
#[error("cannot read Ethernet address {text:?}: want six hex pairs joined by colons")]
pub struct ParseMacError {
    text: String,
}

impl std::str::FromStr for Mac {
    type Err = ParseMacError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseMacError { text: text.chars().take(40).collect() };
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(refuse)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| refuse())?;
        }
        if parts.next().is_some() { Err(refuse()) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mac: Mac = "02:00:01:2a:00:05".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:01:2a:00:05");
        for bad in
            ["", "02:00:01:2a:00", "02:00:01:2a:00:05:06", "2:0:1:2a:0:5", "02-00-01-2a-00-05"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
