//! What ev.energy tells of a single sub-session.

use charging_sessions_core::{ChargingSession, Result};
use charging_sessions_http::{Answer, member, segment};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{EvEnergy, generated::GetChargingSubSessionQuery};

/// When the provider wanted current to flow, from its plan. `None` is not given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Schedule {
    /// The first instant.
    pub started_at: Option<Timestamp>,
    /// How long, in seconds. A boost has no end.
    pub interval_seconds: Option<i64>,
    /// The current in milliamperes; 0 is no charging.
    pub current_milliamps: Option<i64>,
    /// Why, in the provider's word, for example `SMART`.
    pub schedule_type: Option<String>,
    /// When it was sent to the vehicle or charge point.
    pub dispatched_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

/// Something that the provider found odd about a sub-session. Both words are the provider's, and new ones may come.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Flag {
    /// What, for example `ENERGY_OVER_DELIVERY`.
    pub name: Option<String>,
    /// Why.
    pub root_cause: Option<String>,
}

impl EvEnergy {
    /// One sub-session, with what the source was told to expand.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](charging_sessions_core::ErrorKind::NotFound) if it does not exist or is not visible,
    /// any other kind if the request failed.
    pub async fn sub_session(&self, id: &str) -> Result<ChargingSession> {
        let conditions = GetChargingSubSessionQuery { expand: self.expand() };
        let request = self.client.get(&path(id), &conditions.pairs())?;
        self.client.send(request, |answer| self.mapping().sub_session(&answer.body, answer.received_at)).await
    }

    /// The schedules of a sub-session: of each time the latest. Expanding them in the listing saves this request.
    ///
    /// # Errors
    ///
    /// As for [`sub_session`](Self::sub_session).
    pub async fn schedules(&self, id: &str) -> Result<Vec<Schedule>> {
        self.part(id, "schedules").await
    }

    /// What the provider found odd about a sub-session. Expanding it in the listing saves this request.
    ///
    /// # Errors
    ///
    /// As for [`sub_session`](Self::sub_session).
    pub async fn flags(&self, id: &str) -> Result<Vec<Flag>> {
        self.part(id, "flags").await
    }

    async fn part<T: DeserializeOwned>(&self, id: &str, name: &str) -> Result<Vec<T>> {
        let request = self.client.get(&format!("{}/{name}", path(id)), &[])?;
        self.client.send(request, |answer: &Answer| member(&answer.body, name)).await
    }
}

pub(crate) fn path(id: &str) -> String {
    format!("charging_sub_sessions/{}", segment(id))
}
