//! How an [`Action`] travels: `[number of its verb, parameters]`.

use super::{Action, Bare, On, Target, Verb};
use crate::codec;
use minicbor::decode::{Decode, Decoder, Error as DecodeError};
use minicbor::encode::{Encode, Encoder, Error as EncodeError, Write};

impl Action {
    /// Its verb: what the host's policy is asked about.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Restart(_) => Verb::Restart,
            Self::Reload(_) => Verb::Reload,
            Self::Stop(_) => Verb::Stop,
            Self::Start(_) => Verb::Start,
            Self::Scale(_) => Verb::Scale,
            Self::Reset(_) => Verb::Reset,
            Self::Delete(_) => Verb::Delete,
            Self::Custom(_) => Verb::Custom,
            Self::Pull(_) => Verb::Pull,
            Self::Install(_) => Verb::Install,
            Self::Uninstall(_) => Verb::Uninstall,
            Self::Ping => Verb::Ping,
            Self::Backward(_) => Verb::Backward,
            Self::Forward(_) => Verb::Forward,
            Self::Monitor(_) => Verb::Monitor,
            Self::Unmonitor(_) => Verb::Unmonitor,
            Self::Unknown(n) => Verb::Unknown(*n),
        }
    }
}

impl<C> Encode<C> for Action {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), EncodeError<W::Error>> {
        if let Self::Unknown(n) = self {
            return codec::encode_unknown(e, *n);
        }
        e.array(2)?;
        self.verb().encode(e, ctx)?;
        match self {
            Self::Restart(t)
            | Self::Reload(t)
            | Self::Stop(t)
            | Self::Start(t)
            | Self::Reset(t)
            | Self::Delete(t)
            | Self::Pull(t)
            | Self::Backward(t)
            | Self::Forward(t)
            | Self::Monitor(t)
            | Self::Unmonitor(t) => On { target: t.clone() }.encode(e, ctx),
            Self::Scale(p) => p.encode(e, ctx),
            Self::Custom(p) => p.encode(e, ctx),
            Self::Install(p) | Self::Uninstall(p) => p.encode(e, ctx),
            Self::Ping | Self::Unknown(_) => Bare {}.encode(e, ctx),
        }
    }
}

impl<'b, C> Decode<'b, C> for Action {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
        if d.array()? != Some(2) {
            return Err(DecodeError::message("expected a verb and its parameters"));
        }
        let verb = Verb::decode(d, ctx)?;
        let on = |d: &mut Decoder<'b>, ctx: &mut C, make: fn(Target) -> Self| {
            On::decode(d, ctx).map(|on| make(on.target))
        };
        match verb {
            Verb::Restart => on(d, ctx, Self::Restart),
            Verb::Reload => on(d, ctx, Self::Reload),
            Verb::Stop => on(d, ctx, Self::Stop),
            Verb::Start => on(d, ctx, Self::Start),
            Verb::Reset => on(d, ctx, Self::Reset),
            Verb::Delete => on(d, ctx, Self::Delete),
            Verb::Pull => on(d, ctx, Self::Pull),
            Verb::Backward => on(d, ctx, Self::Backward),
            Verb::Forward => on(d, ctx, Self::Forward),
            Verb::Monitor => on(d, ctx, Self::Monitor),
            Verb::Unmonitor => on(d, ctx, Self::Unmonitor),
            Verb::Scale => super::Scale::decode(d, ctx).map(Self::Scale),
            Verb::Custom => super::Custom::decode(d, ctx).map(Self::Custom),
            Verb::Install => super::Module::decode(d, ctx).map(Self::Install),
            Verb::Uninstall => super::Module::decode(d, ctx).map(Self::Uninstall),
            Verb::Ping => Bare::decode(d, ctx).map(|Bare {}| Self::Ping),
            // Logs have messages of their own; as an action the number means nothing to us.
            Verb::Logs => d.skip().map(|()| Self::Unknown(11)),
            Verb::Unknown(n) => d.skip().map(|()| Self::Unknown(n)),
        }
    }
}
