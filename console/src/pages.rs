//! The pages: the same looks and deeds as the API's, as HTML that a server makes.
//!
//! Owns markup, forms and assets, and nothing of what they show or do: `api::look` looks, and every change goes through the API's own
//! functions. Pages work without scripts; what comes of a form is a redirect with a sentence. Links and forms begin with the
//! [base](Visitor::base), wherever the console is mounted.

mod assets;
mod audit;
mod charts;
mod dead;
mod flows;
mod graph;
mod job;
mod jobs;
mod limits;
mod live;
mod orders;
mod overview;
mod queues;
mod schedules;
mod shell;
mod submitted;
mod text;
mod workers;

use askama::Template;
use axum::Router;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use self::shell::Shell;
use crate::api::Problem;
use crate::console::Console;
use crate::guard::Visitor;

type Answer = Result<Response, Problem>;

pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/", get(overview::show))
        .route("/queues", get(queues::list).post(queues::steer))
        .route("/queue", get(queues::one))
        .route("/jobs", get(jobs::list).post(orders::place))
        .route("/jobs/{id}", get(job::show).post(job::steer))
        .route("/orders", get(orders::list).post(orders::cancel))
        .route("/dead", get(dead::list))
        .route("/schedules", get(schedules::list).post(schedules::steer))
        .route("/flows", get(flows::list))
        .route("/flows/{id}", get(flows::one).post(flows::steer))
        .route("/workers", get(workers::list))
        .route("/limits", get(limits::list).post(limits::set))
        .route("/audit", get(audit::list))
        .route("/live", get(live::stream))
        .route("/chart/{file}", get(charts::draw))
        .route("/assets/{hash}/{file}", get(assets::serve))
        .fallback(nothing_here)
}

/// Whether what is asked for is for eyes, at this path below the console's own base.
pub(crate) fn is_page(path: &str) -> bool {
    path != "/api" && !path.starts_with("/api/")
}

/// A problem as a page says it; any other answer as it is.
pub(crate) fn in_html(console: &Console, visitor: Option<&Visitor>, mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let page = match visitor {
        Some(visitor) => ProblemPage { shell: Shell::new(console, visitor, "", problem.title()), problem }.render(),
        None => Refused { problem }.render(),
    };
    let Ok(page) = page else { return response };
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    *response.body_mut() = page.into();
    response
}

/// What went wrong, to somebody who came in.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    shell: Shell,
    problem: Problem,
}

/// To somebody who did not: they get no styles either.
#[derive(Template)]
#[template(path = "refused.html")]
struct Refused {
    problem: Problem,
}

fn page(template: &impl Template) -> Answer {
    match template.render() {
        Ok(page) => Ok(Html(page).into_response()),
        Err(error) => {
            let detail = format!("the page could not be made: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no page", detail))
        }
    }
}

async fn nothing_here(OriginalUri(uri): OriginalUri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "not there", format!("there is no page at `{path}`"))
}
