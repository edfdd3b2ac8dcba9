//! Configurations of the program: what is wrong is told in one sentence, and what is taken can be asked for a page.
#![no_main]

use std::sync::Arc;

use charging_sessions_cli::sources_of;
use charging_sessions_core::SessionQuery;
use charging_sessions_fuzz::{FETCHED_AT, Silence, block_on};
use charging_sessions_http::Transport;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let transport: Arc<dyn Transport> = Arc::new(Silence);
    // Sources wait between requests, as long as they live.
    block_on(async {
        for trusted in [false, true] {
            match sources_of(text, trusted, &transport) {
                Err(sentence) => {
                    assert!(sentence.starts_with("charging-sessions.toml:"), "{sentence}");
                    assert!(!sentence.contains(char::is_control), "{sentence:?}");
                }
                Ok(sources) => {
                    for source in sources {
                        for query in [SessionQuery::all(), SessionQuery::changed_since(FETCHED_AT)] {
                            drop(source.fetch_page(&query, None).await);
                        }
                    }
                }
            }
        }
    });
});
