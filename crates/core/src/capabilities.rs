//! What a source can do, as plain data.

use jiff::SignedDuration;

use crate::AssetKind;

/// What a source can do. Everything is off until declared; the conformance suite holds each claim to account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Can be asked for sessions that [started in a window](crate::SessionQuery::window).
    pub window: bool,
    /// Can be asked for sessions [changed since](crate::SessionQuery::updated_since) an instant, so that
    /// late corrections are seen without reading old windows again.
    pub updated_since: bool,
    /// Can be asked for the sessions of single [assets](crate::SessionQuery::assets) of these kinds.
    pub assets: &'static [AssetKind],
    /// Can be asked for [finished](crate::SessionQuery::finished) or unfinished sessions only.
    pub finished: bool,
    /// Reports sessions that have not ended yet.
    pub active_sessions: bool,
    /// Reports what a session cost.
    pub cost: bool,
    /// Offers the [intervals](crate::IntervalSource) of a session.
    pub intervals: bool,
    /// Can [list the assets](crate::AssetSource) of the account. Sessions are then listed asset by asset behind the
    /// scenes, so that a program may as well read several assets at once.
    pub asset_list: bool,
    /// Says [how many records](crate::SessionPage::total) a listing has.
    pub total: bool,
    /// How long after a session began its record may still appear or change, as far as is known: a program that
    /// keeps a copy reads windows of this length again. A proposal where the provider states nothing.
    pub look_back: Option<SignedDuration>,
    /// The largest page that the provider accepts; `None` if pages cannot be sized.
    pub max_page_size: Option<u32>,
}

impl Capabilities {
    /// Nothing but reading everything, page by page.
    pub const fn none() -> Self {
        Self {
            window: false,
            updated_since: false,
            assets: &[],
            finished: false,
            active_sessions: false,
            cost: false,
            intervals: false,
            asset_list: false,
            total: false,
            look_back: None,
            max_page_size: None,
        }
    }

    /// Declares time windows.
    #[must_use]
    pub const fn window(mut self) -> Self {
        self.window = true;
        self
    }

    /// Declares incremental reads.
    #[must_use]
    pub const fn updated_since(mut self) -> Self {
        self.updated_since = true;
        self
    }

    /// Declares reads of single assets of these kinds.
    #[must_use]
    pub const fn assets(mut self, kinds: &'static [AssetKind]) -> Self {
        self.assets = kinds;
        self
    }

    /// Declares the filter by finished or not.
    #[must_use]
    pub const fn finished(mut self) -> Self {
        self.finished = true;
        self
    }

    /// Declares sessions in progress.
    #[must_use]
    pub const fn active_sessions(mut self) -> Self {
        self.active_sessions = true;
        self
    }

    /// Declares cost.
    #[must_use]
    pub const fn cost(mut self) -> Self {
        self.cost = true;
        self
    }

    /// Declares intervals.
    #[must_use]
    pub const fn intervals(mut self) -> Self {
        self.intervals = true;
        self
    }

    /// Declares the list of assets.
    #[must_use]
    pub const fn asset_list(mut self) -> Self {
        self.asset_list = true;
        self
    }

    /// Declares how long a record may still appear or change.
    #[must_use]
    pub const fn look_back(mut self, length: SignedDuration) -> Self {
        self.look_back = Some(length);
        self
    }

    /// Declares the number of records.
    #[must_use]
    pub const fn total(mut self) -> Self {
        self.total = true;
        self
    }

    /// Declares the largest page.
    #[must_use]
    pub const fn max_page_size(mut self, n: u32) -> Self {
        self.max_page_size = Some(n);
        self
    }
}
