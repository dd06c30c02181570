//! An application that never waits: it asks again later, and does not care what came of it.

use std::task::{Context, Waker};

/// For the verbs that want to wake somebody.
pub(crate) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Whatever came of it.
pub(crate) fn ignore<T>(_outcome: T) {}
