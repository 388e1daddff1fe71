//! Columns of times and values: differences of integers, because neighbours are alike.

/// Most decimals that values are tried to be whole numbers of.
const MAX_SCALE: u8 = 6;

/// Moments, as the first one and the differences to it.
pub(super) mod times {
    use crate::telemetry::MAX_TICKS;
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    pub(in crate::telemetry) fn encode<Ctx, W: Write>(
        v: &[u64],
        e: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(v.len() as u64)?;
        let mut before = 0u64;
        for &t in v {
            e.i64(t.wrapping_sub(before).cast_signed())?;
            before = t;
        }
        Ok(())
    }

    pub(in crate::telemetry) fn decode<Ctx>(
        d: &mut Decoder<'_>,
        ctx: &mut Ctx,
    ) -> Result<Vec<u64>, DecodeError> {
        let mut before = 0u64;
        let steps: Vec<i64> = crate::codec::list::<_, _, MAX_TICKS>(d, ctx)?;
        Ok(steps
            .into_iter()
            .map(|step| {
                before = before.wrapping_add_signed(step);
                before
            })
            .collect())
    }
}

/// Values: `[scale, step…]`, where the values are whole numbers of `10^-scale` and each step is the difference to the
/// last present value; `null` is an absent value; a scale of 255 says that plain numbers follow.
pub(super) mod values {
    use super::MAX_SCALE;
    use crate::codec;
    use crate::telemetry::MAX_TICKS;
    use minicbor::data::Type;
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    const PLAIN: u8 = 255;

    pub(in crate::telemetry) fn encode<Ctx, W: Write>(
        v: &[Option<f64>],
        e: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(v.len() as u64 + 1)?;
        match scaled(v) {
            Some((scale, whole)) => {
                e.u8(scale)?;
                let mut before = 0i64;
                for w in whole {
                    match w {
                        // Both are below 2^53, so the difference cannot overflow.
                        Some(w) => {
                            e.i64(w - before)?;
                            before = w;
                        }
                        None => {
                            e.null()?;
                        }
                    }
                }
            }
            None => {
                e.u8(PLAIN)?;
                for v in v {
                    match v.filter(|v| v.is_finite()) {
                        Some(v) => codec::encode_f64(e, v)?,
                        None => {
                            e.null()?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub(in crate::telemetry) fn decode<Ctx>(
        d: &mut Decoder<'_>,
        _: &mut Ctx,
    ) -> Result<Vec<Option<f64>>, DecodeError> {
        let n = d
            .array()?
            .filter(|n| *n >= 1)
            .ok_or_else(|| DecodeError::message("expected a column"))?;
        let n = usize::try_from(n - 1).unwrap_or(usize::MAX);
        if n > MAX_TICKS {
            return Err(DecodeError::message("column is longer than allowed"));
        }
        let scale = d.u8()?;
        if scale != PLAIN && scale > MAX_SCALE {
            return Err(DecodeError::message("column has an unknown scale"));
        }
        let mut out = Vec::new();
        let mut before = 0i64;
        for _ in 0..n {
            if d.datatype()? == Type::Null {
                d.null()?;
                out.push(None);
            } else if scale == PLAIN {
                out.push(Some(codec::decode_f64(d)?).filter(|v| v.is_finite()));
            } else {
                before = before
                    .checked_add(d.i64()?)
                    .ok_or_else(|| DecodeError::message("column runs over"))?;
                out.push(Some(unscale(before, scale)));
            }
        }
        Ok(out)
    }

    /// The values as whole numbers of the coarsest power of ten that gives every one of them back exactly.
    fn scaled(v: &[Option<f64>]) -> Option<(u8, Vec<Option<i64>>)> {
        (0..=MAX_SCALE).find_map(|scale| {
            v.iter()
                .map(|v| match v.filter(|v| v.is_finite()) {
                    None => Some(None),
                    Some(v) => whole(v, scale).map(Some),
                })
                .collect::<Option<Vec<_>>>()
                .map(|whole| (scale, whole))
        })
    }

    fn whole(v: f64, scale: u8) -> Option<i64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let w = (v * 10f64.powi(i32::from(scale))).round();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "bounded by 2^53 in the same expression"
        )]
        let w = (w.abs() < EXACT).then_some(w as i64)?;
        (unscale(w, scale).to_bits() == v.to_bits()).then_some(w)
    }

    fn unscale(w: i64, scale: u8) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "what our encoder writes is below 2^53")]
        let w = w as f64;
        w / 10f64.powi(i32::from(scale))
    }
}
