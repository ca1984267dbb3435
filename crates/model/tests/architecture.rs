//! The diagram that ARCHITECTURE.md shows is the state machine that the code runs.

use std::path::Path;

use lockstep_model::diagram;

const BEGIN: &str = "<!-- state diagram -->";
const END: &str = "<!-- /state diagram -->";

/// The lines of the fenced block between the markers.
fn shown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (marked, _) = rest.split_once(END)?;
    let block = marked.trim().strip_prefix("```text\n")?.strip_suffix("```")?;
    Some(block.to_owned())
}

#[test]
fn the_diagram_in_architecture_md_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let shown = shown(&text).expect("ARCHITECTURE.md has a ```text block between the markers of the state diagram");
    assert_eq!(shown, diagram(), "put into ARCHITECTURE.md what the code says:\n\n{}", diagram());
}
