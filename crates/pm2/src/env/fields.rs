//! Ordered fields, kept small: a daemon holds some hundred of them for each process, and most are the same in all.
//!
//! Texts are shared, within one entry (variables stand both in `env` and beside it) and between entries, and the list of names between
//! entries that have the same ones in the same order ([`Fields::share`]). There is no hash table: a field is found by looking at the names
//! in turn.

use std::fmt;
use std::sync::Arc;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};

use crate::{Object, js};

/// The name under which the variables stand, which are fields themselves.
const VARS: &str = "env";
/// How much room is added when there is none.
const MORE: usize = 8;

/// The fields of an entry, or its variables, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    names: Arc<Vec<Arc<str>>>,
    /// One for each name.
    values: Vec<Field>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(Arc<str>),
    /// The variables. In a box, as all other fields are smaller.
    Vars(Box<Fields>),
    /// Lists, and all other objects.
    Other(Arc<Value>),
}

impl Field {
    /// Of a JSON value; an object becomes [`Field::Vars`] if `name` is that of the variables.
    fn of(name: &str, value: Value) -> Self {
        match value {
            Value::Null => Field::Null,
            Value::Bool(flag) => Field::Bool(flag),
            Value::Number(number) => Field::Number(number),
            Value::String(text) => Field::Text(text.into()),
            Value::Object(vars) if name == VARS => Field::Vars(Box::new(vars.into())),
            other => Field::Other(Arc::new(other)),
        }
    }

    /// As a JSON value.
    pub fn to_value(&self) -> Value {
        match self {
            Field::Null => Value::Null,
            Field::Bool(flag) => Value::Bool(*flag),
            Field::Number(number) => Value::Number(number.clone()),
            Field::Text(text) => Value::from(&**text),
            Field::Vars(vars) => Value::Object(vars.to_object()),
            Field::Other(value) => Value::clone(value),
        }
    }

    /// Its text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Field::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What the child sees of it, if it can be a variable: texts, numbers, and yes or no.
    pub fn as_var(&self) -> Option<String> {
        match self {
            Field::Text(text) => Some((**text).to_owned()),
            Field::Number(_) | Field::Bool(_) => Some(js::to_text(&self.to_value())),
            Field::Null | Field::Vars(_) | Field::Other(_) => None,
        }
    }

    /// Whether an environment can carry it.
    pub(super) fn is_object_text(&self) -> bool {
        match self {
            Field::Text(text) => &**text == "[object Object]",
            Field::Vars(_) => true,
            Field::Other(value) => js::is_object_text(value),
            Field::Null | Field::Bool(_) | Field::Number(_) => false,
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Null => serializer.serialize_unit(),
            Field::Bool(flag) => serializer.serialize_bool(*flag),
            Field::Number(number) => number.serialize(serializer),
            Field::Text(text) => serializer.serialize_str(text),
            Field::Vars(vars) => vars.serialize(serializer),
            Field::Other(value) => value.serialize(serializer),
        }
    }
}

/// Reads the value of the field that has this name, without going by way of a [`Value`] for what is no list or object.
#[derive(Clone, Copy, Debug)]
pub struct FieldSeed<'n>(pub &'n str);

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Field, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Field, E> {
        Ok(Field::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
        Ok(Field::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field, E> {
        Ok(Number::from_f64(number).map_or(Field::Null, Field::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Field, A::Error> {
        let value = Value::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(Field::of(self.0, value))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Field, A::Error> {
        let value = Value::deserialize(MapAccessDeserializer::new(members))?;
        Ok(Field::of(self.0, value))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_all(self.iter(), serializer)
    }
}

/// Writes some fields as one object.
pub(crate) fn serialize_all<'a, S: Serializer>(
    fields: impl Iterator<Item = (&'a str, &'a Field)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, field) in fields {
        map.serialize_entry(name, field)?;
    }
    map.end()
}

impl From<Object> for Fields {
    fn from(object: Object) -> Self {
        let fields = object.into_iter().map(|(name, value)| {
            let field = Field::of(&name, value);
            (Arc::from(name), field)
        });
        let (names, values): (Vec<Arc<str>>, _) = fields.unzip();
        Fields {
            names: Arc::new(names),
            values,
        }
    }
}

impl Fields {
    /// As a JSON object.
    pub fn to_object(&self) -> Object {
        let members = self.iter();
        members
            .map(|(name, field)| (name.to_owned(), field.to_value()))
            .collect()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.all().map(|(name, field)| (&**name, field))
    }

    fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Field)> {
        self.names.iter().zip(&self.values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|own| **own == *name)
    }

    /// The field of this name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.values.get(self.position(name)?)
    }

    /// The field of this name, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Field> {
        let at = self.position(name)?;
        self.values.get_mut(at)
    }

    /// Sets a field: in its place if it is there, at the end if not.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        let field = match value.into() {
            // What does not change stays shared.
            Value::String(text) if self.get(name).and_then(Field::as_text) == Some(&*text) => return,
            value => Field::of(name, value),
        };
        match self.get_mut(name) {
            Some(present) => *present = field,
            None => self.push(name.into(), field),
        }
    }

    /// Lays fields over these: each in its place if it is there, at the end if not.
    pub(super) fn lay_over<'a>(&mut self, fields: impl Iterator<Item = (&'a Arc<str>, &'a Field)>) {
        for (name, field) in fields {
            match self.get_mut(name) {
                Some(present) => *present = field.clone(),
                None => self.push(Arc::clone(name), field.clone()),
            }
        }
    }

    /// Those that an environment can carry.
    pub(super) fn carried(&self) -> impl Iterator<Item = (&Arc<str>, &Field)> {
        self.all().filter(|(_, field)| !field.is_object_text())
    }

    /// Removes a field; the order of the others stays.
    pub(super) fn unset(&mut self, name: &str) {
        if let Some(at) = self.position(name) {
            Arc::make_mut(&mut self.names).remove(at);
            self.values.remove(at);
        }
    }

    /// Holds what `other` has too only once, and takes no more room than is needed.
    pub(super) fn share(&mut self, other: &Fields) {
        let found: Vec<Option<usize>> = self.places_in(other).collect();
        for (own, at) in self.values.iter_mut().zip(&found) {
            match (own, at.and_then(|at| other.values.get(at))) {
                (Field::Vars(own), Some(Field::Vars(theirs))) => own.share(theirs),
                (own, Some(theirs)) if own == theirs => *own = theirs.clone(),
                _ => {}
            }
        }
        if self.names == other.names {
            self.names = Arc::clone(&other.names);
        } else {
            let names = Arc::make_mut(&mut self.names);
            for (own, at) in names.iter_mut().zip(found) {
                if let Some(theirs) = at.and_then(|at| other.names.get(at)) {
                    *own = Arc::clone(theirs);
                }
            }
            names.shrink_to_fit();
        }
        self.values.shrink_to_fit();
    }

    /// For each of the names, where it stands in `other`. Entries that were made alike have them in like order, so each is looked for
    /// behind the one before.
    fn places_in(&self, other: &Fields) -> impl Iterator<Item = Option<usize>> {
        let mut near = 0;
        self.names.iter().map(move |name| {
            let (before, behind) = other.names.split_at_checked(near)?;
            let at = match behind.iter().position(|theirs| theirs == name) {
                Some(distance) => near + distance,
                None => before.iter().position(|theirs| theirs == name)?,
            };
            near = at + 1;
            Some(at)
        })
    }

    /// Puts a field behind the others. None of them has its name.
    pub(super) fn push(&mut self, name: Arc<str>, field: Field) {
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(MORE);
        }
        Arc::make_mut(&mut self.names).push(name);
        self.values.push(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(map) => map.into(),
            other => panic!("not an object: {other}"),
        }
    }

    fn address(fields: &Fields, name: &str) -> *const u8 {
        fields
            .get(name)
            .and_then(Field::as_text)
            .map_or(std::ptr::null(), str::as_ptr)
    }

    #[test]
    fn every_value_comes_back_as_it_was_and_in_its_place() {
        let text = r#"{"z":null,"b":true,"n":1.5,"big":18446744073709551615,"t":"x","env":{"B":"1","A":2,"o":{}},"l":[1,{"x":2}],"o":{"k":"v"}}"#;
        let mut all = fields(serde_json::from_str(text).unwrap());
        assert_eq!(serde_json::to_string(&all).unwrap(), text);
        assert_eq!(serde_json::to_string(&all.to_object()).unwrap(), text);
        all.set("b", "now a text");
        all.set("new", 1);
        all.unset("n");
        let names: Vec<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["z", "b", "big", "t", "env", "l", "o", "new"]);
        // Only the variables are fields themselves; an `env` that is no object stays what it is.
        assert!(matches!(all.get("env"), Some(Field::Vars(_))));
        assert_eq!(
            fields(json!({ "env": [1] })).get("env").map(Field::to_value),
            Some(json!([1]))
        );
    }

    #[test]
    fn a_field_is_read_as_its_value_would_be() {
        let read = |name: &str, text: &str| {
            let mut reader = serde_json::Deserializer::from_str(text);
            FieldSeed(name).deserialize(&mut reader).unwrap()
        };
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1.5",
            r#""a\u00e9""#,
            "[1,[2]]",
            r#"{"z":1,"a":{"b":null}}"#,
        ] {
            for name in ["x", VARS] {
                let value: Value = serde_json::from_str(text).unwrap();
                assert_eq!(read(name, text), Field::of(name, value), "{name} {text}");
            }
        }
    }

    #[test]
    fn what_is_the_same_is_held_once() {
        let one = fields(
            json!({ "name": "a", "PATH": "/bin", "env": { "PATH": "/bin", "HOME": "/root" }, "list": [1] }),
        );
        let mut two = fields(
            json!({ "list": [1], "name": "b", "own": "x", "PATH": "/bin", "env": { "HOME": "/root", "PATH": "/usr" } }),
        );
        let before = two.to_object();
        two.share(&one);
        assert_eq!(two.to_object(), before);
        assert_eq!(address(&two, "PATH"), address(&one, "PATH"));
        assert!(!Arc::ptr_eq(&one.names, &two.names));
        let mut three = fields(one.to_object().into());
        three.share(&one);
        assert!(Arc::ptr_eq(&one.names, &three.names));
        three.set("more", 1);
        assert_eq!((one.len(), three.len()), (4, 5));
        let (Some(Field::Vars(ours)), Some(Field::Vars(theirs))) = (two.get("env"), one.get("env")) else {
            panic!("variables")
        };
        assert_eq!(address(ours, "HOME"), address(theirs, "HOME"));
        assert_ne!(address(ours, "PATH"), address(theirs, "PATH"));
        let (Some(Field::Other(ours)), Some(Field::Other(theirs))) = (two.get("list"), one.get("list"))
        else {
            panic!("lists")
        };
        assert!(Arc::ptr_eq(ours, theirs));
        // Nothing to share with is no matter, and a change of one does not reach the other.
        two.share(&Fields::default());
        two.set("PATH", "/sbin");
        assert_eq!(one.get("PATH").and_then(Field::as_text), Some("/bin"));
        assert_eq!((two.len(), two.is_empty()), (5, false));
    }
}
