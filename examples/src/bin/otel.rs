//! Traces of OpenTelemetry: a job, and what follows from it, belong to the trace of the request that enqueued it.
//!
//! The spans are printed when they end, so that no collector is needed; a service gives its provider the exporter of OTLP instead.
//!
//! ```sh
//! cargo run --bin otel
//! ```

use std::collections::HashMap;
use std::error::Error;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use serde::{Deserialize, Serialize};
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use windlass::{
    Context, Engine, EnqueueError, Job, JobError, JobHandle, JobId, MemoryJournal, Propagation, QueueConfig, SEC,
    TraceContext,
};

/// What connects the engine to OpenTelemetry.
struct OpenTelemetry;

impl Propagation for OpenTelemetry {
    fn current(&self) -> Option<TraceContext> {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
        let tracestate = carrier.remove("tracestate").filter(|state| !state.is_empty());
        Some(TraceContext { traceparent: carrier.remove("traceparent")?, tracestate })
    }

    fn follow(&self, span: &Span, context: &TraceContext) {
        let TraceContext { traceparent, tracestate } = context.clone();
        let headers = [("traceparent", Some(traceparent)), ("tracestate", tracestate)];
        let carrier: HashMap<_, _> =
            headers.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))).collect();
        // Fails for spans that are filtered out, and have no parent.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    no: u32,
}

/// What comes of an order.
#[derive(Serialize, Deserialize)]
struct Taken {
    #[serde(with = "windlass::serde_id")]
    receipt: JobId,
}

impl Job for Order {
    const KIND: &'static str = "order";
    const QUEUE: &'static str = "shop";
    type Output = Taken;
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    order: u32,
}

impl Job for Receipt {
    const KIND: &'static str = "receipt";
    const QUEUE: &'static str = "shop";
    type Output = ();
}

async fn order(job: Order, cx: Context<()>) -> Result<Taken, JobError> {
    // Spans of the handler stand in that of its attempt.
    async {}.instrument(info_span!("charge")).await;
    Ok(Taken { receipt: cx.follow_up(&Receipt { order: job.no })? })
}

async fn receipt(_: Receipt, _: Context<()>) -> Result<(), JobError> {
    Ok(())
}

/// Prints each span: its trace, its id, its parent, its name, and whose attempt it is.
#[derive(Debug)]
struct Printer;

impl SpanExporter for Printer {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        for span in spans {
            let kind = span.attributes.iter().find(|attribute| attribute.key.as_str() == "job.kind");
            let kind = kind.map(|kind| kind.value.to_string()).unwrap_or_default();
            let (context, parent) = (&span.span_context, span.parent_span_id);
            println!("{} {} parent {parent} {} {kind}", context.trace_id(), context.span_id(), span.name);
        }
        Ok(())
    }
}

/// The job takes the trace that goes on where this `.await` is reached: that of the request.
async fn request(engine: &Engine, no: u32) -> Result<JobHandle<Order>, EnqueueError> {
    engine.enqueue(Order { no }).await
}

#[tokio::main]
async fn serve() -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("shop"))
        .handler(order)
        .handler(receipt)
        .propagation(OpenTelemetry)
        .start()
        .await?;

    for no in 1..=2 {
        // Where a request brings a `traceparent` of its own, its span is given that first, as in `follow`.
        let job = request(&engine, no).instrument(info_span!("request")).await?;
        let taken = job.wait().await?;
        engine.handle::<Receipt>(taken.receipt).wait().await?;
    }

    engine.shutdown(SEC * 5).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let provider = SdkTracerProvider::builder().with_simple_exporter(Printer).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
    // The attempts' spans are of the level INFO. Those of the engine's actors would last as long as it does: they belong to no request.
    let filter = Targets::new().with_default(LevelFilter::INFO).with_target("ractor", LevelFilter::OFF);
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();

    serve()?;
    // After the threads of the runtime, where spans end. An exporter that collects sends the rest now.
    provider.shutdown()?;
    Ok(())
}
