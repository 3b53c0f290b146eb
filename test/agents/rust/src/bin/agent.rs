//! An agent with the handlers that the conformance suite asks for.

use std::{env, error::Error, io::Write, process::ExitCode, time::Duration};

use legion::{
    Agent, Failure, Handler, HandlerResult, How, Notice, Task, json,
    proto::{
        common::Label,
        registry::{Assignment, Hello},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

async fn echo(task: Task) -> HandlerResult {
    Ok(task.data())
}

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
    #[serde(default)]
    steps: u32,
}

async fn sleep(task: Task) -> HandlerResult {
    let Sleep { ms, steps } = task.input()?;
    let (began, whole) = (Instant::now(), Duration::from_millis(ms));
    for step in 1..=steps {
        sleep_until(began + whole * step / steps).await;
        task.progress(f64::from(step) / f64::from(steps), format!("step {step} of {steps}"));
    }
    sleep_until(began + whole).await;
    json(&json!({ "slept": ms }))
}

#[derive(Deserialize)]
struct Fail {
    message: String,
    retryable: bool,
    code: Option<String>,
}

async fn fail(task: Task) -> HandlerResult {
    let Fail { message, retryable, code } = task.input()?;
    Err(Failure { code: code.unwrap_or("Failed".into()), message, retryable, ..Default::default() })
}

#[derive(Deserialize)]
struct Crash {
    message: String,
}

async fn crash(task: Task) -> HandlerResult {
    let Crash { message } = task.input()?;
    panic!("{message}");
}

#[derive(Deserialize)]
struct Burn {
    ms: u64,
}

fn burn(task: Task) -> HandlerResult {
    let Burn { ms } = task.input()?;
    let end = std::time::Instant::now() + Duration::from_millis(ms);
    while std::time::Instant::now() < end && !task.is_canceled() {
        std::hint::spin_loop();
    }
    json(&json!({ "burned": ms }))
}

#[derive(Deserialize)]
struct Fill {
    bytes: usize,
}

async fn fill(task: Task) -> HandlerResult {
    let Fill { bytes } = task.input()?;
    json(&json!({ "fill": "x".repeat(bytes) }))
}

fn handler(capability: &str) -> Result<Handler, String> {
    Ok(match capability {
        "echo" => Handler::new(echo),
        "sleep" => Handler::new(sleep),
        "fail" => Handler::new(fail),
        "crash" => Handler::new(crash),
        "burn" => Handler::blocking(burn),
        "fill" => Handler::new(fill),
        _ => return Err(format!("there is no handler for {capability}")),
    })
}

/// One JSON object a line on standard output; the rest is for people.
fn report(notice: Notice<'_>) {
    let attempt =
        |event: &str, it: &Assignment| json!({ "event": event, "task_id": it.task_id, "attempt": it.attempt });
    let line = match notice {
        Notice::Connected(welcome) => {
            json!({ "event": "connected", "session_id": welcome.session_id, "resumed": welcome.resumed })
        }
        Notice::Begin(assignment) => with(attempt("begin", assignment), "capability", &assignment.capability),
        Notice::End(assignment, how) => with(attempt("end", assignment), "how", word(how)),
        Notice::Draining => json!({ "event": "draining" }),
        Notice::Rejected(rejection) => return eprintln!("rejected: {} {}", rejection.task_id, rejection.reason),
        Notice::Broken(registry, status) => return eprintln!("{registry}: {:?}: {}", status.code(), status.message()),
        _ => return,
    };
    // That nobody reads it is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn with(mut event: Value, key: &str, value: &str) -> Value {
    event[key] = value.into();
    event
}

fn word(how: How) -> &'static str {
    match how {
        How::Completed => "completed",
        How::Failed => "failed",
        How::Canceled => "canceled",
    }
}

/// Canceled by the first SIGTERM or SIGINT; a second one ends the process.
fn drain_on_signal() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let drain = CancellationToken::new();
    let canceled = drain.clone();
    tokio::spawn(async move {
        for code in [None, Some(1)] {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            canceled.cancel();
            if let Some(code) = code {
                std::process::exit(code);
            }
        }
    });
    Ok(drain)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let variable = |name: &str, default: &str| env::var(name).unwrap_or(default.into());
    let registries: Vec<_> = variable("LEGION_REGISTRY", "127.0.0.1:7401").split(',').map(str::to_owned).collect();
    let mut agent = Agent::new(Hello {
        agent_id: variable("AGENT_ID", &format!("rust-{}", std::process::id())),
        name: "rust-example".into(),
        version: "1.0.0".into(),
        slots: 4,
        sdk: format!("rust/{}", env!("RUST_VERSION")),
        labels: vec![Label { key: "language".into(), value: "rust".into() }],
        ..Default::default()
    })
    .observe(report);
    for capability in variable("CAPABILITIES", "echo,sleep,fail,crash,burn,fill").split(',') {
        agent = agent.serve(capability, handler(capability)?);
    }
    match agent.run(&registries, drain_on_signal()?).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(status) => {
            let reason = legion::status::reason(&status).unwrap_or_else(|| format!("{:?}", status.code()));
            eprintln!("{reason}: {}", status.message());
            Ok(ExitCode::FAILURE)
        }
    }
}
