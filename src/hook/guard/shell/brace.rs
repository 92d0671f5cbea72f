//! Brace expansion: `{a,b}` and `{1..9}`.

use super::{Piece, Word};

/// Most words that one becomes; with more of them it is of unknown text.
const MAX_WORDS: usize = 64;

/// Most marks that are looked at.
const MAX_MARKS: usize = 120;

/// The words that one word with marks becomes. Nothing else is expanded.
pub(super) fn expand(pieces: Vec<Piece>) -> Vec<Word> {
    if !pieces.iter().any(|piece| matches!(piece, Piece::Mark(_))) {
        return vec![Word { pieces }];
    }
    let marks = pieces.iter().filter(|p| matches!(p, Piece::Mark(_)));
    let mut done = if marks.count() > MAX_MARKS {
        Vec::new()
    } else {
        alternatives(&pieces)
    };
    if done.is_empty() || done.len() > MAX_WORDS {
        let mut scripts = Vec::new();
        super::scripts_in(&pieces, &mut scripts);
        done = vec![vec![Piece::Opaque(scripts)]];
    }
    done.into_iter()
        .map(|pieces| Word {
            pieces: merge(pieces),
        })
        .collect()
}

fn plain(c: char) -> Piece {
    Piece::Text {
        text: c.to_string(),
        quoted: false,
    }
}

/// Marks that stand for themselves become text; text that follows text is one.
fn merge(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        let piece = match piece {
            Piece::Mark(c) => plain(c),
            other => other,
        };
        if let (
            Some(Piece::Text {
                text: before,
                quoted: a,
            }),
            Piece::Text { text, quoted: b },
        ) = (merged.last_mut(), &piece)
            && *a == *b
        {
            before.push_str(text);
            continue;
        }
        merged.push(piece);
    }
    merged
}

fn alternatives(pieces: &[Piece]) -> Vec<Vec<Piece>> {
    // The first opening mark that has a partner.
    let found = (0..pieces.len())
        .filter(|at| pieces[*at] == Piece::Mark('{'))
        .find_map(|at| group(pieces, at).map(|(parts, end)| (at, parts, end)));
    let Some((start, parts, end)) = found else {
        return vec![pieces.to_vec()];
    };
    let tails = alternatives(&pieces[end..]);
    let mut all = Vec::new();
    for part in parts {
        for middle in alternatives(&part) {
            for tail in &tails {
                if all.len() > MAX_WORDS {
                    return all;
                }
                let mut one = pieces[..start].to_vec();
                one.extend(middle.iter().cloned());
                one.extend(tail.iter().cloned());
                all.push(one);
            }
        }
    }
    all
}

/// The parts of the group that opens at `at`, and where it ends.
fn group(pieces: &[Piece], at: usize) -> Option<(Vec<Vec<Piece>>, usize)> {
    let mut depth = 0;
    let mut parts = vec![Vec::new()];
    for (offset, piece) in pieces[at..].iter().enumerate() {
        match piece {
            Piece::Mark('{') => {
                depth += 1;
                if depth == 1 {
                    continue;
                }
            }
            Piece::Mark('}') => {
                depth -= 1;
                if depth == 0 {
                    let end = at + offset + 1;
                    if parts.len() > 1 {
                        return Some((parts, end));
                    }
                    return range(&parts[0]).map(|piece| (vec![vec![piece]], end));
                }
            }
            Piece::Mark(',') if depth == 1 => {
                parts.push(Vec::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(piece.clone());
    }
    None
}

/// `1..9`, `a..f`.
fn range(part: &[Piece]) -> Option<Piece> {
    let text: String = part
        .iter()
        .map(|piece| match piece {
            Piece::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let (first, last) = text.split_once("..")?;
    let harmless = |end: &str| {
        let end = end.strip_prefix('-').unwrap_or(end);
        !end.is_empty() && end.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let ends: Vec<&str> = std::iter::once(first).chain(last.split("..")).collect();
    Some(if ends.iter().all(|end| harmless(end)) {
        Piece::Atom
    } else {
        Piece::Opaque(Vec::new())
    })
}
