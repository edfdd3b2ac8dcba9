//! The store in PostgreSQL: the suite for all stores, and what can go wrong with a server.
//!
//! `cargo xtask ci` starts a server and names its address, of a superuser, in `CHARGING_SESSIONS_TEST_POSTGRES`. Each
//! test makes a schema of its own.

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
};

use charging_sessions_store::{PostgresOptions, PostgresStore};

mod suite;

fn address() -> String {
    let variable = "CHARGING_SESSIONS_TEST_POSTGRES";
    env::var(variable).unwrap_or_else(|_| panic!("{variable} names no server; run `cargo xtask ci`"))
}

/// An empty schema.
fn scratch() -> PostgresOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    PostgresOptions::new(address().into()).schema(name)
}

macro_rules! server {
    ($($test:ident,)*) => {
        mod server {
            use super::*;
            $(#[tokio::test]
            #[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
            async fn $test() {
                suite::$test(&PostgresStore::connect(scratch()).await.unwrap()).await;
            })*
        }
    };
}
each_test!(server);
