//! Samples: the values of many series over a few ticks, column by column.

use crate::codec::{self, is_default};
use minicbor::{Decode, Encode};

/// Most ticks in one batch.
pub const MAX_TICKS: usize = 4_096;

/// Values of many series of one server at the same moments.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct SampleBatch {
    /// The moments, ascending, milliseconds since the epoch.
    #[cbor(n(0), with = "column::times")]
    pub at: Vec<u64>,
    /// The series; each has as many values as there are moments.
    #[cbor(n(1), decode_with = "codec::list::<_, _, { codec::MAX_LIST }>")]
    pub series: Vec<Series>,
}

impl SampleBatch {
    /// Whether every series has one value per moment and the moments ascend; what fails this must not be stored.
    pub fn is_consistent(&self) -> bool {
        self.at.windows(2).all(|w| w[0] < w[1]) && self.series.iter().all(|s| s.values.len() == self.at.len())
    }

    /// Number of values that are present.
    pub fn len(&self) -> usize {
        self.series
            .iter()
            .map(|s| s.values.iter().flatten().count())
            .sum()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One series: one metric of one process, or of the machine.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Series {
    /// PM2's number of the process; absent for a metric of the machine.
    #[n(0)]
    pub pm_id: Option<u32>,
    /// Name of the app; empty for a metric of the machine.
    #[cbor(n(1), skip_if = "is_default")]
    pub app: String,
    /// Name of the metric: [`super::METRIC_CPU`], [`super::METRIC_MEMORY`], or the app's own.
    #[n(2)]
    pub metric: String,
    /// Its unit; empty if none.
    #[cbor(n(3), skip_if = "is_default")]
    pub unit: String,
    /// One value per moment; absent where there was none.
    #[cbor(n(4), with = "column::values")]
    pub values: Vec<Option<f64>>,
}

#[path = "column.rs"]
mod column;
