//! Flows: which there are, one as a graph and a table, and what is done to it.

use askama::Template;
use axum::extract::Path;
use serde_json::Value;

use super::graph::Graph;
use super::shell::Shell;
use super::submitted::{Ask, Submitted};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::flows::{FLOWS_PAGE, bring_signal, cancel_flow, retry_step, skip_step};
use crate::api::{Problem, look};
use crate::view::flows::{FlowLine, FlowList, FlowWhole, StepView};

const STATES: [&str; 6] = ["running", "held", "undoing", "done", "failed", "cancelled"];

#[derive(Template)]
#[template(path = "flows.html")]
struct Flows {
    shell: Shell,
    list: FlowList,
    state: String,
    is_first: bool,
    states: [&'static str; 6],
}

pub(super) async fn list(ask: Ask) -> Answer {
    let (state, after) = (ask.fields.text("state"), ask.fields.text("after"));
    let of = format!("flows {state:?} {after:?}");
    let list = ask.shared(of, look::flows_page(&ask.console, after, state, FLOWS_PAGE)).await?;
    page(&Flows {
        list,
        state: state.unwrap_or_default().to_owned(),
        is_first: after.is_none(),
        states: STATES,
        shell: ask.shell("/flows", "Flows"),
    })
}

#[derive(Template)]
#[template(path = "flow.html")]
struct FlowPage {
    shell: Shell,
    whole: FlowWhole,
    /// Absent where there are more steps than a picture can show.
    graph: Option<Graph>,
}

pub(super) async fn one(Path(id): Path<String>, ask: Ask) -> Answer {
    let flow = look::flow_id(&id)?;
    let whole = ask.shared(format!("flow {flow}"), look::flow_whole(&ask.console, flow)).await?;
    let shell = ask.shell("/flows", format!("{} {}", whole.flow.name, text::short(&whole.flow.id)));
    let graph = Graph::of(&whole, &shell);
    page(&FlowPage { shell, whole, graph })
}

pub(super) async fn steer(Path(id): Path<String>, form: Submitted) -> Answer {
    let flow = look::flow_id(&id)?;
    let (console, visitor, fields) = (&form.console, &form.visitor, &form.fields);
    let json = |name: &str| {
        let value = fields.text(name).map(serde_json::from_str::<Value>).transpose();
        value.map_err(|error| Problem::bad(format!("`{name}` is no JSON: {error}")))
    };
    let said = match fields.need("verb")? {
        "cancel" => {
            cancel_flow(console, visitor, flow).await?;
            "The flow is called off.".to_owned()
        }
        "retry" => {
            let step = fields.need("step")?;
            retry_step(console, visitor, flow, step).await?;
            format!("Step {step} runs once more.")
        }
        "skip" => {
            let step = fields.need("step")?;
            skip_step(console, visitor, flow, step, json("output")?.as_ref()).await?;
            format!("The flow goes on without step {step}.")
        }
        "signal" => {
            let step = fields.need("step")?;
            let payload = json("payload")?.unwrap_or(Value::Null);
            let brought = bring_signal(console, visitor, flow, step, &payload).await?;
            if brought.is_first {
                format!("Signal {step} is there.")
            } else {
                format!("Signal {step} was there before.")
            }
        }
        _ => return Err(Problem::bad("a flow can be told to `cancel`, `retry`, `skip` or `signal`")),
    };
    Ok(form.done(&format!("/flows/{flow}"), &said))
}

impl FlowLine {
    fn is_over(&self) -> bool {
        self.ended.is_some()
    }
}

impl StepView {
    /// Whether it may be run once more: it failed, or was called off.
    fn can_be_retried(&self) -> bool {
        matches!(self.state, "dead" | "cancelled" | "expired")
    }

    /// Whether the flow may go on without it: it has not begun, or holds others up.
    fn can_be_skipped(&self) -> bool {
        self.is_holding || matches!(self.state, "waiting" | "delayed" | "ready" | "parked")
    }

    fn can_be_signalled(&self) -> bool {
        self.work == "signal" && self.state == "waiting"
    }

    /// Why it has not begun, or what became of it.
    fn note(&self) -> String {
        if let Some(failure) = &self.failure {
            return text::cut(&failure.message, 160);
        }
        if let Some(batch) = &self.batch {
            let ended = batch.done + batch.dead + batch.cancelled + batch.expired;
            return format!("{ended} of {} jobs have ended, {} dead", batch.jobs, batch.dead);
        }
        match (&self.called_off_by, self.blocked_by.as_slice()) {
            (Some(step), _) => format!("called off since {step} failed"),
            (None, []) if self.can_be_signalled() => "waits for its signal".to_owned(),
            (None, []) => String::new(),
            (None, steps) => format!("waits for {}", steps.join(", ")),
        }
    }
}
