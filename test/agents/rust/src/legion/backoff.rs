use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(5);

/// How long to wait after so many failures in a row. Full jitter: agents that lost one Registry together do not come back
/// together.
pub(crate) fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = (FIRST * 2_u32.pow(doublings)).min(MAX);
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_limit_and_is_spread() {
        let longest = |failures| (0..1_000).map(|_| delay(failures)).max().unwrap();
        assert!(longest(1) <= FIRST && longest(1) > FIRST / 2);
        assert!(longest(3) <= FIRST * 4 && longest(3) > FIRST * 2);
        assert!(longest(u32::MAX) <= MAX && longest(u32::MAX) > MAX / 2);
        assert!((0..1_000).map(|_| delay(9)).min().unwrap() < MAX / 10);
    }
}
