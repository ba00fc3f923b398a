//! Mistakes that tests make on purpose, to see that they would be found. Outside tests none is ever made.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// Keeps predicates about what outer joins fill with NULLs.
    KeepPredicates,
    /// Asks for one changed occurrence at a time only.
    NoProducts,
    /// Takes keys from sides that outer joins fill with NULLs.
    NullKeys,
    /// Takes every equality for that of bytes.
    Bytes,
    /// Lets any condition of a join depend on what another fills with NULLs.
    AnyOn,
    /// Compares columns of a UNION in FROM as each of its branches would.
    Unions,
    /// Compares rows with those around them as their columns would.
    Affinity,
    /// Follows tables outside FROM as if they were not read.
    Subqueries,
}

#[cfg(test)]
thread_local! {
    static MADE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}

/// Makes a mistake, or none, from now on in this thread.
#[cfg(test)]
pub(super) fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
}

/// Whether the mistake is made.
#[cfg(test)]
pub(super) fn is_made(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}

/// Whether the mistake is made.
#[cfg(not(test))]
pub(super) fn is_made(_: Mistake) -> bool {
    false
}
