//! The comments of a file: what is left of it when the code is taken away.

use crate::leaves::{closing, leaves};

/// The text with every token of code blanked out; lines stay where they are.
pub(crate) fn comments(text: &str) -> String {
    let run = leaves(text);
    let mut bytes = text.as_bytes().to_vec();
    let mut place = 0;
    while let Some(leaf) = run.get(place) {
        // A doc comment is read as the attribute that it stands for, and its tokens stand where it does.
        if leaf.text == "#" && text.as_bytes().get(leaf.bytes.start) == Some(&b'/') {
            let open = run.iter().skip(place).position(|leaf| leaf.text == "[").map(|steps| place + steps);
            place = open.and_then(|open| closing(&run, open)).unwrap_or(place);
        } else if let Some(code) = bytes.get_mut(leaf.bytes.clone()) {
            code.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        place += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn code_and_strings_are_not_comments() {
    let text = "//! I1 é\nfn i2() { let _ = \"// I3\"; } // I4\n/* I5\nI6 */\n/// I7\nstruct I8;\n#[doc = \"I9\"]\nstruct A;\n";
    let left = comments(text);
    for word in ["I1", "é", "I4", "I5", "I6", "I7"] {
        assert!(left.contains(word), "{word} is missing in {left:?}");
    }
    for word in ["i2", "I3", "I8", "I9"] {
        assert!(!left.contains(word), "{word} is left in {left:?}");
    }
    assert_eq!(left.lines().count(), text.lines().count());
}
