//! `charging-sessions init`: a configuration to begin with.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use charging_sessions::AccountId;

use crate::{
    args::SharedArgs,
    config,
    exit::{Code, Failure},
    output,
    provider::Provider,
};

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Whose account.
    #[arg(long, value_enum)]
    provider: Provider,
    /// Your own name for the account; part of every record's key.
    #[arg(long, value_name = "NAME", default_value = "home")]
    account: AccountId,
    /// The OAuth client's identifier; for evcc, a name at a proxy in front of it. It can be filled in later.
    #[arg(long, value_name = "ID", default_value = "")]
    client_id: String,
    /// Where to write, or - for standard output; the user's own configuration unless given.
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
}

pub(crate) fn run(args: &InitArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let text = template(args.provider, &args.account, &args.client_id);
    let path = match args.path.as_ref().or(shared.config.as_ref()) {
        Some(path) if path == Path::new("-") => return output::say(&text),
        Some(path) => path.clone(),
        None => config::user_file()?,
    };
    write(&path, &text).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} is there already and stays as it is: add to it what --path - prints, or name another file with --path",
            path.display()
        )),
        _ => Failure::usage(format!("{} cannot be written: {error}", path.display())),
    })?;
    eprintln!("Wrote {}.", path.display());
    let set = match args.provider.is_open() && args.client_id.is_empty() {
        true => String::new(),
        false => format!(" set {},", variable(args.provider)),
    };
    eprintln!("Fill it in,{set} and try `charging-sessions auth status --online`.");
    Ok(Code::Done)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // It holds no secret, but people put passwords into the commands that it may name.
        options.mode(0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

fn variable(provider: Provider) -> String {
    provider.id().as_str().to_ascii_uppercase().replace('-', "_") + "_CLIENT_SECRET"
}

fn template(provider: Provider, account: &AccountId, client_id: &str) -> String {
    let id = provider.id();
    let variable = variable(provider);
    let bare = account.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    // What JSON quotes, TOML reads.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let name = if bare { account.to_string() } else { quoted(account.as_str()) };
    let needs_none = provider.is_open() && client_id.is_empty();
    let client_id = quoted(client_id);
    let mark = if needs_none { "#" } else { "" };
    let own = match provider {
        Provider::DerConnect => DER_CONNECT,
        Provider::EvEnergy => EV_ENERGY,
        Provider::Evcc => EVCC,
        Provider::Ocpi => OCPI,
        Provider::Podero => PODERO,
    };
    let about = match provider {
        Provider::Evcc => PROXY,
        Provider::Ocpi => TOKEN,
        _ => CLIENT,
    };
    let name_line =
        if provider.is_token_only() { String::new() } else { format!("{mark}client_id = {client_id}\n") };
    let credentials = format!(
        "# {about} The secret never stands here: refer to\n# it with {{ env = \"NAME\" }}, {{ file = \"PATH\" }} (which \
         nobody else may read), {{ command = \"COMMAND\" }} or\n# {{ keyring = \"NAME\" }}.\n\
         {name_line}{mark}client_secret = {{ env = \"{variable}\" }}"
    );
    let addresses = if provider.is_open() || provider.is_token_only() { "" } else { ADDRESSES };
    format!(
        r#"# The configuration of charging-sessions. A line that begins with # says what could be set.

# Where sessions are kept; in the data folder of this system unless given. Seen from this file.
#store = "sessions.sqlite"

# The time zone in which days are reckoned and times are shown; this machine's unless given.
#time_zone = "Europe/London"

# What a kilowatt-hour is reimbursed with, for `report reimbursement`.
#[reimbursement]
#price_per_kwh = "0.32"
#currency = "EUR"

# The name of the account is yours. It is part of every record's key, so it should not change.
[accounts.{name}]
provider = "{id}"

{credentials}
{own}
# The first day of interest; all that the provider has unless given.
#since = 2024-01-01

# How many requests the provider allows in a rolling span of time, if it is not what is known of it.
#quota = "1000/1h"
{addresses}"#
    )
}

const CLIENT: &str = "The OAuth client's identifier and its secret, as the provider gave them to you.";

const PROXY: &str = "What a proxy in front of the server wants to see, if there is one: a name and a password as HTTP Basic, or, \
                     without\n# the name, a token.";

const TOKEN: &str = "The token that the party gave out.";

const ADDRESSES: &str = r#"
# Where the provider is, if not at its own addresses: for tests.
#base_url = "https://api.example.com/"
#token_url = "https://api.example.com/token"
"#;

const DER_CONNECT: &str = r#"
# The scope to ask for.
#scope = "read"

# What is read when nothing is named; all that the provider lists unless given.
#entities = { vehicles = ["ID"], charge_points = ["ID"] }

# The longest that a session lasts.
#longest_session = "7d"
"#;

const EV_ENERGY: &str = r#"
# The user to act as, for credentials that see many.
#acting_user = "user01"

# Only this charging mode.
#mode = "SMART"

# What to receive in full instead of as a link. Each needs its scope.
#expand = ["vehicle", "evse"]

# Keep the intervals of each session, too: one request more for each.
#with_intervals = true

# Stays at the plug instead of their parts, and the longest of them. Without mode and expand.
#plug_ins = true
#longest_stay = "30d"
"#;

const EVCC: &str = r#"
# Where the server is. Plain http to another machine has to be allowed; with_credentials also with a name or a token, which
# everybody on the way can then read and use.
base_url = "http://evcc.local:7070/"
plain_http = "without_credentials"

# The currency of the site; the one that the server names unless given.
#currency = "EUR"

# The time zone of the site, which is kept with each session.
#site_time_zone = "Europe/Berlin"
"#;

const OCPI: &str = r#"
# Where the party lists its versions.
base_url = "https://cpo.example/ocpi/versions"

# What to list: sessions, cdrs for what was billed, or both.
#module = "both"

# The version to speak; the latest that both sides know unless given.
#ocpi_version = "2.2.1"

# How the token is written: raw, base64, or auto to find it out.
#token_form = "auto"

# Who we are, and whose records are wanted, behind a hub.
#from_party = "NL-TNM"
#to_party = "BE-BEC"

# Where the modules are, if not where the list of versions says.
#sessions_url = "https://cpo.example/ocpi/2.2.1/sessions"
#cdrs_url = "https://cpo.example/ocpi/2.2.1/cdrs"
"#;

const PODERO: &str = r#"
# The organisation, as the provider's account manager names it.
organisation = ""
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_every_key() {
        for name in Provider::NAMES {
            let provider = Provider::named(name).unwrap();
            let text = template(provider, &"my \"car\"".replace(' ', "_").parse().unwrap(), "id");
            let all: String = text
                .lines()
                .map(|line| {
                    line.strip_prefix('#').filter(|it| !it.starts_with(' ')).unwrap_or(line).to_owned() + "\n"
                })
                .collect();
            let all: toml::Table = all.parse().unwrap();
            let mut keys: Vec<_> =
                all["accounts"]["my_\"car\""].as_table().unwrap().keys().map(String::as_str).collect();
            let mut known = config::keys(provider);
            keys.sort_unstable();
            known.sort_unstable();
            assert_eq!(keys, known, "{name}");
        }
    }
}
