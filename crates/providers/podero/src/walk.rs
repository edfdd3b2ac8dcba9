//! From vehicle to vehicle, and from page to page of one vehicle.

use std::collections::BTreeMap;

use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, Result, SessionQuery};
use charging_sessions_http::{self as http, OffsetPlace, segment};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{PROVIDER, Podero, generated as wire};

/// Where in the walk we are: at a vehicle, and in the list of its sessions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) user: String,
    pub(crate) vehicle: String,
    #[serde(flatten)]
    pub(crate) list: OffsetPlace,
}

impl Place {
    fn at(user: &str, vehicle: &str) -> Self {
        Self { user: user.to_owned(), vehicle: vehicle.to_owned(), list: OffsetPlace::default() }
    }
}

/// What is known of users and their vehicles. Read anew whenever a listing begins.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// Those that may have vehicles, sorted; `None` until they were asked for.
    users: Option<Vec<String>>,
    /// By user, sorted.
    vehicles: BTreeMap<String, Vec<String>>,
}

impl Podero {
    /// The vehicle to read after `place`, in the order of identifiers; the first one if there is no place yet.
    pub(crate) async fn after(&self, query: &SessionQuery, place: Option<&Place>) -> Result<Option<Place>> {
        let mut known = self.roster.lock().await;
        if place.is_none() {
            *known = Roster::default();
        }
        if !query.assets().is_empty() {
            let is_next = |id: &str| place.is_none_or(|place| id > place.vehicle.as_str());
            let Some(asset) = query.assets().iter().find(|asset| is_next(&asset.id)) else { return Ok(None) };
            let user = self.owner(&mut known, &asset.id).await?;
            return Ok(Some(Place::at(&user, &asset.id)));
        }
        for user in self.users(&mut known).await? {
            if place.is_some_and(|place| user < place.user) {
                continue;
            }
            let beyond = place.filter(|place| place.user == user).map(|place| place.vehicle.as_str());
            let vehicles = self.vehicles(&mut known, &user).await?;
            if let Some(vehicle) = vehicles.iter().find(|id| beyond.is_none_or(|beyond| id.as_str() > beyond))
            {
                return Ok(Some(Place::at(&user, vehicle)));
            }
        }
        Ok(None)
    }

    async fn owner(&self, known: &mut Roster, vehicle: &str) -> Result<String> {
        for user in self.users(known).await? {
            if self.vehicles(known, &user).await?.iter().any(|id| id == vehicle) {
                return Ok(user);
            }
        }
        let message = format!("the organisation has no vehicle {vehicle}");
        Err(Error::new(ErrorKind::NotFound, message).with_provider(PROVIDER))
    }

    /// Those that may have vehicles.
    async fn users(&self, known: &mut Roster) -> Result<Vec<String>> {
        if let Some(users) = &known.users {
            return Ok(users.clone());
        }
        let request = self.client.get(&self.path(""), &[])?;
        let users: Vec<wire::User> = self.client.send(request, |answer| list(&answer.body)).await?;
        let may_drive = users.into_iter().filter(|user| user.num_electric_vehicles != Some(0));
        let users = sorted(may_drive.map(|user| user.id))?;
        Ok(known.users.insert(users).clone())
    }

    async fn vehicles<'a>(&self, known: &'a mut Roster, user: &str) -> Result<&'a [String]> {
        if !known.vehicles.contains_key(user) {
            let path = self.path(&format!("/{}/electric-vehicles", segment(user)));
            let request = self.client.get(&path, &[])?;
            let vehicles: Vec<wire::ElectricVehicle> =
                self.client.send(request, |answer| list(&answer.body)).await?;
            let ids = sorted(vehicles.into_iter().map(|vehicle| vehicle.id))?;
            known.vehicles.insert(user.to_owned(), ids);
        }
        Ok(known.vehicles.get(user).map_or(&[], Vec::as_slice))
    }
}

/// A user or vehicle that cannot be asked for would be sessions that are silently missing.
fn sorted(ids: impl Iterator<Item = Option<String>>) -> Result<Vec<String>> {
    let named: Option<Vec<String>> = ids.map(|id| id.filter(|id| !id.is_empty())).collect();
    let unnamed = || Error::new(ErrorKind::Protocol, "a user or vehicle in a list has no `id`");
    let mut ids = named.ok_or_else(|| unnamed().with_provider(PROVIDER))?;
    ids.sort();
    Ok(ids)
}

/// A list, bare or under `items`: which of them, the documents leave open.
fn list<T: DeserializeOwned>(body: &Bytes) -> Result<Vec<T>> {
    let decoded = http::records::<T>(body, &http::items(body)?, "");
    match decoded.rejected.first() {
        Some(rejected) => {
            Err(Error::new(ErrorKind::Protocol, format!("a list of users or vehicles: {rejected}")))
        }
        None => Ok(decoded.records.into_iter().map(|record| record.value).collect()),
    }
}
