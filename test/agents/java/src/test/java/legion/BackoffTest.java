package legion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class BackoffTest {
    @Test
    void doublesUntilFiveSeconds() {
        assertEquals(
                LongStream.of(50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000)
                        .boxed()
                        .toList(),
                IntStream.rangeClosed(1, 9).mapToObj(Backoff::bound).toList());
        assertEquals(5_000, Backoff.bound(Integer.MAX_VALUE));
    }

    @Test
    void usesTheWholeRange() {
        var delays = IntStream.range(0, 200)
                .mapToObj(ignored -> Backoff.delay(8))
                .sorted()
                .toList();
        assertTrue(delays.get(0).compareTo(Duration.ofMillis(1_250)) < 0, "the shortest of 200 in the first quarter");
        assertTrue(delays.get(199).compareTo(Duration.ofMillis(3_750)) > 0, "the longest in the last");
    }
}
