//! Everything that is hard to read, generated, compiled and read.

#[allow(dead_code)]
#[path = "hazards/generated.rs"]
mod generated;

use std::process::Command;

use charging_sessions_http::{Link, OneOrMany};
use generated::{ListThingsQuery, Thing};

fn thing(json: &str) -> Thing {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn the_generated_file_is_what_codegen_writes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hazards");
    let run = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["--workspace", folder, "codegen", "--check"])
        .output()
        .expect("xtask runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn an_absent_key_is_none() {
    assert_eq!(thing("{}"), Thing::default());
}

#[test]
fn a_null_is_none_everywhere() {
    let names = serde_json::to_value(Thing::default()).unwrap();
    let names = names.as_object().unwrap();
    assert!(names.len() > 30);
    for name in names.keys() {
        assert_eq!(thing(&format!(r#"{{"{name}":null}}"#)), Thing::default(), "{name}");
    }
}

#[test]
fn an_unknown_key_is_passed_over() {
    assert_eq!(thing(r#"{"new_last_week":{"a":[1]}}"#), Thing::default());
}

#[test]
fn an_unknown_word_is_data() {
    let thing =
        thing(r#"{"mode":"TURBO","class":"Z","country":"XX","labels":["UP"],"ratings":{"all":"BLUE"}}"#);
    assert_eq!(thing.mode.as_deref(), Some("TURBO"));
    assert_eq!(thing.class.as_deref(), Some("Z"));
    assert_eq!(thing.country.as_deref(), Some("XX"));
    assert_eq!(thing.labels.unwrap(), ["UP"]);
    assert_eq!(thing.ratings.unwrap()["all"], "BLUE");
}

#[test]
fn bounds_patterns_and_defaults_are_not_enforced() {
    let thing = thing(r#"{"id":"x","count":-9000000000,"ratio":1e300,"version":"v9"}"#);
    assert_eq!(thing.id.as_deref(), Some("x"));
    assert_eq!(thing.count, Some(-9_000_000_000));
    assert_eq!(thing.done, None);
}

#[test]
fn an_instant_and_a_day_have_their_own_types() {
    let thing = thing(
        r#"{"started_at":"2024-04-18T08:53:52.225655Z","ended_at":"2024-04-18T11:00:00+02:00","day":"2024-04-18"}"#,
    );
    assert_eq!(thing.started_at.unwrap().to_string(), "2024-04-18T08:53:52.225655Z");
    assert_eq!(thing.ended_at.unwrap().to_string(), "2024-04-18T09:00:00Z");
    assert_eq!(thing.day.unwrap(), jiff::civil::date(2024, 4, 18));
}

#[test]
fn a_link_is_a_string_or_the_object() {
    let short = thing(r#"{"user":"https://a.example/1","tariff":"https://a.example/2"}"#);
    assert_eq!(short.user, Some(Link::Url("https://a.example/1".into())));
    let long = thing(
        r#"{"user":{"name":"Ada","things":["https://a.example/3",{"id":"thng"}]},"tariff":{"id":"t","supplier":{"name":"S"}}}"#,
    );
    let Some(Link::Expanded(user)) = long.user else { panic!("the user is expanded") };
    let things = user.things.unwrap();
    assert_eq!(things[0], Link::Url("https://a.example/3".into()));
    let Link::Expanded(inner) = &things[1] else { panic!("the thing is expanded") };
    assert_eq!(inner.id.as_deref(), Some("thng"));
    let Some(Link::Expanded(tariff)) = long.tariff else { panic!("the tariff is expanded") };
    assert!(matches!(tariff.supplier, Some(Link::Expanded(_))));
}

#[test]
fn a_list_of_links_may_mix_both() {
    let parts = thing(r#"{"parts":["https://a.example/1",{"number":2}]}"#).parts.unwrap();
    assert!(matches!((&parts[0], &parts[1]), (Link::Url(_), Link::Expanded(_))));
}

#[test]
fn one_and_many_are_read() {
    assert!(matches!(thing(r#"{"price":{"price":"21.3","energy":5}}"#).price, Some(OneOrMany::One(_))));
    let Some(OneOrMany::Many(prices)) = thing(r#"{"price":[{"price":"20"},{"price":"50"}]}"#).price else {
        panic!("there are many")
    };
    assert_eq!(prices[1].price.as_deref(), Some("50"));
    let prices = thing(r#"{"prices":"https://a.example"}"#).prices.unwrap();
    assert_eq!(prices.as_slice(), [Link::Url("https://a.example".into())]);
    assert!(matches!(thing(r#"{"prices":[{}]}"#).prices, Some(OneOrMany::Many(_))));
    assert!(matches!(thing(r#"{"words":"a"}"#).words, Some(OneOrMany::One(_))));
}

#[test]
fn what_has_no_one_type_is_kept_as_json() {
    assert_eq!(thing(r#"{"mixed":5}"#).mixed.unwrap(), 5);
    assert_eq!(thing(r#"{"mixed":"five"}"#).mixed.unwrap(), "five");
    assert_eq!(thing(r#"{"tree":[["a"],"b"]}"#).tree.unwrap()[0][0], "a");
}

#[test]
fn objects_are_merged_when_any_of_them_may_come() {
    let home = thing(r#"{"home":{"city":"Bonn","intensity":7}}"#).home.unwrap();
    assert_eq!((home.city.as_deref(), home.intensity), (Some("Bonn"), Some(7)));
}

#[test]
fn a_type_may_hold_itself() {
    let outer = thing(r#"{"parent":{"parent":{"id":"root"}},"twins":[{"id":"a"},{"id":"b"}]}"#);
    assert_eq!(outer.parent.unwrap().parent.unwrap().id.as_deref(), Some("root"));
    assert!(matches!(outer.twins, Some(OneOrMany::Many(twins)) if twins.len() == 2));
}

#[test]
fn a_list_keeps_its_nulls_where_the_document_allows_them() {
    assert_eq!(thing(r#"{"gaps":[1,null]}"#).gaps.unwrap(), [Some(1), None]);
}

#[test]
fn odd_property_names_are_read_under_their_own_names() {
    let place = thing(
        r#"{"place":{"2nd":"a","type":"b","+1":1,"-1":2,"fooBar":"c","foo_bar":"d","@id":"e","":"f","$ref":"g"}}"#,
    );
    let place = place.place.unwrap();
    assert_eq!((place.plus_1, place.minus_1), (Some(1), Some(2)));
    assert_eq!((place.foo_bar.as_deref(), place.foo_bar_2.as_deref()), (Some("c"), Some("d")));
    let others = [place.x2nd, place.type_, place.id, place.x, place.ref_].map(Option::unwrap);
    assert_eq!(others, ["a", "b", "e", "f", "g"]);
}

#[test]
fn a_query_spells_its_names_as_the_document_does() {
    let query = ListThingsQuery {
        start_gt: Some("2024-01-01T00:00:00Z".parse().unwrap()),
        expand: vec!["user".into(), "user.home".into()],
        ids: vec![1, 2],
        is_finished: Some(true),
        type_: Some("A".into()),
        filter_state: Some("open".into()),
        page_size: Some(100),
        ..ListThingsQuery::default()
    };
    let pairs = query.pairs();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("page_size", "100"),
            ("start__gt", "2024-01-01T00:00:00Z"),
            ("expand", "user"),
            ("expand", "user.home"),
            ("ids", "1,2"),
            ("is_finished", "true"),
            ("type", "A"),
            ("filter[state]", "open"),
        ]
    );
    assert!(ListThingsQuery::default().pairs().is_empty());
}
