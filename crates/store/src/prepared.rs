//! What was made of records before they are written.

/// What a store has made of sessions before they are written, in their order; from
/// [`prepare`](crate::SessionStore::prepare), for [`Batch::prepared`](crate::Batch::prepared).
#[derive(Debug, Default)]
pub struct Prepared {
    #[cfg(feature = "sqlite")]
    pub(crate) pages: Vec<crate::sqlite::PreparedPage>,
}

impl Prepared {
    /// Adds what was made of the sessions after these.
    #[cfg_attr(not(feature = "sqlite"), allow(unused_variables, clippy::needless_pass_by_value))]
    pub fn append(&mut self, after: Self) {
        #[cfg(feature = "sqlite")]
        self.pages.extend(after.pages);
    }
}
