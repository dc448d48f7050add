//! MQTT 5 properties and the basic types, for [`crate::wire`].

use std::collections::BTreeMap;

/// Properties by number; their values as they are on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Props(pub(crate) Vec<(u8, Vec<u8>)>);

impl Props {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn u8(mut self, id: u8, value: u8) -> Self {
        self.0.push((id, vec![value]));
        self
    }

    pub(crate) fn u16(mut self, id: u8, value: u16) -> Self {
        self.0.push((id, value.to_be_bytes().to_vec()));
        self
    }

    pub(crate) fn u32(mut self, id: u8, value: u32) -> Self {
        self.0.push((id, value.to_be_bytes().to_vec()));
        self
    }

    pub(crate) fn varint(mut self, id: u8, value: u32) -> Self {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value as usize);
        self.0.push((id, bytes));
        self
    }

    pub(crate) fn text(mut self, id: u8, value: &str) -> Self {
        let mut bytes = Vec::new();
        put_text(&mut bytes, value.as_bytes());
        self.0.push((id, bytes));
        self
    }

    pub(crate) fn pair(mut self, name: &str, value: &str) -> Self {
        let mut bytes = Vec::new();
        put_text(&mut bytes, name.as_bytes());
        put_text(&mut bytes, value.as_bytes());
        self.0.push((0x26, bytes));
        self
    }

    pub(crate) fn get(&self, id: u8) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(other, _)| *other == id);
        found.next().map(|(_, value)| value.as_slice())
    }

    pub(crate) fn number(&self, id: u8) -> Option<u32> {
        self.get(id).map(|bytes| {
            bytes
                .iter()
                .fold(0, |value, byte| value << 8 | u32::from(*byte))
        })
    }

    /// Subscription identifiers (variable byte integers), in order.
    pub(crate) fn subscription_ids(&self) -> Vec<u32> {
        let all = self.0.iter().filter(|(id, _)| *id == 0x0B);
        all.map(|(_, bytes)| {
            let parts = bytes.iter().enumerate();
            parts.fold(0, |value, (index, byte)| {
                value | u32::from(byte & 0x7F) << (7 * index)
            })
        })
        .collect()
    }

    pub(crate) fn string(&self, id: u8) -> Option<String> {
        let bytes = self.get(id)?;
        Some(String::from_utf8(bytes[2..].to_vec()).unwrap())
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        for (id, value) in &self.0 {
            block.push(*id);
            block.extend_from_slice(value);
        }
        put_varint(out, block.len());
        out.extend(block);
    }

    pub(crate) fn take(bytes: &mut &[u8]) -> Self {
        let length = take_varint(bytes);
        let mut block = take(bytes, length);
        let mut all = Vec::new();
        while !block.is_empty() {
            let id = take(&mut block, 1)[0];
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => take(&mut block, 1),
                0x13 | 0x21 | 0x22 | 0x23 => take(&mut block, 2),
                0x02 | 0x11 | 0x18 | 0x27 => take(&mut block, 4),
                0x0B => {
                    let end = block.iter().position(|byte| byte & 0x80 == 0).unwrap();
                    take(&mut block, end + 1)
                }
                0x26 => {
                    let first = 2 + length_at(block, 0);
                    let second = 2 + length_at(block, first);
                    take(&mut block, first + second)
                }
                _ => {
                    let length = 2 + length_at(block, 0);
                    take(&mut block, length)
                }
            };
            all.push((id, value.to_vec()));
        }
        Self(all)
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value % 128).unwrap();
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

pub(crate) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

pub(crate) fn take_u16(bytes: &mut &[u8]) -> u16 {
    let taken = take(bytes, 2);
    u16::from_be_bytes([taken[0], taken[1]])
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take(bytes, 1)[0];
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a length of more than 4 bytes");
}

pub(crate) fn length_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// Several properties as a map from number to how often it occurs.
pub(crate) fn counts(props: &Props) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    for (id, _) in &props.0 {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}
