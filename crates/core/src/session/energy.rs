//! How much energy and power, measured where and how.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Classified, is_default, open_enum};
use crate::{Energy, Power};

/// How much energy, measured where and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct EnergyFigures {
    /// Every figure that the provider gives, its headline figure first. They differ by what lies between the
    /// places of measurement; none replaces another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<EnergyReading>,
    /// What the meter said at the start and the end.
    #[serde(skip_serializing_if = "is_default")]
    pub registers: MeterRegisters,
    /// Where the energy came from.
    #[serde(skip_serializing_if = "is_default")]
    pub sources: EnergySources,
}

impl EnergyFigures {
    /// The provider's headline figure, whatever it measured.
    pub fn headline(&self) -> Option<Energy> {
        self.readings.first().map(|reading| reading.energy)
    }

    /// The figure that was measured at `point`.
    pub fn at(&self, point: MeasuringPoint) -> Option<Energy> {
        self.readings.iter().find(|reading| reading.point == point).map(|reading| reading.energy)
    }
}

/// One figure for energy: how much, which way, measured where and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct EnergyReading {
    /// How much.
    #[serde(rename = "energy_wh")]
    pub energy: Energy,
    /// Which way it flowed.
    pub direction: EnergyDirection,
    /// Where it was measured.
    pub point: MeasuringPoint,
    /// How it was measured.
    pub method: MeasurementMethod,
    /// The provider's own word for the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_word: Option<String>,
}

impl EnergyReading {
    /// Energy into the vehicle, measured at `point`, it is not known how.
    pub fn import(energy: Energy, point: MeasuringPoint) -> Self {
        Self {
            energy,
            direction: EnergyDirection::Import,
            point,
            method: MeasurementMethod::Unknown,
            method_word: None,
        }
    }

    /// Energy into the vehicle less energy out of it, measured at `point`, it is not known how.
    pub fn net(energy: Energy, point: MeasuringPoint) -> Self {
        Self { direction: EnergyDirection::Net, ..Self::import(energy, point) }
    }

    /// Says how it was measured.
    #[must_use]
    pub fn with_method(mut self, method: Classified<MeasurementMethod>) -> Self {
        self.set_method(method);
        self
    }

    /// Says how it was measured.
    pub fn set_method(&mut self, method: Classified<MeasurementMethod>) {
        self.method = method.class;
        self.method_word = Some(method.word);
    }
}

open_enum! {
    /// Which way energy flowed.
    EnergyDirection {
        /// Into the vehicle.
        Import = "import",
        /// Out of the vehicle.
        Export = "export",
        /// Into the vehicle less out of it.
        Net = "net",
    } else
    /// Not known.
    Unknown = "unknown"
}

open_enum! {
    /// Where energy was measured. Each step loses some.
    MeasuringPoint {
        /// The supply of the building, losses of the installation included.
        Supply = "supply",
        /// The output of the charge point.
        EvseOutput = "evse_output",
        /// The inlet of the vehicle.
        VehicleInlet = "vehicle_inlet",
        /// The battery, after the losses of charging.
        Battery = "battery",
        /// An invoice.
        Invoice = "invoice",
    } else
    /// Not known.
    Unknown = "unknown"
}

open_enum! {
    /// How energy was measured.
    MeasurementMethod {
        /// By a meter that signs its readings.
        SignedMeter = "signed_meter",
        /// By a meter.
        Metered = "metered",
        /// From power over time.
        Integrated = "integrated",
        /// From the change of the state of charge.
        FromStateOfCharge = "from_state_of_charge",
        /// Estimated in another way.
        Estimated = "estimated",
        /// Entered by a person.
        Manual = "manual",
    } else
    /// Not known.
    Unknown = "unknown"
}

/// What a meter said at the start and the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct MeterRegisters {
    /// The meter's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter_id: Option<String>,
    /// The register at the start.
    #[serde(rename = "start_wh", skip_serializing_if = "Option::is_none")]
    pub start: Option<Energy>,
    /// The register at the end.
    #[serde(rename = "end_wh", skip_serializing_if = "Option::is_none")]
    pub end: Option<Energy>,
    /// When the registers were last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
}

/// Where energy came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct EnergySources {
    /// From the public grid.
    #[serde(rename = "grid_wh", skip_serializing_if = "Option::is_none")]
    pub grid: Option<Energy>,
    /// From own solar panels.
    #[serde(rename = "solar_wh", skip_serializing_if = "Option::is_none")]
    pub solar: Option<Energy>,
    /// From an own battery.
    #[serde(rename = "battery_wh", skip_serializing_if = "Option::is_none")]
    pub battery: Option<Energy>,
}

/// How much power.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct PowerFigures {
    /// The highest.
    #[serde(rename = "max_w", skip_serializing_if = "Option::is_none")]
    pub max: Option<Power>,
    /// The average, as reported.
    #[serde(rename = "average_w", skip_serializing_if = "Option::is_none")]
    pub average: Option<Power>,
    /// What the average is taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_basis: Option<PowerAverageBasis>,
}

open_enum! {
    /// What an average power is taken over.
    PowerAverageBasis {
        /// While energy flowed.
        WhileCharging = "while_charging",
        /// From start to end.
        WholeSession = "whole_session",
    } else
    /// Not known.
    Unknown = "unknown"
}
