//! What a session cost, saved and earned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_default, open_enum};
use crate::Money;

/// What a session cost, saved and earned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Costs {
    /// What it cost. Zero means free, `None` means not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What the cost is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<CostComponent>,
    /// The price of one kilowatt-hour. Providers round it: not for computing the cost again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_kwh: Option<Money>,
    /// What one kilowatt-hour would have cost otherwise, for example all of it from the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_price_per_kwh: Option<Money>,
    /// What was saved against charging without steering.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub savings: Vec<Saving>,
    /// What the user was paid or credited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incentive: Option<Money>,
    /// Points of a reward scheme.
    #[serde(skip_serializing_if = "is_default")]
    pub points: Points,
}

/// A cost and what it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Cost {
    /// How much.
    pub money: Money,
    /// Whether tax is in it.
    pub tax: TaxBasis,
    /// Where the figure comes from.
    pub basis: CostBasis,
}

impl Cost {
    /// A cost of which it is not known whether tax is in it.
    pub fn new(money: Money, basis: CostBasis) -> Self {
        Self { money, tax: TaxBasis::Unknown, basis }
    }

    /// Says whether tax is in it.
    #[must_use]
    pub fn with_tax(mut self, tax: TaxBasis) -> Self {
        self.tax = tax;
        self
    }
}

open_enum! {
    /// Whether tax is in an amount.
    TaxBasis {
        /// With tax.
        Included = "included",
        /// Without tax.
        Excluded = "excluded",
        /// No tax applies.
        Exempt = "exempt",
    } else
    /// Not known.
    Unknown = "unknown"
}

open_enum! {
    /// Where a cost comes from.
    CostBasis {
        /// It was billed.
        Billed = "billed",
        /// The provider applied the tariff that it knows.
        ProviderTariff = "provider_tariff",
        /// Somebody estimated it.
        Estimated = "estimated",
        /// What the energy would have earned elsewhere is in it.
        Opportunity = "opportunity",
    } else
    /// Not known.
    Unknown = "unknown"
}

/// One part of a cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct CostComponent {
    /// What for.
    pub kind: CostComponentKind,
    /// How much.
    pub money: Money,
    /// Whether tax is in it.
    pub tax: TaxBasis,
    /// Of how many units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Which unit the quantity counts, in the provider's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl CostComponent {
    /// A part of a cost.
    pub fn new(kind: CostComponentKind, money: Money) -> Self {
        Self { kind, money, tax: TaxBasis::Unknown, quantity: None, unit: None }
    }

    /// Says whether tax is in it.
    #[must_use]
    pub fn with_tax(mut self, tax: TaxBasis) -> Self {
        self.tax = tax;
        self
    }
}

open_enum! {
    /// What a part of a cost is for.
    CostComponentKind {
        /// Energy.
        Energy = "energy",
        /// Time.
        Time = "time",
        /// Parking.
        Parking = "parking",
        /// A fee per session.
        Fixed = "fixed",
        /// A reservation.
        Reservation = "reservation",
        /// Staying on when others wait.
        Congestion = "congestion",
        /// Tax.
        Tax = "tax",
        /// Something given back.
        Credit = "credit",
    } else
    /// Something else.
    Other = "other"
}

/// An amount that was saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Saving {
    /// How much.
    pub money: Money,
    /// Whether it came true.
    pub kind: SavingKind,
}

impl Saving {
    /// A saving.
    pub fn new(money: Money, kind: SavingKind) -> Self {
        Self { money, kind }
    }
}

open_enum! {
    /// Whether a saving came true.
    SavingKind {
        /// It did, as the provider reckons.
        Realised = "realised",
        /// It was expected.
        Expected = "expected",
    } else
    /// Not known.
    Unknown = "unknown"
}

/// Points of a reward scheme.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Points {
    /// Earned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earned: Option<i64>,
    /// Missed by not letting the provider steer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<i64>,
}
