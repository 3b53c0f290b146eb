package legion;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Exponential back-off with full jitter: all agents lose a Registry in the same moment and shall not return in one. */
public final class Backoff {
    private static final long FIRST_MILLIS = 50;
    private static final long LONGEST_MILLIS = 5_000;

    private Backoff() {}

    /** How long to wait after so many failures in a row: up to 50 ms after the first, up to 5 s in the end. */
    public static Duration delay(int failures) {
        return Duration.ofMillis(ThreadLocalRandom.current().nextLong(bound(failures) + 1));
    }

    static long bound(int failures) {
        return Math.min(LONGEST_MILLIS, FIRST_MILLIS << Math.min(Math.max(failures - 1, 0), 10));
    }
}
