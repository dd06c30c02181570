//! Attackers: hosts that break the rules of the protocol, each in one way, with knobs.
//!
//! Those with a connection are an [`Insider`] with a [`Trick`]; those without are a [`Flood`]. All of them live on a
//! [raw host](super::World::raw_host), speak through what every other host speaks through, and can be asked
//! afterwards what they have done. [`Attack`] is any of them, with the usual settings, for worlds in which
//! everything is drawn.
//!
//! ```
//! use std::time::Duration;
//! use ebbtide::Config;
//! use ebbtide::sim::hostile::{Insider, Optimist};
//! use ebbtide::sim::{Line, Size, Traffic, World};
//!
//! let mut world = World::new(7);
//! let victim = world.host(Config::default());
//! let liar = world.raw_host(Insider::waiting(Optimist::new(10)));
//! world.join(victim, liar, Line::adsl());
//! world.start(victim, liar, &Traffic::bulk(Size::mib(1)));
//! world.run_for(Duration::from_secs(5));
//! assert!(world.raw::<Insider<Optimist>>(liar).is_some_and(|liar| liar.trick().lied > 0));
//! ```

mod attack;
mod delay_liar;
mod extender;
mod flood;
mod gapper;
mod insider;
mod mask_liar;
mod miser;
mod optimist;
mod storm;
mod time_traveller;
mod window_liar;

#[cfg(test)]
mod tests;

pub use attack::{Attack, Names};
pub use delay_liar::DelayLiar;
pub use extender::Extender;
pub use flood::{Flood, Matter, Sources};
pub use gapper::Gapper;
pub use insider::{Insider, Trick};
pub use mask_liar::MaskLiar;
pub use miser::Miser;
pub use optimist::Optimist;
pub use storm::{Rain, Storm};
pub use time_traveller::TimeTraveller;
pub use window_liar::{WindowLiar, WindowLie};
