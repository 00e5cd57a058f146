//! Style sheet, script and icon: compiled in, and never another one at the same address.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use sha2::{Digest, Sha256};

use super::Answer;
use crate::api::Problem;
use crate::view::hex;

const FILES: [(&str, &str, &str); 3] = [
    ("console.css", "text/css; charset=utf-8", include_str!("../../assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("../../assets/console.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// Stands in their addresses: with another content they have another address.
pub(super) fn hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let all = FILES.iter().fold(Sha256::new(), |hash, (_, _, content)| hash.chain_update(content));
        hex(&all.finalize()[..8])
    });
    &HASH
}

pub(super) async fn serve(Path((said, file)): Path<(String, String)>) -> Answer {
    let found = FILES.iter().find(|(name, ..)| *name == file && said == hash());
    let Some((_, kind, content)) = found else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not there",
            "this is no file of this build: load the page again",
        ));
    };
    let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, *content).into_response())
}
