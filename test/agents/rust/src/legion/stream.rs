use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::proto::registry::Welcome;

// Until the welcome tells better.
const BEAT: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(10);

/// What belongs to one stream: its numbers, its clock, and what the next frame must say.
pub(crate) struct Stream {
    pub welcomed: bool,
    /// Number of the last frame sent; the first one said hello.
    pub sent: u64,
    /// Number of the last frame received.
    pub received: u64,
    pub beat: Interval,
    pub beat_due: bool,
    pub ack_due: bool,
    pub drain_due: bool,
    pub drain_said: bool,
    heard: Instant,
    lease: Duration,
}

impl Stream {
    pub fn new() -> Self {
        Self {
            welcomed: false,
            sent: 1,
            received: 0,
            beat: interval(BEAT),
            beat_due: false,
            ack_due: false,
            drain_due: false,
            drain_said: false,
            heard: Instant::now(),
            lease: LEASE,
        }
    }

    pub fn welcomed(&mut self, welcome: &Welcome) {
        let duration = |given: Option<prost_types::Duration>| given?.try_into().ok();
        // At least so often: a timer is never early and sometimes late.
        let period = duration(welcome.heartbeat_interval).unwrap_or(BEAT).mul_f64(0.9);
        self.beat = interval(period.max(Duration::from_millis(1)));
        self.beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.lease = duration(welcome.lease_duration).unwrap_or(LEASE);
        self.welcomed = true;
    }

    pub fn heard(&mut self, seq: u64) {
        self.received = seq;
        self.heard = Instant::now();
    }

    /// When the mesh will have been silent for so long that the stream must be broken.
    pub fn silent_at(&self) -> Instant {
        self.heard + self.lease
    }
}
