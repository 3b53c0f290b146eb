package legion;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import legion.registry.v1.AttemptProgress;
import legion.registry.v1.ConnectRequest;
import legion.registry.v1.ConnectResponse;
import legion.registry.v1.Drain;
import legion.registry.v1.Heartbeat;
import legion.registry.v1.Hello;
import legion.registry.v1.RegistryServiceGrpc;
import legion.registry.v1.Welcome;

/**
 * One stream to one Registry: numbers and acknowledges frames, beats, notices silence, and writes only as fast as the
 * peer reads. All of it happens on one thread, {@code loop}, gRPC's callbacks included; so nothing is locked, and no two
 * threads write to the stream, which must not be.
 */
final class Connection implements ClientResponseObserver<ConnectRequest, ConnectResponse> {
    interface Listener {
        /** The first frame; the rest of it is given to {@code received}. */
        void welcomed(Welcome welcome);

        void received(ConnectResponse frame);

        /** Once, and the last of all. {@code error} is null if the Registry ended the stream in order. */
        void closed(Throwable error);
    }

    private static final int MAX_FRAME_BYTES = 4 * 1024 * 1024;
    private static final int MAX_PROGRESS = 1_000;
    // Unless the welcome says otherwise; before it, an address that swallows everything gives no other sign.
    private static final Duration DEFAULT_LEASE = Duration.ofSeconds(10);
    private static final Duration DEFAULT_HEARTBEAT_INTERVAL = Duration.ofSeconds(3);
    private static final Duration END_LIMIT = Duration.ofSeconds(2);

    private final String target;
    private final InFlight inFlight;
    private final ScheduledExecutorService loop;
    private final Listener listener;
    private final ManagedChannel channel;
    private final Map<AttemptId, AttemptProgress> progress = new LinkedHashMap<>();
    private ClientCallStreamObserver<ConnectRequest> requests;
    private boolean welcomed;
    /** Nothing may be written any more. */
    private boolean ended;

    private boolean flushing;
    private String drainReason;
    private long sentSeq;
    private long receivedSeq;
    private long acknowledgedSeq;
    private long heardNanos = System.nanoTime();
    private Duration lease = DEFAULT_LEASE;
    private ScheduledFuture<?> watching;

    Connection(String target, Hello hello, InFlight inFlight, ScheduledExecutorService loop, Listener listener) {
        this.target = target;
        this.inFlight = inFlight;
        this.loop = loop;
        this.listener = listener;
        channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create())
                .maxInboundMessageSize(MAX_FRAME_BYTES)
                .build();
        RegistryServiceGrpc.newStub(channel).withExecutor(loop).connect(this);
        send(ConnectRequest.newBuilder().setHello(hello));
        watch();
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<ConnectRequest> requests) {
        this.requests = requests;
        requests.setOnReadyHandler(this::flush);
    }

    @Override
    public void onNext(ConnectResponse frame) {
        heardNanos = System.nanoTime();
        if (ended) {
            return;
        }
        receivedSeq = frame.getSeq();
        if (frame.hasWelcome()) {
            welcome(frame.getWelcome());
        }
        // Acknowledged before it is begun: a task that kills this process shall count as begun, and use up its
        // attempts.
        flush();
        listener.received(frame);
    }

    @Override
    public void onError(Throwable error) {
        close(error);
    }

    @Override
    public void onCompleted() {
        close(null);
    }

    boolean isWelcomed() {
        return welcomed;
    }

    /** Sends what has come into {@code inFlight}, progress and an acknowledgement that is due, in as few frames as it fits in. */
    void flush() {
        while (welcomed && !ended && requests.isReady()) {
            var frame = ConnectRequest.newBuilder()
                    .addAllOutcomes(inFlight.take(sentSeq + 1))
                    .addAllProgress(takeProgress());
            if (drainReason != null) {
                frame.setDrain(Drain.newBuilder().setReason(drainReason));
                drainReason = null;
            }
            boolean empty = frame.getOutcomesCount() == 0 && frame.getProgressCount() == 0 && !frame.hasDrain();
            if (empty && acknowledgedSeq == receivedSeq) {
                return;
            }
            send(frame);
        }
    }

    /** So that what comes at a time goes in one frame. */
    void flushSoon() {
        if (!flushing) {
            flushing = true;
            loop.execute(() -> {
                flushing = false;
                flush();
            });
        }
    }

    /** Of an attempt only the latest news waits: what the peer does not take in time is old. */
    void report(AttemptProgress news) {
        progress.put(new AttemptId(news.getTaskId(), news.getAttempt()), news);
        flushSoon();
    }

    void drain(String reason) {
        drainReason = reason;
        flush();
    }

    /** Ends the session in order: nothing more is sent, and the Registry has 2 s to end the stream. */
    void end() {
        if (!ended) {
            ended = true;
            requests.onCompleted();
            watching.cancel(false);
            watching = after(END_LIMIT, () -> abort(target + " did not end the stream"));
        }
    }

    /** Breaks the stream; {@code closed} follows. The session can be resumed. */
    void abort(String reason) {
        ended = true;
        requests.cancel(reason, null);
    }

    private void welcome(Welcome welcome) {
        welcomed = true;
        lease = welcome.hasLeaseDuration() ? Durations.of(welcome.getLeaseDuration()) : DEFAULT_LEASE;
        watch();
        listener.welcomed(welcome);
        var interval = welcome.hasHeartbeatInterval()
                ? Durations.of(welcome.getHeartbeatInterval())
                : DEFAULT_HEARTBEAT_INTERVAL;
        // "At least" every interval: a timer is never early and often late.
        beat(interval.multipliedBy(9).dividedBy(10));
    }

    private void beat(Duration interval) {
        if (!ended) {
            send(ConnectRequest.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()));
            after(interval, () -> beat(interval));
        }
    }

    /** Gives the peer up when nothing was heard of it for a lease; by then it has given up this agent. */
    private void watch() {
        if (watching != null) {
            watching.cancel(false);
        }
        Duration left = lease.minusNanos(System.nanoTime() - heardNanos);
        if (left.isNegative() || left.isZero()) {
            abort("nothing was heard from " + target + " for " + lease.toMillis() + " ms");
        } else {
            watching = after(left, this::watch);
        }
    }

    private ScheduledFuture<?> after(Duration delay, Runnable action) {
        return loop.schedule(action, delay.toNanos(), TimeUnit.NANOSECONDS);
    }

    private void send(ConnectRequest.Builder frame) {
        acknowledgedSeq = receivedSeq;
        requests.onNext(frame.setSeq(++sentSeq).setAck(receivedSeq).build());
    }

    private List<AttemptProgress> takeProgress() {
        var taken = new ArrayList<AttemptProgress>();
        for (var news = progress.values().iterator(); news.hasNext() && taken.size() < MAX_PROGRESS; news.remove()) {
            taken.add(news.next());
        }
        return taken;
    }

    private void close(Throwable error) {
        ended = true;
        watching.cancel(false);
        channel.shutdownNow();
        listener.closed(error);
    }
}
