//! The server of the tests, asked by other means than the store's.

use std::env;

use tokio_postgres::{Client, NoTls};

/// Where the server is, and as whom to sign in.
pub(crate) fn address() -> String {
    let variable = "CHARGING_SESSIONS_TEST_POSTGRES";
    env::var(variable).unwrap_or_else(|_| panic!("{variable} names no server; run `cargo xtask ci`"))
}

pub(crate) async fn client() -> Client {
    let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The only value of an answer.
pub(crate) async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}
