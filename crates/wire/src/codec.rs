//! Shared pieces of the encoding: bounded lists, open enums, compact numbers.

use std::cell::Cell;

use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};

/// Most elements any list may have that has no tighter bound of its own.
pub const MAX_LIST: usize = 16_384;
/// Most processes in a snapshot or a delta.
pub const MAX_PROCESSES: usize = 8_192;
/// Most metrics of one process.
pub const MAX_METRICS: usize = 512;

/// Most elements of all lists of one message together: lists lie within lists.
pub(crate) const MAX_ELEMENTS: usize = 500_000;

thread_local! {
    /// How many more elements the message that is being read may have.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Reads one message, whose lists have so many elements in all at most.
pub(crate) fn within<T>(elements: usize, read: impl FnOnce() -> T) -> T {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _restore = Restore(LEFT.replace(elements));
    read()
}

/// Used as `skip_if`: a field with its default value does not travel.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Decodes a list of at most `N` elements.
///
/// A small frame can unpack to millions of one-byte elements that are hundreds of bytes each in memory, so the limit on
/// bytes is not enough.
pub(crate) fn list<'b, Ctx, T, const N: usize>(
    d: &mut Decoder<'b>,
    ctx: &mut Ctx,
) -> Result<Vec<T>, DecodeError>
where
    T: Decode<'b, Ctx>,
{
    let declared = d.array()?;
    if declared.is_some_and(|n| n > N as u64) {
        return Err(DecodeError::message("list is longer than allowed"));
    }
    let mut out = Vec::new();
    loop {
        match declared {
            Some(n) if out.len() as u64 >= n => break,
            None if d.datatype()? == Type::Break => {
                d.skip()?;
                break;
            }
            _ => {}
        }
        if out.len() >= N {
            return Err(DecodeError::message("list is longer than allowed"));
        }
        let left = LEFT
            .get()
            .checked_sub(1)
            .ok_or_else(|| DecodeError::message("the lists of one message are longer than allowed"))?;
        LEFT.set(left);
        out.push(T::decode(d, ctx)?);
    }
    Ok(out)
}

/// The same for an optional list, as changes have it.
pub(crate) fn optional_list<'b, Ctx, T, const N: usize>(
    d: &mut Decoder<'b>,
    ctx: &mut Ctx,
) -> Result<Option<Vec<T>>, DecodeError>
where
    T: Decode<'b, Ctx>,
{
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    list::<_, _, N>(d, ctx).map(Some)
}

/// Writes a number in the shortest form that gives the same number back.
pub(crate) fn encode_f64<W: Write>(e: &mut Encoder<W>, v: f64) -> Result<(), EncodeError<W::Error>> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if v.fract() == 0.0 && v.abs() < EXACT && !(v == 0.0 && v.is_sign_negative()) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and below 2^53 was just checked"
        )]
        e.i64(v as i64)?;
    } else if f64::from(v as f32) == v {
        e.f32(v as f32)?;
    } else {
        e.f64(v)?;
    }
    Ok(())
}

/// Reads what [`encode_f64`] wrote, or any other CBOR number.
pub(crate) fn decode_f64(d: &mut Decoder<'_>) -> Result<f64, DecodeError> {
    match d.datatype()? {
        Type::F32 => d.f32().map(f64::from),
        Type::F64 => d.f64(),
        _ => {
            let i = d.int()?;
            #[expect(
                clippy::cast_precision_loss,
                reason = "large integers become the nearest float on purpose"
            )]
            let v = i128::from(i) as f64;
            Ok(v)
        }
    }
}

/// A field of type `f64`, written compactly; what is not finite becomes zero.
pub(crate) mod number {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};

    pub(crate) fn encode<Ctx, W: Write>(
        v: &f64,
        e: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        super::encode_f64(e, if v.is_finite() { *v } else { 0.0 })
    }

    pub(crate) fn decode<Ctx>(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<f64, DecodeError> {
        super::decode_f64(d).map(|v| if v.is_finite() { v } else { 0.0 })
    }
}

/// The same for an optional `f64`, as changes have it.
pub(crate) mod optional_number {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Type, Write};

    pub(crate) fn encode<Ctx, W: Write>(
        v: &Option<f64>,
        e: &mut Encoder<W>,
        ctx: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        match v {
            Some(v) => super::number::encode(v, e, ctx),
            None => e.null().map(|_| ()),
        }
    }

    pub(crate) fn decode<Ctx>(d: &mut Decoder<'_>, ctx: &mut Ctx) -> Result<Option<f64>, DecodeError> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(None);
        }
        super::number::decode(d, ctx).map(Some)
    }
}

/// Skips one value; used for the payload of a variant this version does not know.
pub(crate) fn unknown_payload(d: &mut Decoder<'_>) -> Result<(), DecodeError> {
    d.skip()
}

/// Reads the `[tag, payload]` header of an open sum and gives the tag.
pub(crate) fn sum_header(d: &mut Decoder<'_>) -> Result<u32, DecodeError> {
    match d.array()? {
        Some(2) => d.u32(),
        _ => Err(DecodeError::message("expected a tag and a payload")),
    }
}

/// Writes an unknown variant again: its tag is kept, its payload is not.
pub(crate) fn encode_unknown<W: Write>(e: &mut Encoder<W>, tag: u32) -> Result<(), EncodeError<W::Error>> {
    e.array(2)?.u32(tag)?.map(0)?;
    Ok(())
}

/// An enum of plain names that travels as its number; a number from a newer peer is kept as `Unknown`.
macro_rules! open_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $n:literal $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A value of a newer peer, by its number.
            Unknown(u32),
        }
        impl $name {
            /// The name people and other programs see.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ Self::Unknown(_) => "unknown" }
            }
            /// The value with this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
            /// Every value this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.u32(match self { $(Self::$variant => $n,)+ Self::Unknown(n) => *n })?;
                Ok(())
            }
        }
        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Ok(match d.u32()? { $($n => Self::$variant,)+ n => Self::Unknown(n) })
            }
        }
    };
}

/// An enum whose variants each hold one message; travels as `[number, payload]`. A variant of a newer peer becomes
/// `Unknown` with its number; its payload is skipped.
macro_rules! open_sum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $n:literal $variant:ident($ty:ty),)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($(#[$vmeta])* $variant($ty),)+
            /// A variant of a newer peer, by its number; its payload was skipped.
            Unknown(u32),
        }
        impl $name {
            /// The name of the variant, for logs.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => stringify!($variant),)+ Self::Unknown(_) => "Unknown" }
            }
        }
        $(impl From<$ty> for $name {
            fn from(v: $ty) -> Self { Self::$variant(v) }
        })+
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                match self {
                    $(Self::$variant(v) => { e.array(2)?.u32($n)?; v.encode(e, ctx)?; })+
                    Self::Unknown(n) => crate::codec::encode_unknown(e, *n)?,
                }
                Ok(())
            }
        }
        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
                Ok(match crate::codec::sum_header(d)? {
                    $($n => Self::$variant(minicbor::Decode::decode(d, ctx)?),)+
                    n => { crate::codec::unknown_payload(d)?; Self::Unknown(n) }
                })
            }
        }
    };
}

pub(crate) use {open_enum, open_sum};
