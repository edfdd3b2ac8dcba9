//! OpenAPI documents, as the generator of code reads them.
#![no_main]

#[allow(dead_code)]
#[path = "../../../xtask/src/codegen/load.rs"]
mod load;
#[allow(dead_code)]
#[path = "../../../xtask/src/codegen/pointer.rs"]
mod pointer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    drop(load::Spec::parse(text));
    let Ok(document) = load::Document::parse(text) else { return };
    // Each reference leads somewhere, or is refused; a circle is one of those.
    let mut waiting = vec![(&document.value, pointer::Pointer::default())];
    while let Some((node, at)) = waiting.pop() {
        drop(document.follow(node, &at));
        match node {
            serde_json::Value::Object(map) => waiting.extend(map.values().map(|value| (value, at.clone()))),
            serde_json::Value::Array(list) => waiting.extend(list.iter().map(|value| (value, at.clone()))),
            _ => {}
        }
    }
});
