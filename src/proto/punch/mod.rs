//! Two peers behind NATs find a way to each other: what they know beforehand, and how it went.

mod nat;
mod plan;
mod report;

pub use self::nat::NatReport;
pub use self::plan::{DEADLINE, PunchPlan, PunchRole, Start, Veto, WAIT_MIN};
pub use self::report::{PathKind, PunchError, PunchReport};
