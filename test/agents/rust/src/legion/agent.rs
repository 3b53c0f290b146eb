use std::{collections::HashMap, sync::Arc};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    Handler, Notice, backoff,
    book::Book,
    notice::Observer,
    proto::registry::{Capability, Hello},
    session::{End, Session},
    status,
};

/// A program that does tasks.
pub struct Agent {
    hello: Hello,
    handlers: HashMap<String, Handler>,
    observer: Observer,
}

impl Agent {
    /// `hello` says who it is and how many slots it has; the rest of it is filled in.
    pub fn new(hello: Hello) -> Self {
        Self { hello, handlers: HashMap::new(), observer: Arc::new(|_| {}) }
    }

    /// Offers a capability.
    pub fn serve(mut self, name: &str, handler: Handler) -> Self {
        self.hello.capabilities.push(Capability { name: name.into(), ..Default::default() });
        self.handlers.insert(name.into(), handler);
        self
    }

    /// Is told what happens. Called on the threads that work: it should be quick.
    pub fn observe(mut self, observer: impl Fn(Notice<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Works until `drain` is canceled, or the mesh asks for that, and everything held is finished and recorded. Connects to
    /// one of `registries` (`host:port` each), to the next when that one is lost. Fails when the mesh refuses the agent for
    /// good: its hello is wrong, or another process uses its `agent_id`.
    pub async fn run(self, registries: &[String], drain: CancellationToken) -> Result<(), Status> {
        // Progress that finds it full is dropped, outcomes wait.
        let (news, inbox) = mpsc::channel(1_024);
        let mut session = Session {
            hello: Hello { resumable: true, ..self.hello },
            handlers: self.handlers,
            observer: self.observer.clone(),
            drain: drain.clone(),
            draining: false,
            book: Book::default(),
            progress: Vec::new(),
            news,
            inbox,
            max_result_bytes: usize::MAX,
            failures: 0,
        };
        let first = fastrand::usize(..registries.len().max(1));
        for registry in registries.iter().cycle().skip(first) {
            match session.hold(registry).await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Moved) => continue,
                Err(status) if status::is_final(&status) => {
                    session.book.lose_all();
                    return Err(status);
                }
                Err(status) => (self.observer)(Notice::Broken(registry, &status)),
            }
            session.failures += 1;
            tokio::select! {
                () = sleep(backoff::delay(session.failures)) => {}
                () = drain.cancelled(), if session.book.is_empty() => {}
            }
            if drain.is_cancelled() && session.book.is_empty() {
                return Ok(());
            }
        }
        Err(Status::invalid_argument("There is no Registry to connect to."))
    }
}
