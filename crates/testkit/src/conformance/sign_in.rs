//! Signing in, once, and giving up.

use charging_sessions_core::{ErrorKind, SessionQuery};
use futures_util::future::join_all;

use super::{
    Outcome,
    line::{Effect, Fault, answer},
    trial::{Account, require},
};

fn unauthorized() -> Effect {
    Effect::Answer(answer(401, "application/json", "{}"))
}

pub(super) async fn signs_in_once(account: &Account) -> Outcome {
    let on = account.open();
    let query = SessionQuery::all();
    let pages = join_all((0..32).map(|_| on.source.fetch_page(&query, None))).await;
    if let Some(error) = pages.into_iter().find_map(Result::err) {
        return Err(format!("one of 32 first pages failed ({}): {error}", error.kind()));
    }
    require(on.line.sign_ins() <= 1, || format!("32 first pages cost {} sign-ins", on.line.sign_ins()))
}

pub(super) async fn renews_once(account: &Account) -> Outcome {
    let on = account.open();
    on.read(SessionQuery::all()).await?;
    if on.line.sign_ins() == 0 {
        return Ok(());
    }
    let middle = on.line.data_requests() / 2;
    let on = account.open();
    on.line.fail(Fault::at(middle, unauthorized()));
    on.is_complete(&format!("after a 401 at request {middle}")).await?;
    require(on.line.hits() == 1, || format!("there was no request {middle} this time"))?;
    require(on.line.sign_ins() == 2, || format!("{} sign-ins, expected are 2", on.line.sign_ins()))
}

/// How many calls of a source it may take until refused credentials are not used any more.
const CALLS: usize = 10;

pub(super) async fn gives_up_refused_credentials(account: &Account) -> Outcome {
    let on = account.open();
    on.read(SessionQuery::all()).await?;
    let signs_in = on.line.sign_ins() > 0;
    let faults = [("data", Fault::from(0, unauthorized())), ("sign-in", Fault::sign_in(unauthorized()))];
    for (what, fault) in faults.into_iter().take(1 + usize::from(signs_in)) {
        let on = account.open();
        on.line.fail(fault);
        let mut sent = 0;
        for call in 0..2 * CALLS {
            if call == CALLS {
                sent = on.line.requests();
            }
            let error = on.source.fetch_page(&SessionQuery::all(), None).await.err();
            require(error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Unauthenticated), || {
                format!("401 for {what} gave {error:?}")
            })?;
        }
        let more = on.line.requests() - sent;
        require(more == 0, || format!("{more} requests were sent after {CALLS} refusals of {what}"))?;
    }
    Ok(())
}
