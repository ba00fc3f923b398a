//! Rows and index entries as spool records. Never stored: read back by the process that wrote them.

use std::sync::Arc;

use edgepress_site::release::codec::{Malformed, Reader, put_bytes, put_varint};
use edgepress_site::release::{Edit, Entry, Pack, Place, Previous};
use edgepress_site::row::Value;
use edgepress_site::version::{Digest, Version};

pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(value) => out.extend([1, u8::from(*value)]),
        Value::Int(value) => {
            out.push(2);
            out.extend(value.to_le_bytes());
        }
        Value::Float(value) => {
            out.push(3);
            out.extend(value.to_le_bytes());
        }
        Value::Text(value) => {
            out.push(4);
            put_bytes(out, value.as_bytes());
        }
        Value::Bytes(value) => {
            out.push(5);
            put_bytes(out, value);
        }
        Value::Json(value) => {
            out.push(6);
            put_bytes(out, value.to_string().as_bytes());
        }
        Value::Unreadable(why) => {
            out.push(7);
            put_bytes(out, why.as_bytes());
        }
    }
}

fn value(reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    Ok(match reader.byte()? {
        0 => Value::Null,
        1 => Value::Bool(reader.byte()? != 0),
        2 => Value::Int(i64::from_le_bytes(reader.array()?)),
        3 => Value::Float(f64::from_le_bytes(reader.array()?)),
        4 => Value::Text(reader.text()?.into()),
        5 => Value::Bytes(reader.bytes()?.into()),
        7 => Value::Unreadable(reader.text()?.into()),
        _ => {
            let value = serde_json::from_slice(reader.bytes()?);
            Value::Json(Arc::new(value.map_err(|_| Malformed("JSON of ours"))?))
        }
    })
}

/// The values of a record made of [`put_value`]s.
pub(crate) fn values(record: &[u8]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader::new(record);
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(value(&mut reader)?);
    }
    Ok(values)
}

fn put_place(out: &mut Vec<u8>, place: &Place) {
    match place.pack {
        Pack::Named(name) => {
            out.push(0);
            out.extend(name.0);
        }
        Pack::New(number) => {
            out.push(1);
            put_varint(out, u64::from(number));
        }
    }
    put_varint(out, place.offset);
    put_varint(out, u64::from(place.length));
}

fn place(reader: &mut Reader<'_>) -> Result<Place, Malformed> {
    let pack = match reader.byte()? {
        0 => Pack::Named(Digest(reader.array()?)),
        _ => Pack::New(reader.varint32()?),
    };
    Ok(Place { pack, offset: reader.varint()?, length: reader.varint32()? })
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_bytes(out, entry.path.as_bytes());
    out.extend(entry.version.0);
    put_bytes(out, entry.media_type.as_bytes());
    put_varint(out, entry.size);
    out.extend(entry.policy);
    put_place(out, &entry.place);
    put_varint(out, entry.changed);
    put_varint(out, entry.previous.len() as u64);
    for previous in &entry.previous {
        out.extend(previous.version.0);
        put_bytes(out, previous.media_type.as_bytes());
        put_varint(out, previous.size);
        put_place(out, &previous.place);
    }
}

pub(crate) fn entry(reader: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let mut entry = Entry {
        path: reader.text()?.into(),
        version: Version(reader.array()?),
        media_type: reader.text()?.into(),
        size: reader.varint()?,
        policy: reader.array()?,
        place: place(reader)?,
        changed: reader.varint()?,
        previous: Vec::new(),
    };
    for _ in 0..reader.varint()? {
        entry.previous.push(Previous {
            version: Version(reader.array()?),
            media_type: reader.text()?.into(),
            size: reader.varint()?,
            place: place(reader)?,
        });
    }
    Ok(entry)
}

pub(crate) fn put_edit(out: &mut Vec<u8>, edit: &Edit) {
    match edit {
        Edit::Put(entry) => {
            out.push(0);
            put_entry(out, entry);
        }
        Edit::Remove(path) => {
            out.push(1);
            out.extend(path.as_bytes());
        }
    }
}

pub(crate) fn edit(record: &[u8]) -> Result<Edit, Malformed> {
    let mut reader = Reader::new(record);
    Ok(match reader.byte()? {
        0 => Edit::Put(entry(&mut reader)?),
        _ => Edit::Remove(std::str::from_utf8(&record[1..]).map_err(|_| Malformed("a path of ours"))?.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let json = serde_json::json!({"b": [1, null], "a": 1.5});
        let all = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(-0.0),
            Value::Text("é\0".into()),
            Value::Bytes([0, 255].into()),
            Value::Unreadable("it is infinite".into()),
            Value::Json(Arc::new(json)),
        ];
        let mut record = Vec::new();
        all.iter().for_each(|value| put_value(&mut record, value));
        assert_eq!(values(&record), Ok(all));
    }

    #[test]
    fn edits_come_back_as_they_were() {
        let place = Place { pack: Pack::New(3), offset: 900, length: 77 };
        let version = Version::of(b"x");
        let previous = Previous {
            version,
            media_type: "a/b".into(),
            size: 1,
            place: Place { pack: Pack::Named(Digest([7; 32])), ..place },
        };
        let entry = Entry {
            path: "/é".into(),
            version,
            media_type: "text/html".into(),
            size: 1 << 40,
            policy: [1; 16],
            place,
            changed: 5,
            previous: vec![previous],
        };
        for all in [Edit::Put(entry), Edit::Remove("/é".into())] {
            let mut record = Vec::new();
            put_edit(&mut record, &all);
            assert_eq!(edit(&record), Ok(all));
        }
    }
}
