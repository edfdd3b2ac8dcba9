//! From vehicle to vehicle, and from page to page of one vehicle.

use std::collections::BTreeMap;

// Nearly every word of the contract is needed here.
use charging_sessions_core::*;
// What a list of users or vehicles is, bare or under `items`, the documents leave open.
use charging_sessions_http::{OffsetPlace, Request, complete, items, segment};
use serde::{Deserialize, Serialize};

use crate::{CURSOR_VERSION, PROVIDER, Podero, generated as wire};

/// Where in the walk we are: at a vehicle, and in the list of its sessions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) user: String,
    pub(crate) vehicle: String,
    #[serde(flatten)]
    pub(crate) list: OffsetPlace,
}

/// What is known of users and their vehicles. Read anew whenever a listing of all begins, or a vehicle is not known.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// Those that may have vehicles, sorted; `None` until they were asked for.
    users: Option<Vec<String>>,
    /// By user, sorted by identifier.
    vehicles: BTreeMap<String, Vec<Asset>>,
}

impl Podero {
    /// The vehicle to read after `place`, in the order of identifiers; the first one if there is no place yet.
    pub(crate) async fn after(&self, query: &SessionQuery, place: Option<&Place>) -> Result<Option<Place>> {
        // Who plans asset by asset, has just listed them.
        let mut known = self.roster(place.is_none() && query.assets().is_empty()).await;
        if !query.assets().is_empty() {
            let is_next = |id: &str| place.is_none_or(|place| id > place.vehicle.as_str());
            let Some(asset) = query.assets().iter().find(|asset| is_next(&asset.id)) else { return Ok(None) };
            let user = self.owner(&mut known, &asset.id).await?;
            return Ok(Some(Place { user, vehicle: asset.id.clone(), ..Place::default() }));
        }
        for user in self.users(&mut known).await? {
            if place.is_some_and(|place| user < place.user) {
                continue;
            }
            for vehicle in self.vehicles(&mut known, &user).await? {
                let vehicle = vehicle.reference.id.clone();
                if place.is_none_or(|at| (&user, &vehicle) > (&at.user, &at.vehicle)) {
                    return Ok(Some(Place { user, vehicle, ..Place::default() }));
                }
            }
        }
        Ok(None)
    }

    /// What is known, or nothing, to begin anew.
    async fn roster(&self, anew: bool) -> tokio::sync::MutexGuard<'_, Roster> {
        let mut known = self.roster.lock().await;
        if anew {
            *known = Roster::default();
        }
        known
    }

    async fn owner(&self, known: &mut Roster, vehicle: &str) -> Result<String> {
        let owns = |vehicles: &[Asset]| vehicles.iter().any(|known| known.reference.id == vehicle);
        if let Some((user, _)) = known.vehicles.iter().find(|(_, vehicles)| owns(vehicles)) {
            return Ok(user.clone());
        }
        // What is known may be old.
        *known = Roster::default();
        for user in self.users(known).await? {
            if owns(self.vehicles(known, &user).await?) {
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
        let id = |user: &mut wire::User| user.id.take();
        let read = self.client.send(request, |a| complete(&a.body, &items(&a.body)?, "", "users", id));
        let may_drive = read.await?.into_iter().filter(|(_, user)| user.num_electric_vehicles != Some(0));
        let mut users: Vec<_> = may_drive.map(|(id, _)| id).collect();
        users.sort();
        Ok(known.users.insert(users).clone())
    }

    async fn vehicles<'a>(&self, known: &'a mut Roster, user: &str) -> Result<&'a [Asset]> {
        if !known.vehicles.contains_key(user) {
            let request = self.vehicles_of(user)?;
            let id = |vehicle: &mut wire::ElectricVehicle| vehicle.id.take();
            let read = self.client.send(request, |a| complete(&a.body, &items(&a.body)?, "", "vehicles", id));
            let mut vehicles: Vec<_> = read.await?.into_iter().map(|(id, ev)| asset(user, id, ev)).collect();
            vehicles.sort_by(|one, other| one.reference.cmp(&other.reference));
            known.vehicles.insert(user.to_owned(), vehicles);
        }
        Ok(known.vehicles.get(user).map_or(&[], Vec::as_slice))
    }

    fn vehicles_of(&self, user: &str) -> Result<Request> {
        self.client.get(&self.path(&format!("/{}/electric-vehicles", segment(user))), &[])
    }
}

/// A page holds the vehicles of one user.
#[async_trait::async_trait]
impl AssetSource for Podero {
    async fn fetch_assets(&self, cursor: Option<&Cursor>) -> Result<AssetPage> {
        let all = SessionQuery::all();
        let at = cursor.map(|cursor| cursor.decode::<String>(PROVIDER, CURSOR_VERSION, &all)).transpose()?;
        let mut known = self.roster(at.is_none()).await;
        let mut users = self.users(&mut known).await?.into_iter().filter(|user| at.as_ref() <= Some(user));
        // Who asks for the second user's vehicles wants those of all.
        let ahead = users.clone().filter(|user| at.is_some() && !known.vehicles.contains_key(user));
        self.client.expect("vehicles", ahead.map(|user| self.vehicles_of(&user)));
        let Some(user) = users.next() else { return Ok(AssetPage::default()) };
        let vehicles = self.vehicles(&mut known, &user).await?.to_vec();
        let next = users.next().map(|next| Cursor::encode(PROVIDER, CURSOR_VERSION, &all, &next));
        Ok(AssetPage::new(vehicles, next))
    }
}

fn asset(user: &str, id: String, from: wire::ElectricVehicle) -> Asset {
    let mut asset = Asset::new(AssetRef::vehicle(id));
    let device = from.device_model.unwrap_or_default();
    asset.user_id = Some(user.to_owned());
    (asset.make, asset.model) = (device.manufacturer, device.model);
    asset.battery_capacity = from.battery_capacity_kwh.and_then(decimal_from_f64).and_then(Energy::from_kwh);
    asset
}
