//! Metric values: a number nearly always, but apps also report texts and flags.

use crate::codec::{self, is_default};
use crate::live::{Track, track_whole, tracked};
use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder};
use std::collections::BTreeMap;
use std::ops::Deref;

/// The value of a metric as the app reported it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value, or one that is not finite.
    #[default]
    Null,
    /// A finite number.
    Number(f64),
    /// A text; may well be a number written out, see [`Value::as_number`].
    Text(String),
    /// A flag.
    Bool(bool),
}

impl Value {
    /// A number, or `Null` if it is not finite.
    pub fn number(v: f64) -> Self {
        if v.is_finite() {
            Self::Number(v)
        } else {
            Self::Null
        }
    }

    /// The value as a number: numbers, flags (0 and 1) and texts that are a number, as PM2's own library sends.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Null => None,
            Self::Number(v) => Some(*v),
            Self::Text(s) => s.trim().parse().ok().filter(|v: &f64| v.is_finite()),
            Self::Bool(b) => Some(f64::from(u8::from(*b))),
        }
    }
}

impl<C> Encode<C> for Value {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            // Not CBOR's null: inside an `Option` that would mean "did not change".
            Self::Null => e.array(0).map(|_| ()),
            Self::Number(v) if !v.is_finite() => e.array(0).map(|_| ()),
            Self::Number(v) => codec::encode_f64(e, *v),
            Self::Text(s) => e.str(s).map(|_| ()),
            Self::Bool(b) => e.bool(*b).map(|_| ()),
        }
    }
}

impl<'b, C> Decode<'b, C> for Value {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(match d.datatype()? {
            Type::Bool => Self::Bool(d.bool()?),
            Type::String => Self::Text(d.str()?.to_owned()),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
            | Type::F32
            | Type::F64 => Self::number(codec::decode_f64(d)?),
            _ => {
                d.skip()?;
                Self::Null
            }
        })
    }
}

track_whole!(Value);

tracked! {
    /// A named figure of an app or a machine.
    pub struct Metric / MetricChange {
        /// The value now.
        0 value: Value;
        /// Its unit, for instance `MiB`, `ms`, `%`.
        1 unit: String;
        /// What the metric is, for instance `internal/v8/heap/used`.
        2 kind: String;
        /// Whether its history is wanted.
        3 historic: bool;
    }
}

/// Metrics by name, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(pub BTreeMap<String, Metric>);

impl Deref for Metrics {
    type Target = BTreeMap<String, Metric>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<(String, Metric)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (String, Metric)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// A change of one metric.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct NamedChange {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// What changed; a metric that is not known yet starts from the default.
    #[n(1)]
    pub change: MetricChange,
}

/// A change of a set of metrics.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct MetricsChange {
    /// New and changed ones.
    #[cbor(
        n(0),
        skip_if = "is_default",
        decode_with = "codec::list::<_, _, { codec::MAX_METRICS }>"
    )]
    pub set: Vec<NamedChange>,
    /// Names of those that are gone.
    #[cbor(
        n(1),
        skip_if = "is_default",
        decode_with = "codec::list::<_, _, { codec::MAX_METRICS }>"
    )]
    pub removed: Vec<String>,
}

impl Track for Metrics {
    type Change = MetricsChange;

    fn diff(&self, next: &Self) -> Option<MetricsChange> {
        let fresh = Metric::default();
        let set: Vec<_> = next
            .iter()
            .filter_map(|(name, metric)| {
                let change = match self.get(name) {
                    Some(before) => before.diff(metric)?,
                    None => fresh.diff(metric).unwrap_or_default(),
                };
                Some(NamedChange {
                    name: name.clone(),
                    change,
                })
            })
            .collect();
        let removed: Vec<_> = self
            .keys()
            .filter(|name| !next.contains_key(*name))
            .cloned()
            .collect();
        (!set.is_empty() || !removed.is_empty()).then_some(MetricsChange { set, removed })
    }

    fn apply(&mut self, change: MetricsChange) {
        for name in &change.removed {
            self.0.remove(name);
        }
        for NamedChange { name, change } in change.set {
            self.0.entry(name).or_default().apply(change);
        }
    }
}

/// Metrics travel as the change from none.
impl<C> Encode<C> for Metrics {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        Self::default().diff(self).unwrap_or_default().encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Metrics {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let mut metrics = Self::default();
        metrics.apply(MetricsChange::decode(d, ctx)?);
        Ok(metrics)
    }
}
