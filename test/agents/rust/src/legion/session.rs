use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::mpsc::{Receiver, Sender},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    Handler, Notice,
    attempt::{Attempt, News},
    book::Book,
    connection::Connection,
    notice::Observer,
    outbox::MAX_ITEMS,
    proto::registry::{Assignment, AttemptProgress, ConnectRequest, ConnectResponse, Drain, Heartbeat, Hello, Welcome},
    stream::Stream,
};

/// How a stream ended, unless by an error.
pub(crate) enum End {
    /// In order, with everything done.
    Done,
    /// The Registry goes away; the session goes on at another.
    Moved,
}

/// What outlives a stream.
pub(crate) struct Session {
    /// With the id of the session, once there is one.
    pub hello: Hello,
    pub handlers: HashMap<String, Handler>,
    pub observer: Observer,
    /// Canceled when the agent is to finish and end.
    pub drain: CancellationToken,
    /// The mesh was told.
    pub draining: bool,
    pub book: Book,
    pub progress: Vec<AttemptProgress>,
    pub news: Sender<News>,
    pub inbox: Receiver<News>,
    pub max_result_bytes: usize,
    /// Attempts to connect in a row that came to nothing.
    pub failures: u32,
}

impl Session {
    /// Holds one stream until its end.
    pub async fn hold(&mut self, target: &str) -> Result<End, Status> {
        let hello = Hello { in_flight: self.book.in_flight(), ..self.hello.clone() };
        let mut connection = tokio::select! {
            opened = Connection::open(target, hello) => opened?,
            () = self.drain.cancelled(), if self.book.is_empty() => return Ok(End::Done),
        };
        let mut stream = Stream::new();
        let mut news = Vec::new();
        loop {
            if stream.drain_said && self.book.is_empty() {
                connection.end().await;
                return Ok(End::Done);
            }
            let silent_at = stream.silent_at();
            tokio::select! {
                frame = connection.incoming.message() => {
                    let frame = frame?.ok_or_else(|| Status::unavailable("The Registry ended the stream."))?;
                    if self.receive(frame, &mut stream) {
                        return Ok(End::Moved);
                    }
                }
                // No more than a frame takes: handlers that tell too much are held back.
                _ = self.inbox.recv_many(&mut news, MAX_ITEMS), if self.progress.len() < MAX_ITEMS => {
                    news.drain(..).for_each(|news| self.note(news));
                }
                Ok(permit) = connection.outgoing.reserve(), if self.has_frame(&stream) => {
                    permit.send(Some(self.next_frame(&mut stream)));
                }
                () = self.drain.cancelled(), if !stream.drain_due && !stream.drain_said => {
                    stream.drain_due = true;
                }
                _ = stream.beat.tick() => stream.beat_due = true,
                () = sleep_until(silent_at) => return Err(Status::unavailable("Nothing was heard for a lease.")),
            }
        }
    }

    /// In this order: an outcome is dealt with before its attempt can be given again, and an assignment comes before its
    /// cancel. Returns whether the session moves to another Registry.
    fn receive(&mut self, frame: ConnectResponse, stream: &mut Stream) -> bool {
        stream.heard(frame.seq);
        if let Some(welcome) = frame.welcome {
            stream.welcomed(&welcome);
            self.welcomed(welcome);
        }
        self.book.outbox.acknowledge(frame.ack);
        for rejection in &frame.rejections {
            (self.observer)(Notice::Rejected(rejection));
        }
        // Promptly: what is received and not acknowledged would be given to others at no cost, though it has begun.
        stream.ack_due |= !frame.assignments.is_empty();
        for assignment in frame.assignments {
            self.accept(assignment);
        }
        for cancel in frame.cancels {
            self.book.cancel(cancel);
        }
        match frame.drain {
            Some(Drain { reconnect: true, .. }) => return true,
            Some(_) => self.drain.cancel(),
            None => {}
        }
        false
    }

    fn welcomed(&mut self, welcome: Welcome) {
        (self.observer)(Notice::Connected(&welcome));
        if welcome.resumed {
            self.book.lose(&welcome.lost);
        } else {
            self.book.lose_all();
        }
        self.book.outbox.rewind();
        self.failures = 0;
        self.max_result_bytes = welcome.max_result_bytes as usize;
        self.hello.session_id = welcome.session_id;
    }

    fn accept(&mut self, assignment: Assignment) {
        let Some((run, cancel)) = self.book.begin(&assignment) else {
            return;
        };
        let handler = self.handlers.get(&assignment.capability).cloned();
        let attempt = Attempt {
            run,
            assignment: Arc::new(assignment),
            cancel,
            max_result_bytes: self.max_result_bytes,
            news: self.news.clone(),
            observer: self.observer.clone(),
        };
        tokio::spawn(attempt.execute(handler));
    }

    fn note(&mut self, news: News) {
        match news {
            News::Progress(progress) => self.progress.push(progress),
            News::Outcome { run, answer } => self.book.finish(run, answer),
        }
    }

    fn has_frame(&self, stream: &Stream) -> bool {
        let news = self.book.outbox.has_unsent() || !self.progress.is_empty();
        stream.welcomed && (news || stream.beat_due || stream.ack_due || stream.drain_due)
    }

    fn next_frame(&mut self, stream: &mut Stream) -> ConnectRequest {
        stream.sent += 1;
        stream.ack_due = false;
        let drain = std::mem::take(&mut stream.drain_due).then(|| {
            stream.drain_said = true;
            if !std::mem::replace(&mut self.draining, true) {
                (self.observer)(Notice::Draining);
            }
            Drain { reason: "The agent stops.".into(), ..Default::default() }
        });
        let progress = self.progress.len().min(MAX_ITEMS);
        ConnectRequest {
            seq: stream.sent,
            ack: stream.received,
            heartbeat: std::mem::take(&mut stream.beat_due).then_some(Heartbeat {}),
            outcomes: self.book.outbox.take(stream.sent),
            progress: self.progress.drain(..progress).collect(),
            drain,
            ..Default::default()
        }
    }
}
