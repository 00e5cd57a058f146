//! Filtering by a field of the payload: what the engine does not know, matched here.
//!
//! Owns the words of such a filter and what meets it. A payload is redacted before it is looked at: what is hidden cannot be found out.

use serde_json::Value;

use crate::api::Problem;

/// Parts of a path at most.
const PARTS_MAX: usize = 32;

/// A field of a payload, and what it has to be: `customer.id=42`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldFilter {
    path: Vec<String>,
    text: String,
    value: Option<Value>,
}

impl FieldFilter {
    /// Names with dots between, or a JSON pointer where names have dots in them; then `=`, and a value: JSON, or a text without quotes.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let shown: String = text.chars().take(100).collect();
        let no = || Problem::bad(format!("`payload`: `{shown}` is not like `customer.id=42` or `/customer/id=42`"));
        let (path, value) = text.split_once('=').ok_or_else(no)?;
        let (path, value) = (path.trim(), value.trim());
        let path: Vec<_> = match path.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
            None => path.split('.').map(|part| part.trim().to_owned()).collect(),
        };
        if path.len() > PARTS_MAX || path.iter().any(String::is_empty) {
            return Err(no());
        }
        Ok(Self { path, text: value.to_owned(), value: serde_json::from_str(value).ok() })
    }

    /// Whether a payload, as it may be seen, has that field with that value.
    pub(crate) fn is_met_by(&self, payload: &Value) -> bool {
        let field = self.path.iter().try_fold(payload, |value, part| match value {
            Value::Object(fields) => fields.get(part),
            Value::Array(all) => all.get(part.parse::<usize>().ok()?),
            _ => None,
        });
        field.is_some_and(|field| self.value.as_ref() == Some(field) || field.as_str() == Some(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meets(filter: &str) -> bool {
        let payload = json!({
            "customer": {"id": 42, "name": "Acme & Sons = us", "tags": ["a", {"b": null}]},
            "paid": true, "code": "42", "a.b": 1, "x/y": {"~": 2}, "empty": "",
        });
        FieldFilter::parse(filter).unwrap().is_met_by(&payload)
    }

    #[test]
    fn a_field_is_found_by_its_path_and_compared_as_what_it_is() {
        for filter in [
            "customer.id=42",
            "/customer/id=42",
            " customer.id = 42 ",
            "customer.name=Acme & Sons = us",
            "customer.name=\"Acme & Sons = us\"",
            "customer.tags.0=a",
            "customer.tags.1={\"b\":null}",
            "customer.tags.1.b=null",
            "paid=true",
            // A text of digits is found without its quotes as well.
            "code=42",
            "code=\"42\"",
            "/a.b=1",
            "/x~1y/~0=2",
            "empty=",
        ] {
            assert!(meets(filter), "{filter}");
        }
        for filter in
            ["customer.id=4", "customer.id=\"42\"", "customer=42", "id=42", "customer.tags.9=a", "a.b=1", "paid=yes"]
        {
            assert!(!meets(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for nonsense in ["", "customer", "=42", "customer..id=1", "//=1", &format!("{}=1", "a.".repeat(40))] {
            assert!(FieldFilter::parse(nonsense).is_err(), "{nonsense}");
        }
    }
}
