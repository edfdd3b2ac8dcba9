//! The provider's own verbs: what an entity needs before it has charge sessions.

use charging_sessions_core::{Energy, Error, ErrorKind, Result};
use charging_sessions_http::{Bytes, Request, segment};
use http::{HeaderValue, Method, header};
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::{Value, json};

use crate::DerConnect;

/// What came of asking the provider to capture charge sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// They are captured from now on. Mostly not for the time before.
    Active,
    /// The provider wants the battery capacity first: call [`DerConnect::set_battery_capacity`], then ask again.
    NeedsBatteryCapacity,
}

impl DerConnect {
    /// Asks the provider to capture the charge sessions of an entity. Harmless if it does already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the entity is not known; [`ErrorKind::Rejected`] with what the provider said if it
    /// cannot, for example because of the brand; any other kind if the request failed.
    pub async fn capture_charge_sessions(&self, entity_id: &str) -> Result<Activation> {
        let path = format!("v1/entities/{}/features", segment(entity_id));
        let body = json!({"feature": "CaptureChargeSessions", "enabled": true});
        let request = self.with_body(Method::PATCH, &path, &body)?;
        match self.client.send(request, |_| Ok(())).await {
            Ok(()) => Ok(Activation::Active),
            // The fields of the refusal are not documented, so what it says is all there is to tell by.
            Err(error) if error.kind() == ErrorKind::Rejected && wants_capacity(&error) => {
                Ok(Activation::NeedsBatteryCapacity)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the provider how much the battery of an entity holds.
    ///
    /// # Errors
    ///
    /// As for [`capture_charge_sessions`](Self::capture_charge_sessions).
    pub async fn set_battery_capacity(&self, entity_id: &str, capacity: Energy) -> Result<()> {
        let path = self.config.battery_capacity_path.replace("{entityId}", &segment(entity_id));
        let body = json!({"batteryCapacity": capacity.as_kwh().to_f64()});
        let request = self.with_body(Method::PUT, &path, &body)?;
        self.client.send(request, |_| Ok(())).await
    }

    fn with_body(&self, method: Method, path: &str, body: &Value) -> Result<Request> {
        let mut request = self.client.request(method, path, &[], Bytes::from(body.to_string()))?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(request)
    }
}

fn wants_capacity(error: &Error) -> bool {
    let said = error.problem().map(|problem| problem.to_string().to_lowercase()).unwrap_or_default();
    said.contains("capacity")
}
