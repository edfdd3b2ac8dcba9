//! Brings every schema that the roots reach to one of a few forms, so that what a provider adds, leaves out or
//! sends as null never fails to decode.
//!
//! A schema is first flattened to its alternatives: references followed, null taken out, unions spread. Equal
//! alternatives then fall together, and what is left is a type, a link, one-or-many, or plain JSON.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    flatten::{Flat, Form, Leaf, flatten, list_items, map_values, parts, values},
    load::Document,
    model::{Alias, Field, Model, Struct, Type},
    name::{Names, type_name},
    pointer::Pointer,
    reach::Reached,
};

/// A union of more objects than this says too little to be one struct.
const MOST_MERGED: usize = 8;

/// So many known words are listed in a doc comment.
const MOST_WORDS: usize = 40;

/// A type with what the document says about it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Type,
    pub(crate) doc: Vec<String>,
    pub(crate) words: Vec<String>,
}

/// Everything the roots reach.
pub(crate) fn normalise(document: &Document, reached: &Reached<'_>) -> Result<Model> {
    let mut normaliser =
        Normaliser { document, drafts: Vec::new(), by_place: BTreeMap::new(), waiting: VecDeque::new() };
    let mut roots = Vec::new();
    let schemas = Pointer::default().child("components").child("schemas");
    for name in &reached.schemas {
        let at = schemas.child(*name);
        let node = at.find(&document.value).with_context(|| format!("at {at}: nothing is here"))?;
        roots.push((name.to_string(), normaliser.lower(node, &at, name)?));
    }
    for response in &reached.responses {
        let words = format!("{} response", response.operation.name);
        let mut shape = normaliser.lower(response.schema, &response.at, &words)?;
        shape.doc.insert(0, format!("Answer of `{}`.", response.operation.title));
        roots.push((words, shape));
    }
    while let Some((index, sources)) = normaliser.waiting.pop_front() {
        normaliser.fill(index, &sources)?;
    }
    Ok(normaliser.finish(roots))
}

/// The shape of a query parameter's schema; queries have no structs of their own.
pub(crate) fn scalar(document: &Document, node: &Value, at: &Pointer) -> Result<Shape> {
    let mut normaliser =
        Normaliser { document, drafts: Vec::new(), by_place: BTreeMap::new(), waiting: VecDeque::new() };
    normaliser.lower(node, at, "")
}

struct Normaliser<'a> {
    document: &'a Document,
    drafts: Vec<Draft>,
    /// Structs by the places they are made from.
    by_place: BTreeMap<Vec<Pointer>, usize>,
    /// Structs whose properties are still to be read; a queue, so that long chains need no deep stack.
    waiting: VecDeque<(usize, Vec<Leaf<'a>>)>,
}

/// A struct before it has a name.
#[derive(Default)]
struct Draft {
    words: String,
    component: bool,
    /// How many merges of differing objects lie around it.
    merged: usize,
    doc: Vec<String>,
    fields: Vec<(String, Shape)>,
}

/// Where a type is being looked for.
#[derive(Debug)]
struct Surroundings {
    /// Name what is inline.
    words: String,
    /// How many merges of differing objects lie around.
    merged: usize,
    /// The lists and maps around.
    around: Vec<Pointer>,
    /// Collects the words that strings are known to be.
    known: Vec<String>,
    /// What made it plain JSON, if anything did.
    kept: Option<String>,
}

/// A property as one of the objects has it that a struct is made of.
#[derive(Clone, Debug)]
struct Occurrence<'a> {
    node: &'a Value,
    at: Pointer,
    /// Found in an alternative, which need not be the one that applies.
    either: bool,
}

type Properties<'a> = BTreeMap<&'a str, Vec<Occurrence<'a>>>;

impl<'a> Normaliser<'a> {
    /// Finds the type of a schema; `words` name what is inline in it.
    fn lower(&mut self, node: &'a Value, at: &Pointer, words: &str) -> Result<Shape> {
        self.lower_any(&[Occurrence { node, at: at.clone(), either: false }], words, 0)
    }

    /// Finds the one type that holds whatever any of the schemas allows.
    fn lower_any(&mut self, nodes: &[Occurrence<'a>], words: &str, merged: usize) -> Result<Shape> {
        let mut all = Flat::default();
        for occurrence in nodes {
            let mut flat = Flat::default();
            flatten(self.document, occurrence.node, &occurrence.at, &mut flat)?;
            // Beside a type, a part that only describes narrows nothing.
            let narrows = nodes.len() == 1
                || occurrence.either
                || flat.leaves.iter().any(|leaf| leaf.form != Form::Any);
            if narrows {
                all.leaves.append(&mut flat.leaves);
            }
            all.component = flat.component;
        }
        let leaves = distinct(all.leaves);
        let words = all.component.as_deref().filter(|_| nodes.len() == 1).unwrap_or(words);
        let mut context = Surroundings {
            words: words.to_owned(),
            merged,
            around: Vec::new(),
            known: Vec::new(),
            kept: None,
        };
        let kind = self.union(&leaves, &mut context)?;
        let mut shape = Shape { kind, doc: Vec::new(), words: context.known };
        shape.doc = nodes
            .iter()
            .map(|occurrence| doc(occurrence.node))
            .find(|doc| !doc.is_empty())
            .unwrap_or_default();
        // What is inlined has no other place for its description.
        if shape.doc.is_empty() && structs_in(&shape.kind).is_none() {
            shape.doc =
                leaves.iter().map(|leaf| doc(leaf.node)).find(|doc| !doc.is_empty()).unwrap_or_default();
        }
        if shape.kind == Type::Any {
            shape.words.clear();
        }
        if let Some(kept) = context.kept {
            shape.doc.push(format!("Kept as JSON: the document allows {kept} here."));
        }
        if !shape.words.is_empty() {
            shape.doc.push(words_doc(&shape.words));
        }
        Ok(shape)
    }

    /// The type that holds any of the alternatives.
    fn union(&mut self, leaves: &[Leaf<'a>], context: &mut Surroundings) -> Result<Type> {
        if leaves.is_empty() || leaves.iter().any(|leaf| leaf.form == Form::Any) {
            return Ok(Type::Any);
        }
        let kind = self.union_of_some(leaves, context)?;
        if kind == Type::Any {
            context.kept.get_or_insert_with(|| listed(leaves));
        }
        Ok(kind)
    }

    fn union_of_some(&mut self, leaves: &[Leaf<'a>], context: &mut Surroundings) -> Result<Type> {
        let of = |form: Form| leaves.iter().filter(|leaf| leaf.form == form).cloned().collect::<Vec<_>>();
        if leaves.iter().any(|leaf| leaf.form == Form::List) {
            return self.union_with_lists(leaves, context);
        }
        let mut kinds = Vec::new();
        let objects = of(Form::Object);
        if !objects.is_empty() {
            kinds.push(self.object(&objects, context).map_or(Type::Any, Type::Struct));
        }
        let maps = of(Form::Map);
        if !maps.is_empty() {
            let inner = self.inner(&maps, map_values, Vec::new(), "value", context)?;
            kinds.push(inner.map_or(Type::Any, |inner| Type::Map(Box::new(inner))));
        }
        let numbers = of(Form::Number);
        if !numbers.is_empty() || !of(Form::Integer).is_empty() {
            kinds.push(if numbers.is_empty() { Type::Integer } else { Type::Number });
        }
        if !of(Form::Boolean).is_empty() {
            kinds.push(Type::Boolean);
        }
        let texts = of(Form::Text);
        context.known.extend(texts.iter().flat_map(|leaf| known_words(leaf.node)));
        let texts: BTreeSet<Type> = texts.iter().map(|leaf| text_type(leaf.node)).collect();
        match texts.len() {
            0 => {}
            1 => kinds.extend(texts),
            _ => kinds.push(Type::Text),
        }
        Ok(match kinds.as_slice() {
            [one] => one.clone(),
            [object @ (Type::Struct(_) | Type::Map(_)), Type::Text | Type::Timestamp | Type::Date] => {
                Type::Link(Box::new(object.clone()))
            }
            _ => Type::Any,
        })
    }

    /// Lists alone become one list of whatever any of them holds; beside other things, one or many of them.
    fn union_with_lists(&mut self, leaves: &[Leaf<'a>], context: &mut Surroundings) -> Result<Type> {
        let (lists, others): (Vec<_>, Vec<_>) =
            leaves.iter().cloned().partition(|leaf| leaf.form == Form::List);
        let alone = others.is_empty();
        let Some(inner) = self.inner(&lists, list_items, others, if alone { "item" } else { "" }, context)?
        else {
            return Ok(Type::Any);
        };
        Ok(match inner {
            inner if alone => Type::List(Box::new(inner)),
            Type::Any => Type::Any,
            inner => Type::OneOrMany(Box::new(inner)),
        })
    }

    /// The type inside lists or maps; none if they hold themselves, which only JSON can.
    fn inner(
        &mut self,
        outer: &[Leaf<'a>],
        step: impl Fn(&Leaf<'a>) -> Option<(&'a Value, Pointer)>,
        others: Vec<Leaf<'a>>,
        word: &str,
        context: &mut Surroundings,
    ) -> Result<Option<Type>> {
        if outer.iter().any(|leaf| context.around.contains(&leaf.at)) {
            return Ok(None);
        }
        let mut flat = Flat::default();
        flat.leaves.extend(others);
        for leaf in outer {
            match step(leaf) {
                Some((node, at)) => flatten(self.document, node, &at, &mut flat)?,
                None => return Ok(Some(Type::Any)),
            }
        }
        let words = flat.component.unwrap_or_else(|| format!("{} {word}", context.words));
        let words = std::mem::replace(&mut context.words, words);
        context.around.extend(outer.iter().map(|leaf| leaf.at.clone()));
        let kind = self.union(&distinct(flat.leaves), context)?;
        context.around.truncate(context.around.len() - outer.len());
        context.words = words;
        Ok(Some(match kind {
            Type::Any => Type::Any,
            kind if flat.nullable => Type::Nullable(Box::new(kind)),
            kind => kind,
        }))
    }

    /// The struct of one object, or of several merged; none if they are too many or merged too deep.
    fn object(&mut self, leaves: &[Leaf<'a>], context: &Surroundings) -> Option<usize> {
        let mut places: Vec<Pointer> = leaves.iter().map(|leaf| leaf.at.clone()).collect();
        places.sort();
        if let Some(index) = self.by_place.get(&places) {
            return Some(*index);
        }
        let mut draft = Draft { words: context.words.clone(), ..Draft::default() };
        if let [leaf] = leaves {
            if let Some(name) = leaf.at.component() {
                draft.words = name.to_owned();
                draft.component = true;
                // What is inline has its description where it is used.
                draft.doc = doc(leaf.node);
            }
        } else {
            if leaves.len() > MOST_MERGED || context.merged > 1 {
                return None;
            }
            draft.merged = context.merged + 1;
            draft.doc = vec![format!("One of {} objects of the document, merged.", leaves.len())];
        }
        let index = self.drafts.len();
        self.drafts.push(draft);
        self.by_place.insert(places, index);
        self.waiting.push_back((index, leaves.to_vec()));
        Some(index)
    }

    /// Reads the properties of a struct.
    fn fill(&mut self, index: usize, leaves: &[Leaf<'a>]) -> Result<()> {
        let mut properties = Properties::new();
        for leaf in leaves {
            self.gather(leaf.node, &leaf.at, leaves.len() > 1, &mut Vec::new(), &mut properties)?;
        }
        let words = self.drafts[index].words.clone();
        let merged = self.drafts[index].merged;
        let mut fields = Vec::new();
        for (name, occurrences) in properties {
            let mut distinct: Vec<Occurrence<'a>> = Vec::new();
            for occurrence in occurrences {
                if !distinct.iter().any(|known| known.node == occurrence.node) {
                    distinct.push(occurrence);
                }
            }
            let level = if distinct.len() > 1 { merged.max(1) } else { 0 };
            let shape = self.lower_any(&distinct, &format!("{words} {name}"), level)?;
            fields.push((name.to_owned(), shape));
        }
        self.drafts[index].fields = fields;
        Ok(())
    }

    /// Collects the properties of an object from itself, its parts and its alternatives.
    fn gather(
        &self,
        node: &'a Value,
        at: &Pointer,
        either: bool,
        stack: &mut Vec<Pointer>,
        properties: &mut Properties<'a>,
    ) -> Result<()> {
        let Value::Object(map) = node else { return Ok(()) };
        if stack.contains(at) {
            return Ok(());
        }
        stack.push(at.clone());
        if let Some(own) = map.get("properties") {
            let Value::Object(own) = own else {
                bail!("at {at}/properties: properties are a mapping of schemas")
            };
            for (name, node) in own.iter().filter(|(_, node)| **node != Value::Bool(false)) {
                let at = at.child("properties").child(name.as_str());
                properties.entry(name).or_default().push(Occurrence { node, at, either });
            }
        }
        if let Some(reference) = map.get("$ref") {
            let (target, place) = self.document.resolve(reference, at)?;
            self.gather(target, &place, either, stack, properties)?;
        }
        for (node, at) in parts(map, at, "allOf")? {
            self.gather(node, &at, either, stack, properties)?;
        }
        let alternatives: Vec<_> =
            parts(map, at, "oneOf")?.into_iter().chain(parts(map, at, "anyOf")?).collect();
        // A base that lists its heirs must not give an heir the properties of its siblings.
        let lists_heir = alternatives.iter().any(|(node, at)| {
            node.get("$ref")
                .is_some_and(|r| self.document.resolve(r, at).is_ok_and(|(_, place)| stack.contains(&place)))
        });
        if !lists_heir {
            for (node, at) in alternatives {
                self.gather(node, &at, true, stack, properties)?;
            }
        }
        stack.pop();
        Ok(())
    }

    /// Names what is used, and leaves out what is not.
    fn finish(self, roots: Vec<(String, Shape)>) -> Model {
        let mut used = BTreeSet::new();
        let mut waiting: Vec<usize> = roots.iter().flat_map(|(_, shape)| structs_in(&shape.kind)).collect();
        while let Some(index) = waiting.pop() {
            if used.insert(index) {
                waiting
                    .extend(self.drafts[index].fields.iter().flat_map(|(_, shape)| structs_in(&shape.kind)));
            }
        }
        // Components whose name needs no change keep it, then come the other components and the roots, and what
        // is inline takes what is left.
        let mut order: Vec<usize> = used.into_iter().collect();
        order.sort_by_key(|index| {
            let draft = &self.drafts[*index];
            let changed = type_name(&draft.words) != draft.words;
            (!draft.component, draft.component && changed, draft.words.clone(), *index)
        });
        let (components, inline): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|index| self.drafts[*index].component);
        let mut names = Names::default();
        let name_all = |indices: Vec<usize>, names: &mut Names| {
            let named = indices.into_iter().map(|index| (names.take_type(&self.drafts[index].words), index));
            named.collect::<Vec<_>>()
        };
        let mut named = name_all(components, &mut names);
        let roots = roots.into_iter().filter(|(_, shape)| !matches!(shape.kind, Type::Struct(_)));
        let roots: Vec<(String, Shape)> =
            roots.map(|(words, shape)| (names.take_type(&words), shape)).collect();
        named.extend(name_all(inline, &mut names));
        named.sort();
        let position: BTreeMap<usize, usize> =
            named.iter().enumerate().map(|(position, (_, index))| (*index, position)).collect();
        let mut drafts: BTreeMap<usize, Draft> = self.drafts.into_iter().enumerate().collect();
        let mut structs = Vec::new();
        for (name, index) in named {
            let draft = drafts.remove(&index).unwrap_or_default();
            let mut fields = Names::default();
            let fields = draft.fields.into_iter().map(|(wire, shape)| Field {
                name: fields.take_field(&wire),
                wire,
                doc: shape.doc,
                kind: renumbered(&shape.kind, &position),
                words: shape.words,
            });
            structs.push(Struct { name, doc: draft.doc, fields: fields.collect() });
        }
        let aliases = roots.into_iter().map(|(name, shape)| Alias {
            name,
            doc: shape.doc,
            kind: renumbered(&shape.kind, &position),
        });
        let aliases = aliases.collect();
        Model { structs, aliases, names }
    }
}

fn structs_in(kind: &Type) -> Option<usize> {
    match kind {
        Type::Struct(index) => Some(*index),
        Type::Nullable(inner)
        | Type::List(inner)
        | Type::Map(inner)
        | Type::Link(inner)
        | Type::OneOrMany(inner) => structs_in(inner),
        _ => None,
    }
}

fn renumbered(kind: &Type, position: &BTreeMap<usize, usize>) -> Type {
    let inside = |inner: &Type| Box::new(renumbered(inner, position));
    match kind {
        Type::Struct(index) => position.get(index).map_or(Type::Any, |index| Type::Struct(*index)),
        Type::Nullable(inner) => Type::Nullable(inside(inner)),
        Type::List(inner) => Type::List(inside(inner)),
        Type::Map(inner) => Type::Map(inside(inner)),
        Type::Link(inner) => Type::Link(inside(inner)),
        Type::OneOrMany(inner) => Type::OneOrMany(inside(inner)),
        plain => plain.clone(),
    }
}

/// Takes out what is listed twice, under one name or word for word.
fn distinct(leaves: Vec<Leaf<'_>>) -> Vec<Leaf<'_>> {
    let mut distinct: Vec<Leaf<'_>> = Vec::new();
    for leaf in leaves {
        if !distinct
            .iter()
            .any(|known| known.form == leaf.form && (known.at == leaf.at || known.node == leaf.node))
        {
            distinct.push(leaf);
        }
    }
    distinct
}

fn known_words(node: &Value) -> Vec<String> {
    node.as_object().into_iter().flat_map(values).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text_type(node: &Value) -> Type {
    match node.get("format").and_then(Value::as_str) {
        _ if !known_words(node).is_empty() => Type::Text,
        Some("date-time") => Type::Timestamp,
        Some("date") => Type::Date,
        _ => Type::Text,
    }
}

fn doc(node: &Value) -> Vec<String> {
    let text = node.get("description").and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let mut doc: Vec<String> = text.map(str::to_owned).into_iter().collect();
    if node.get("deprecated") == Some(&Value::Bool(true)) {
        doc.push("Deprecated.".to_owned());
    }
    doc
}

fn words_doc(words: &[String]) -> String {
    let shown: Vec<String> =
        words.iter().take(MOST_WORDS).map(|word| format!("`{}`", word.replace('`', "'"))).collect();
    let more = words.len().saturating_sub(MOST_WORDS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("Known words: {}{more}.", shown.join(", "))
}

fn listed(leaves: &[Leaf<'_>]) -> String {
    let mut names: Vec<String> = Vec::new();
    let objects = leaves.iter().filter(|leaf| leaf.form == Form::Object).count();
    for leaf in leaves {
        let name = match leaf.form {
            Form::Any => "anything".to_owned(),
            Form::Boolean => "a boolean".to_owned(),
            Form::Integer => "an integer".to_owned(),
            Form::List => "a list".to_owned(),
            Form::Map => "a map".to_owned(),
            Form::Number => "a number".to_owned(),
            Form::Object if objects > 1 => format!("one of {objects} objects"),
            Form::Object => "an object".to_owned(),
            Form::Text => "a string".to_owned(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) if last == "a list" || last == "a map" => format!("{last} that holds itself"),
        Some((last, _)) => last.clone(),
        None => "anything".to_owned(),
    }
}
