//! TOML documents as trees, and changing their text with as little as possible.

use toml_edit::{Array, DocumentMut, Item, RawString, TableLike, Value};

use super::tree::{Node, Place, Table, place_for};

/// Reads a document; none when it is not TOML.
pub(super) fn read(text: &str, place: &dyn Fn(&[&str]) -> Place) -> Option<Table> {
    let document: DocumentMut = text.parse().ok()?;
    Some(table(&mut Vec::new(), document.as_table(), place))
}

fn table(path: &mut Vec<String>, from: &dyn TableLike, place: &dyn Fn(&[&str]) -> Place) -> Table {
    let mut table = Table::new();
    for (key, item) in from.iter() {
        path.push(key.to_owned());
        if let Some(node) = item_node(path, item, place) {
            table.insert(key.to_owned(), node);
        }
        path.pop();
    }
    table
}

fn item_node(
    path: &mut Vec<String>,
    item: &Item,
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<Node> {
    if let Some(inner) = item.as_table_like() {
        return Some(Node::Table(table(path, inner, place)));
    }
    match item {
        Item::Value(value) => {
            let node = value_node(path, value, place);
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            // `x = "1"` says the same of a dependency as `x = { version = "1" }`.
            if value.is_str() && matches!(place(&keys), Place::Entry(_)) {
                return Some(Node::Table(Table::from([("version".to_owned(), node)])));
            }
            Some(node)
        }
        Item::ArrayOfTables(tables) => Some(Node::Array(
            tables
                .iter()
                .map(|t| Node::Table(table(&mut Vec::new(), t, &|_| Place::Plain)))
                .collect(),
        )),
        Item::Table(_) | Item::None => None,
    }
}

fn value_node(path: &mut Vec<String>, value: &Value, place: &dyn Fn(&[&str]) -> Place) -> Node {
    match value {
        Value::String(text) => Node::Leaf(quoted(text.value())),
        Value::Array(array) => {
            let elements = array.iter();
            Node::Array(
                elements
                    .map(|e| value_node(&mut Vec::new(), e, &|_| Place::Plain))
                    .collect(),
            )
        }
        Value::InlineTable(inner) => Node::Table(table(path, inner, place)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            let mut plain = value.clone();
            plain.decor_mut().clear();
            Node::Leaf(plain.to_string())
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Changes `start` so that it says what was merged. What is new comes as it is written on
/// the side that it is from, with its remarks.
pub(super) fn write(
    start: &str,
    merged: &Table,
    ours: &str,
    theirs: &str,
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<String> {
    let mut document: DocumentMut = start.parse().ok()?;
    let theirs: DocumentMut = theirs.parse().ok()?;
    let ours: DocumentMut = ours.parse().ok()?;
    let sources: [&dyn TableLike; 2] = [theirs.as_table(), ours.as_table()];
    shape(
        &mut Vec::new(),
        document.as_table_mut(),
        merged,
        &sources,
        place,
    )?;
    Some(document.to_string())
}

fn shape(
    path: &mut Vec<String>,
    target: &mut dyn TableLike,
    merged: &Table,
    sources: &[&dyn TableLike],
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<()> {
    for key in names(target) {
        if !merged.contains_key(&key) {
            target.remove(&key);
        }
    }
    let mut keys = names(target);
    for source in sources {
        for key in names(*source) {
            if merged.contains_key(&key) && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    for key in keys {
        let wanted = merged.get(&key)?;
        path.push(key.clone());
        put(path, target, &key, wanted, sources, place)?;
        path.pop();
    }
    Some(())
}

fn put(
    path: &mut Vec<String>,
    target: &mut dyn TableLike,
    key: &str,
    wanted: &Node,
    sources: &[&dyn TableLike],
    place: &dyn Fn(&[&str]) -> Place,
) -> Option<()> {
    let is_wanted =
        |path: &mut Vec<String>, item: &Item| item_node(path, item, place).as_ref() == Some(wanted);
    let there = target.get(key);
    if there.is_some_and(|item| is_wanted(path, item)) {
        return Some(());
    }
    let in_sources: Vec<(&dyn TableLike, &Item)> = sources
        .iter()
        .filter_map(|s| Some((*s, s.get(key)?)))
        .collect();
    if let Some((source, item)) = in_sources.iter().find(|(_, item)| is_wanted(path, item)) {
        return copy(target, key, *source, item);
    }
    if there.is_none() {
        // Of both sides something: the first one's, to be changed.
        let (source, item) = in_sources.first()?;
        copy(target, key, *source, item)?;
    } else if !there.is_some_and(|item| item.is_table_like() || item.is_array()) {
        // A dependency that was only a version there, and is more on another side.
        let (source, item) = in_sources.iter().find(|(_, item)| item.is_table_like())?;
        copy(target, key, *source, item)?;
    }
    let item = target.get_mut(key)?;
    match wanted {
        Node::Table(wanted) => {
            let sources: Vec<&dyn TableLike> = in_sources
                .iter()
                .filter_map(|(_, item)| item.as_table_like())
                .collect();
            shape(path, item.as_table_like_mut()?, wanted, &sources, place)?;
            if let Some(inline) = item.as_inline_table_mut() {
                inline.fmt();
            }
            Some(())
        }
        Node::Array(wanted) => set(item.as_array_mut()?, wanted),
        Node::Leaf(_) => None,
    }
}

/// Puts an entry into a table as it is written elsewhere.
fn copy(target: &mut dyn TableLike, key: &str, source: &dyn TableLike, item: &Item) -> Option<()> {
    let is_new = !target.contains_key(key);
    let there = names(target);
    let mut item = item.clone();
    unplaced(&mut item);
    target.insert(key, item);
    if let (Some(from), Some(mut to)) = (source.key(key), target.key_mut(key)) {
        to.leaf_decor_mut().clone_from(from.leaf_decor());
        to.dotted_decor_mut().clone_from(from.dotted_decor());
    }
    if is_new && target.get(key)?.is_value() {
        let order = names(source);
        let order: Vec<&str> = order.iter().map(String::as_str).collect();
        let mut wanted: Vec<&str> = there.iter().map(String::as_str).collect();
        wanted.insert(place_for(key, &wanted, &order), key);
        arrange(target, &wanted)?;
    }
    Some(())
}

/// Brings the entries of a table into an order.
fn arrange(target: &mut dyn TableLike, order: &[&str]) -> Option<()> {
    // Removing and inserting again is the one way that both kinds of table offer.
    for key in order {
        let decor = target.key(key)?.leaf_decor().clone();
        let dotted = target.key(key)?.dotted_decor().clone();
        let item = target.remove(key)?;
        target.insert(key, item);
        let mut to = target.key_mut(key)?;
        *to.leaf_decor_mut() = decor;
        *to.dotted_decor_mut() = dotted;
    }
    Some(())
}

/// A table that is copied has no place in the other document yet: it goes behind its
/// neighbours.
fn unplaced(item: &mut Item) {
    match item {
        Item::Table(table) => {
            table.set_position(None);
            for (_, inner) in table.iter_mut() {
                unplaced(inner);
            }
        }
        Item::ArrayOfTables(tables) => {
            for table in tables.iter_mut() {
                table.set_position(None);
                for (_, inner) in table.iter_mut() {
                    unplaced(inner);
                }
            }
        }
        Item::Value(_) | Item::None => {}
    }
}

/// Makes an array hold these texts, in the way in which it is written.
fn set(array: &mut Array, wanted: &[Node]) -> Option<()> {
    let raw = |raw: Option<&RawString>| raw.and_then(RawString::as_str).unwrap_or("").to_owned();
    let first = array.get(0).map(|v| raw(v.decor().prefix()));
    let on_lines = first.filter(|prefix| prefix.contains('\n'));
    let mut old: Vec<Value> = array.iter().cloned().collect();
    let mut texts = Vec::new();
    for node in wanted {
        let Node::Leaf(text) = node else { return None };
        let text: String = serde_json::from_str(text).ok()?;
        let known = old.iter().position(|v| v.as_str() == Some(&text));
        texts.push(match known {
            Some(at) => old.remove(at),
            None => {
                let mut value = Value::from(text);
                if let Some(prefix) = &on_lines {
                    let indent = prefix.rsplit('\n').next().unwrap_or("");
                    value.decor_mut().set_prefix(format!("\n{indent}"));
                }
                value
            }
        });
    }
    let end = raw(Some(array.trailing()));
    array.clear();
    for mut value in texts {
        if on_lines.is_some() && raw(value.decor().suffix()).trim().is_empty() {
            value.decor_mut().set_suffix("");
        }
        array.push_formatted(value);
    }
    if on_lines.is_some() {
        array.set_trailing_comma(true);
        if !end.contains('\n') {
            array.set_trailing("\n");
        }
    } else {
        array.fmt();
    }
    Some(())
}

fn names(table: &dyn TableLike) -> Vec<String> {
    table.iter().map(|(key, _)| key.to_owned()).collect()
}
