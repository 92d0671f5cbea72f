use super::*;

#[test]
fn placeholder() {
    assert!(read("a").is_ok());
}
