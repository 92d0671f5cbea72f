//! JSON documents as trees, and changing their text with as little as possible.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstNode, CstObject, CstRootNode};

use super::tree::{Node, Place, Table, place_for};

/// JSON, and none of its relaxed relatives.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a document whose top is an object; none for anything else, and for a key that is
/// there twice.
pub(super) fn read(text: &str, place: &dyn Fn(&[&str]) -> Place) -> Option<Table> {
    table(&mut Vec::new(), &parse(text)?, place)
}

fn parse(text: &str) -> Option<CstObject> {
    // Also bounds how deep it is.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    CstRootNode::parse(text, &STRICT).ok()?.object_value()
}

fn table(
    path: &mut Vec<String>,
    object: &CstObject,
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<Table> {
    let mut table = Table::new();
    for property in object.properties() {
        let key = property.decoded_name()?;
        path.push(key.clone());
        let value = node(path, &property.value()?, place)?;
        path.pop();
        if table.insert(key, value).is_some() {
            return None;
        }
    }
    Some(table)
}

fn node(path: &mut Vec<String>, value: &CstNode, place: &dyn Fn(&[&str]) -> Place) -> Option<Node> {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    if place(&keys) == Place::Whole {
        // With the order of its keys.
        return Some(Node::Leaf(format!("{:?}", input(value)?)));
    }
    if let Some(object) = value.as_object() {
        return table(path, &object, place).map(Node::Table);
    }
    if let Some(array) = value.as_array() {
        let elements = array.elements();
        let elements = elements.iter().map(|e| node(path, e, &|_| Place::Plain));
        return elements.collect::<Option<_>>().map(Node::Array);
    }
    scalar(value).map(Node::Leaf)
}

fn scalar(value: &CstNode) -> Option<String> {
    if let Some(text) = value.as_string_lit() {
        return serde_json::to_string(&text.decoded_value().ok()?).ok();
    }
    Some(value.to_string())
}

/// A value to be put elsewhere.
fn input(value: &CstNode) -> Option<CstInputValue> {
    if let Some(object) = value.as_object() {
        let entries = object.properties();
        let entries = entries
            .iter()
            .map(|p| Some((p.decoded_name()?, input(&p.value()?)?)));
        return entries.collect::<Option<_>>().map(CstInputValue::Object);
    }
    if let Some(array) = value.as_array() {
        let elements = array.elements();
        let elements = elements.iter().map(input);
        return elements.collect::<Option<_>>().map(CstInputValue::Array);
    }
    if let Some(text) = value.as_string_lit() {
        return text.decoded_value().ok().map(CstInputValue::String);
    }
    if let Some(number) = value.as_number_lit() {
        return Some(CstInputValue::Number(number.to_string()));
    }
    if let Some(boolean) = value.as_boolean_lit() {
        return Some(CstInputValue::Bool(boolean.value()));
    }
    value.as_null_keyword().map(|_| CstInputValue::Null)
}

/// Changes `start` so that it says what was merged, with the order of the side that a new
/// key comes from.
pub(super) fn write(
    start: &str,
    merged: &Table,
    ours: &str,
    theirs: &str,
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(start).ok()?;
    let root = CstRootNode::parse(start, &STRICT).ok()?;
    let sources = [parse(theirs)?, parse(ours)?];
    shape(
        &mut Vec::new(),
        &root.object_value()?,
        merged,
        &sources,
        place,
    )?;
    Some(root.to_string())
}

fn shape(
    path: &mut Vec<String>,
    object: &CstObject,
    merged: &Table,
    sources: &[CstObject],
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<()> {
    for property in object.properties() {
        if !merged.contains_key(&property.decoded_name()?) {
            property.remove();
        }
    }
    // In the order of the side that they come from, so that each finds its neighbour there.
    let mut keys: Vec<String> = names(object)?;
    for source in sources {
        for key in names(source)? {
            if merged.contains_key(&key) && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    for key in keys {
        let wanted = merged.get(&key)?;
        path.push(key.clone());
        put(path, object, &key, wanted, sources, place)?;
        path.pop();
    }
    Some(())
}

fn put(
    path: &mut Vec<String>,
    object: &CstObject,
    key: &str,
    wanted: &Node,
    sources: &[CstObject],
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<()> {
    let there = object.get(key);
    if let Some(value) = there.as_ref().and_then(|p| p.value())
        && node(path, &value, place).as_ref() == Some(wanted)
    {
        return Some(());
    }
    let in_sources: Vec<(&CstObject, CstNode)> = sources
        .iter()
        .filter_map(|s| Some((s, s.get(key)?.value()?)))
        .collect();
    let whole = in_sources
        .iter()
        .find(|(_, value)| node(path, value, place).as_ref() == Some(wanted));
    if let Some((source, value)) = whole {
        let value = input(value)?;
        match there {
            Some(property) => property.set_value(value),
            None => {
                let (there, order) = (names(object)?, names(source)?);
                let there: Vec<&str> = there.iter().map(String::as_str).collect();
                let order: Vec<&str> = order.iter().map(String::as_str).collect();
                object.insert(place_for(key, &there, &order), key, value);
            }
        }
        return Some(());
    }
    match wanted {
        // Of both sides something.
        Node::Table(wanted) => {
            let inner = match there {
                Some(property) => property.object_value()?,
                None => object
                    .append(key, CstInputValue::Object(Vec::new()))
                    .object_value()?,
            };
            let sources: Vec<CstObject> = in_sources
                .iter()
                .filter_map(|(_, value)| value.as_object())
                .collect();
            shape(path, &inner, wanted, &sources, place)
        }
        Node::Array(wanted) => {
            let texts = wanted.iter().map(|e| match e {
                Node::Leaf(text) => serde_json::from_str(text).ok().map(CstInputValue::String),
                _ => None,
            });
            let texts: Vec<CstInputValue> = texts.collect::<Option<_>>()?;
            let value = CstInputValue::Array(texts);
            match there {
                Some(property) => {
                    let lines = property
                        .value()
                        .is_some_and(|v| v.to_string().contains('\n'));
                    property.set_value(value);
                    if lines && let Some(array) = property.array_value() {
                        array.ensure_multiline();
                    }
                }
                None => drop(object.append(key, value)),
            }
            Some(())
        }
        Node::Leaf(_) => None,
    }
}

fn names(object: &CstObject) -> Option<Vec<String>> {
    object
        .properties()
        .iter()
        .map(|p| p.decoded_name())
        .collect()
}
