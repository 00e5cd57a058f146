//! Requests drawn from the description: as it says, nearly so, and not at all.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

/// What a request says, before it is known which jobs there are.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    /// Which of the operations that are described.
    pub(crate) operation: usize,
    /// With what is in its path.
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    /// Maybe no JSON.
    pub(crate) body: Option<String>,
}

/// Something that the description says one can ask.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) path: String,
    pub(crate) method: &'static str,
    parameters: Vec<Value>,
    /// What its body has to be.
    pub(crate) body: Option<Value>,
    /// What it answers.
    pub(crate) responses: Value,
}

/// All there are.
pub(crate) fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, ways)| {
        ["get", "post"].into_iter().filter_map(move |method| {
            let way = ways.get(method)?;
            Some(Operation {
                path: path.clone(),
                method,
                parameters: way["parameters"].as_array().cloned().unwrap_or_default(),
                body: way.get("requestBody").map(|body| body["content"]["application/json"]["schema"].clone()),
                responses: way["responses"].clone(),
            })
        })
    });
    all.collect()
}

/// Requests for any of them.
pub(crate) fn requests(document: &Value, operations: &[Operation]) -> impl Strategy<Value = Drawn> + use<> {
    let each = operations.iter().enumerate().map(|(no, operation)| request(document, no, operation));
    prop::strategy::Union::new(each.collect::<Vec<_>>())
}

fn request(document: &Value, no: usize, operation: &Operation) -> BoxedStrategy<Drawn> {
    let of = |place: &str| {
        let mine = operation.parameters.iter().filter(|one| one["in"] == place);
        mine.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let path = of("path").into_iter().map(|name| text_for(&name).prop_map(move |text| (name.clone(), text)).boxed());
    let mut names = of("query");
    names.push("unheard-of".to_owned());
    let pair = select(names).prop_flat_map(|name| text_for(&name).prop_map(move |text| (name.clone(), text)));
    let body = match &operation.body {
        Some(schema) => body(document, schema).prop_map(Some).boxed(),
        None => Just(None).boxed(),
    };
    let drawn = (path.collect::<Vec<_>>(), vec(pair, 0..4), body);
    drawn.prop_map(move |(path, query, body)| Drawn { operation: no, path, query, body }).boxed()
}

/// As the description says, with one thing else than it says, any JSON, or one that breaks off.
fn body(document: &Value, schema: &Value) -> BoxedStrategy<String> {
    let whole = value(document, schema);
    let bent = (whole.clone(), any::<Index>(), any_json(), any::<bool>());
    let bent = bent.prop_map(|(whole, at, junk, adds)| bend(whole, at, junk, adds));
    let cut = (whole.clone(), any::<Index>()).prop_map(|(whole, at)| {
        let text = whole.to_string();
        text.chars().take(at.index(text.chars().count())).collect::<String>()
    });
    prop_oneof![
        6 => whole.prop_map(|whole| whole.to_string()),
        4 => bent.prop_map(|bent| bent.to_string()),
        1 => any_json().prop_map(|json| json.to_string()),
        1 => cut,
    ]
    .boxed()
}

/// One of its parts is something else, or has something beside what it has.
fn bend(mut whole: Value, at: Index, junk: Value, adds: bool) -> Value {
    fn parts(value: &Value) -> usize {
        1 + match value {
            Value::Object(fields) => fields.values().map(parts).sum(),
            Value::Array(items) => items.iter().map(parts).sum(),
            _ => 0,
        }
    }
    fn part(value: &mut Value, left: usize) -> Result<&mut Value, usize> {
        let Some(mut left) = left.checked_sub(1) else { return Ok(value) };
        let inner: Vec<&mut Value> = match value {
            Value::Object(fields) => fields.values_mut().collect(),
            Value::Array(items) => items.iter_mut().collect(),
            _ => Vec::new(),
        };
        for one in inner {
            match part(one, left) {
                Ok(found) => return Ok(found),
                Err(rest) => left = rest,
            }
        }
        Err(left)
    }
    let at = at.index(parts(&whole));
    match part(&mut whole, at) {
        Ok(Value::Object(fields)) if adds => drop(fields.insert("unheard-of".to_owned(), junk)),
        Ok(other) => *other = junk,
        Err(_) => unreachable!("a part of a value is in it"),
    }
    whole
}

/// What a schema describes.
fn value(document: &Value, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(name) = schema["$ref"].as_str() {
        let place = name.strip_prefix('#').unwrap();
        return value(document, document.pointer(place).unwrap());
    }
    if let Some(words) = schema["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    for either in ["oneOf", "anyOf"] {
        if let Some(all) = schema[either].as_array() {
            return prop::strategy::Union::new(all.iter().map(|one| value(document, one))).boxed();
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        let all: Vec<_> = all.iter().map(|one| value(document, one)).collect();
        return all.prop_map(|all| all.into_iter().flat_map(fields_of).collect::<Map<_, _>>().into()).boxed();
    }
    match &schema["type"] {
        Value::Array(types) => {
            let each = types.iter().map(|one| typed(document, schema, one.as_str().unwrap()));
            prop::strategy::Union::new(each.collect::<Vec<_>>()).boxed()
        }
        Value::String(one) => typed(document, schema, one),
        _ => any_json().boxed(),
    }
}

fn fields_of(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { panic!("{value} is in an `allOf`, and no object") }
}

fn typed(document: &Value, schema: &Value, of: &str) -> BoxedStrategy<Value> {
    match of {
        "null" => Just(Value::Null).boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "string" => text().prop_map(Value::from).boxed(),
        "number" => any::<f64>().prop_map(|n| json!(n)).boxed(),
        "integer" => {
            let (min, max) = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
            let all = [0, 1, 2, 7, 50, 255, 256, 1_000, 1_001, u64::from(u32::MAX), 1 << 32, i64::MAX as u64, u64::MAX];
            let is_meant = move |n: &u64| min.is_none_or(|min| *n >= min) && max.is_none_or(|max| *n <= max);
            select(all.into_iter().filter(is_meant).collect::<Vec<_>>()).prop_map(Value::from).boxed()
        }
        "array" => vec(value(document, &schema["items"]), 0..3).prop_map(Value::from).boxed(),
        "object" => {
            let has_to =
                |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
            let fields = schema["properties"].as_object().into_iter().flatten().map(|(name, of)| {
                let (name, often) = (name.clone(), has_to(name));
                let field = value(document, of).prop_map(move |value| (name.clone(), value));
                if often { field.prop_map(Some).boxed() } else { prop::option::weighted(0.3, field).boxed() }
            });
            let fields: Vec<_> = fields.collect();
            fields.prop_map(|all| all.into_iter().flatten().collect::<Map<_, _>>().into()).boxed()
        }
        other => panic!("the description has a type that the test does not know: {other}"),
    }
}

/// What stands for the id of something that is there: see [`crate::fuzzed`].
pub(crate) const STAND_INS: [&str; 4] = ["@dead", "@delayed", "@flow", "@order"];

/// What is likely to mean something there, or anything.
fn text_for(name: &str) -> BoxedStrategy<String> {
    let words: &[&str] = match name {
        "id" => &STAND_INS,
        "queue" => &["mail", "none"],
        "kind" => &["mail", "mail,none"],
        "name" => &["nightly", "confirm"],
        "step" => &["welcome", "confirm"],
        "what" => &["pause", "resume", "run", "remove"],
        "state" => &["dead", "delayed,ready", "running", "done", "failed"],
        "limit" => &["0", "1", "50", "1000", "1001"],
        "payload" => &["to=nobody", "/to=later", "to"],
        _ => return text().boxed(),
    };
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    prop_oneof![3 => select(words), 1 => text()].boxed()
}

fn text() -> impl Strategy<Value = String> + Clone {
    let words = [
        "",
        "mail",
        "none",
        "nightly",
        "nobody",
        "dead",
        "2026-11-28T09:30:00Z",
        "9999-12-31T23:59:59Z",
        "-1",
        "1",
        "0.5",
        "null",
        "a,b,,c",
        "to=nobody",
        "/",
        "..",
        "%2f",
        "a b",
        "<script>alert(1)</script>",
        "\u{0}",
        "\u{202e}",
        "\"",
        "💥",
    ];
    let long = [300, 5_000].map(|length| "x".repeat(length));
    let words: Vec<_> = words.into_iter().map(str::to_owned).chain(long).collect();
    let any_text = vec(any::<char>(), 0..12).prop_map(String::from_iter);
    prop_oneof![4 => select(words), 1 => any_text]
}

fn any_json() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // A whole one, as 7.0 or 1e300, is an integer to JSON Schema, and none to the server. No client writes one.
        any::<i32>().prop_map(|n| json!(f64::from(n) + 0.5)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((text(), inner), 0..3).prop_map(|all| all.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}
