//! Arguments that hold JSON, or say where it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::value::{RawValue, to_raw_value};

use crate::failure::Failure;

/// JSON, `@FILE`, or `-` for stdin. The text is passed on as written: numbers keep their digits.
pub(crate) fn read_json(argument: &'static str, text: &str) -> Result<Box<RawValue>, Failure> {
    let json = match text.strip_prefix('@') {
        Some(path) => read_text(Path::new(path))?,
        None if text == "-" => read_text(Path::new("-"))?,
        None => text.to_owned(),
    };
    RawValue::from_string(json).map_err(|source| Failure::NotJson { argument, source })
}

/// A vector: JSON, base64 of little-endian f32, or `@FILE` that holds either. Whether it is one, the
/// daemon judges.
pub(crate) fn read_vector(argument: &'static str, text: &str) -> Result<Box<RawValue>, Failure> {
    let held = match text.strip_prefix('@') {
        Some(path) => read_text(Path::new(path))?,
        None => text.to_owned(),
    };
    let held = held.trim();
    if held.starts_with(['[', '{', '"']) {
        return RawValue::from_string(held.to_owned()).map_err(|source| Failure::NotJson { argument, source });
    }
    to_raw_value(held).map_err(Failure::Encode)
}

/// All of a file, or of stdin if it is called `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_string(&mut text)
    } else {
        File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"{"n":12345678901234567890123,"f":0.10}"#;
        assert_eq!(read_json("--document", text).unwrap().get(), text);
    }

    #[test]
    fn a_vector_is_json_or_else_base64_and_may_be_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("v");
        std::fs::write(&file, "[1, 2]\n").unwrap();
        let cases = [
            ("[0.1,0.2]", "[0.1,0.2]"),
            ("AACAPw==", r#""AACAPw==""#),
            (r#"{"indices":[1],"values":[1]}"#, r#"{"indices":[1],"values":[1]}"#),
            (&format!("@{}", file.display()), "[1, 2]"),
        ];
        for (text, read) in cases {
            assert_eq!(read_vector("--vector", text).unwrap().get(), read);
        }
    }

    #[test]
    fn what_is_not_json_is_bad_usage_and_what_cannot_be_read_is_not() {
        assert_eq!(read_json("--document", "{").unwrap_err().exit_code(), 2);
        assert_eq!(read_vector("--vector", "[1,").unwrap_err().exit_code(), 2);
        assert_eq!(read_json("--document", "@no such file").unwrap_err().exit_code(), 1);
    }
}
