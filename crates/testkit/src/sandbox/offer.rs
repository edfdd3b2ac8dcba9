//! What sandboxes have in common, written once.

/// Methods of a sandbox by which a test sees what was asked and makes things go wrong. Its `shared` has a recorder and a
/// queue of faults, and for `tokens` a token endpoint. `where_they_fit` says which requests have records and pages.
macro_rules! controls {
    ($where_they_fit:literal) => {
        /// Everything that was asked so far.
        pub fn requests(&self) -> Vec<RecordedRequest> {
            self.shared.recorder.requests()
        }

        #[doc = concat!("Puts a fault at the end of the queue. ", $where_they_fit)]
        pub fn inject(&self, fault: Fault) {
            self.shared.faults.push(fault);
        }

        /// Forgets the faults that have not happened yet.
        pub fn clear_faults(&self) {
            self.shared.faults.clear();
        }

        /// How many faults have not happened yet, or not as often as they should.
        pub fn faults_waiting(&self) -> usize {
            self.shared.faults.waiting()
        }
    };
    ($where_they_fit:literal, tokens) => {
        controls!($where_they_fit);

        /// The id of the client.
        pub fn client_id(&self) -> &str {
            self.shared.tokens.client_id()
        }

        /// Its secret.
        pub fn client_secret(&self) -> &str {
            self.shared.tokens.client_secret()
        }

        /// How often a token was asked for, with or without success.
        pub fn token_requests(&self) -> usize {
            self.shared.tokens.requests()
        }

        /// Every access token that was given out, so that a test can look where they went.
        pub fn tokens_given(&self) -> Vec<String> {
            self.shared.tokens.given()
        }
    };
}

/// A method of a builder that sets the field of its name.
macro_rules! sets {
    (seed) => {
        /// Decides all that is left to chance. 0 without a call.
        pub fn seed(mut self, seed: u64) -> Self {
            self.seed = seed;
            self
        }
    };
    (now, $default:literal) => {
        #[doc = concat!("The moment at which the data ends. ", $default, " without a call, so that tests can be repeated.")]
        pub fn now(mut self, now: Timestamp) -> Self {
            self.now = now;
            self
        }
    };
    (days) => {
        /// How far back the data goes. 90 without a call.
        pub fn days(mut self, days: u32) -> Self {
            self.days = days;
            self
        }
    };
    (dirt) => {
        /// Whether some records are as bad as real ones. They are without a call.
        pub fn dirt(mut self, dirt: bool) -> Self {
            self.dirt = dirt;
            self
        }
    };
    (credentials) => {
        /// The id and the secret of the client. Made up from the seed without a call.
        pub fn credentials(mut self, client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
            self.credentials = Some((client_id.into(), client_secret.into()));
            self
        }
    };
    (token_lifetime, $default:literal) => {
        #[doc = concat!("How long an access token is good for. ", $default, " without a call.")]
        pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
            self.token_lifetime = lifetime;
            self
        }
    };
    (rate_limit, $default:literal) => {
        #[doc = concat!("How many requests for data are allowed in any stretch of `per`. ", $default, " without a call.")]
        pub fn rate_limit(mut self, requests: usize, per: Duration) -> Self {
            self.rate_limit = Some((requests, per));
            self
        }
    };
    (latency) => {
        /// How long every answer with data takes. No time without a call.
        pub fn latency(mut self, latency: Duration) -> Self {
            self.latency = latency;
            self
        }
    };
}

pub(super) use {controls, sets};
