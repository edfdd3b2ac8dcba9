//! How good the evidence for the energy of a record is.

use std::fmt;

use charging_sessions_core::{ChargingSession, Energy, EnergyReading, MeasurementMethod, MeasuringPoint};
use rust_decimal::Decimal;

/// How good the evidence for the energy of a record is. Derived from the record's own data and nothing else.
///
/// It says what there is, not whether a tax office or an employer takes it. `A` is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// The record carries signed meter values. Their signatures are not checked here.
    A,
    /// It carries the registers of a meter at the start and the end, and their difference is the energy, to within
    /// 0.1 kWh or 2 %, whichever is more.
    B,
    /// It was measured at the supply or the output of the charge point, by a meter or by what the charge point has:
    /// not integrated, estimated or entered by hand.
    C,
    /// The vehicle reported it, or it is not said where or how it was measured.
    D,
    /// It was estimated, computed from the state of charge, or entered by a person.
    E,
}

impl Grade {
    /// All, the best first.
    pub const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::E];

    /// The grade of a record's headline energy. `None` if it has none.
    pub fn of(session: &ChargingSession) -> Option<Self> {
        let reading = session.energy.readings.first()?;
        if session.details.signed.iter().any(|signed| !signed.plain.is_empty()) {
            return Some(Self::A);
        }
        let registers = &session.energy.registers;
        let moved = registers.start.zip(registers.end).and_then(|(start, end)| end.checked_sub(start));
        if moved.is_some_and(|moved| agree(moved, reading.energy)) {
            return Some(Self::B);
        }
        Some(Self::of_reading(reading))
    }

    fn of_reading(reading: &EnergyReading) -> Self {
        use MeasurementMethod as Method;
        match (reading.method, reading.point) {
            (Method::FromStateOfCharge | Method::Estimated | Method::Manual, _) => Self::E,
            (
                Method::SignedMeter | Method::Metered | Method::Unknown,
                MeasuringPoint::Supply | MeasuringPoint::EvseOutput,
            ) => Self::C,
            _ => Self::D,
        }
    }

    /// What it means, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::A => "signed meter values are in the record; the signatures are not checked here",
            Self::B => "meter registers at start and end, and their difference is the energy",
            Self::C => "measured at the supply or the charge point",
            Self::D => "reported by the vehicle, or not said where or how it was measured",
            Self::E => "estimated, from the state of charge, or entered by a person",
        }
    }

    /// The letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The tolerance of the check `energy.meter_mismatch`.
fn agree(moved: Energy, energy: Energy) -> bool {
    let (moved, energy) = (moved.as_kwh(), energy.as_kwh());
    (moved - energy).abs() <= Decimal::new(1, 1).max(energy.abs() * Decimal::new(2, 2))
}

#[cfg(test)]
mod tests {
    use charging_sessions_core::{Classified, SignedRecord};

    use super::*;
    use crate::choice::tests::session;

    fn measured(point: MeasuringPoint, method: MeasurementMethod) -> ChargingSession {
        let mut session = session("a");
        let reading = EnergyReading::import(Energy::from_wh(10_000).unwrap(), point);
        session.energy.readings = vec![reading.with_method(Classified::new(method, "x"))];
        session
    }

    #[test]
    fn place_and_method_make_the_grade() {
        use MeasurementMethod as Method;
        for (point, method, grade) in [
            (MeasuringPoint::EvseOutput, Method::Metered, Grade::C),
            (MeasuringPoint::Supply, Method::SignedMeter, Grade::C),
            (MeasuringPoint::EvseOutput, Method::Unknown, Grade::C),
            (MeasuringPoint::EvseOutput, Method::Integrated, Grade::D),
            (MeasuringPoint::VehicleInlet, Method::Metered, Grade::D),
            (MeasuringPoint::Unknown, Method::Metered, Grade::D),
            (MeasuringPoint::Invoice, Method::Unknown, Grade::D),
            (MeasuringPoint::EvseOutput, Method::Manual, Grade::E),
            (MeasuringPoint::Battery, Method::FromStateOfCharge, Grade::E),
        ] {
            assert_eq!(Grade::of(&measured(point, method)), Some(grade), "{point} {method}");
        }
    }

    #[test]
    fn registers_and_signatures_raise_it_if_they_fit() {
        let mut session = measured(MeasuringPoint::Unknown, MeasurementMethod::Unknown);
        session.energy.registers.start = Energy::from_wh(100_000);
        session.energy.registers.end = Energy::from_wh(110_150);
        assert_eq!(Grade::of(&session), Some(Grade::B));
        session.energy.registers.end = Energy::from_wh(110_250);
        assert_eq!(Grade::of(&session), Some(Grade::D), "registers that tell something else prove nothing");
        session.details.signed.push(SignedRecord::default());
        assert_eq!(Grade::of(&session), Some(Grade::D), "an empty signed record is no evidence");
        session.details.signed[0].plain = b"OCMF|{}".to_vec();
        assert_eq!(Grade::of(&session), Some(Grade::A));
        session.energy.readings.clear();
        assert_eq!(Grade::of(&session), None, "without energy there is nothing to prove");
    }
}
