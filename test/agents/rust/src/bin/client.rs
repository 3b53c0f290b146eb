//! Runs one task and waits for it: `client CAPABILITY JSON [--timeout-ms N] [--task-id ID]`.

use std::{env, process::ExitCode, time::Duration};

use legion::{
    proto::{
        common::{Completed, Outcome, Payload, outcome::Kind},
        dispatcher::{
            RunTaskRequest, RunTaskResponse, Task, TaskSpec, dispatcher_service_client::DispatcherServiceClient,
        },
    },
    status,
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, transport::Endpoint};

const USAGE: &str = "client CAPABILITY JSON [--timeout-ms N] [--task-id ID]";
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

struct Options {
    timeout: Duration,
    task: TaskSpec,
}

fn options(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let (capability, data) = (args.next()?, args.next()?);
    let task_data = Some(Payload { data: data.into(), ..Default::default() });
    // An id of our own: without it a try that is repeated would be another task.
    let task_id = format!("{:032x}", fastrand::u128(..));
    let mut task = TaskSpec { capability, task_data, task_id, ..Default::default() };
    let mut timeout = Duration::from_secs(60);
    while let Some(option) = args.next() {
        match option.as_str() {
            "--timeout-ms" => timeout = Duration::from_millis(args.next()?.parse().ok()?),
            "--task-id" => task.task_id = args.next()?,
            _ => return None,
        }
    }
    Some(Options { timeout, task })
}

async fn run(dispatcher: &str, task: &TaskSpec) -> Result<Task, Status> {
    let channel = async { Endpoint::new(format!("http://{dispatcher}"))?.connect().await };
    let channel = channel.await.map_err(|error| Status::from_error(error.into()))?;
    // The finished task comes with its input and its result, 2 MiB each.
    let mut client = DispatcherServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
    let RunTaskResponse { task } = client.run_task(RunTaskRequest { task: Some(task.clone()) }).await?.into_inner();
    Ok(task.unwrap_or_default())
}

/// Tries the same task until somebody answers. What is under way at the deadline is dropped, and so canceled; the task goes on.
async fn run_until(dispatchers: &str, task: &TaskSpec, deadline: Instant) -> Result<Task, Status> {
    let late = || Status::deadline_exceeded("There was no answer in time.");
    let mut last = late();
    for dispatcher in dispatchers.split(',').cycle() {
        let began = Instant::now();
        match timeout_at(deadline, run(dispatcher, task)).await {
            Ok(Err(status)) if status::is_unavailable(&status) => last = status,
            Ok(answer) => return answer,
            // Somebody was there to wait for, whatever came before.
            Err(_) if began.elapsed() > Duration::from_secs(1) => return Err(late()),
            Err(_) => break,
        }
        let pause = sleep(Duration::from_millis(fastrand::u64(20..200)));
        if timeout_at(deadline, pause).await.is_err() {
            break;
        }
    }
    Err(last)
}

fn exit(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(Options { timeout, task }) = options(env::args().skip(1)) else {
        return exit(2, USAGE);
    };
    let dispatchers = env::var("LEGION_DISPATCHER").unwrap_or("127.0.0.1:7402".into());
    let answer = run_until(&dispatchers, &task, Instant::now() + timeout).await;
    match answer.map(|task| task.outcome) {
        Ok(Some(Outcome { kind: Some(Kind::Completed(Completed { result })) })) => {
            println!("{}", String::from_utf8_lossy(&result.unwrap_or_default().data));
            ExitCode::SUCCESS
        }
        Ok(Some(Outcome { kind: Some(Kind::Failed(failed)) })) => {
            exit(1, &format!("{}: {}", failed.code, failed.message))
        }
        Ok(Some(Outcome { kind: Some(Kind::Canceled(canceled)) })) => {
            exit(1, &format!("CANCELED: {}", canceled.reason))
        }
        Ok(_) => exit(1, "UNKNOWN: The task has an outcome that this client does not know."),
        Err(status) => {
            let reason = status::reason(&status).unwrap_or_else(|| format!("{:?}", status.code()));
            let code = match status.code() {
                _ if status::is_unavailable(&status) => 3,
                Code::DeadlineExceeded => 4,
                _ => 2,
            };
            exit(code, &format!("{reason}: {}", status.message()))
        }
    }
}
