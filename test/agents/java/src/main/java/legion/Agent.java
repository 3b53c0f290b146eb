package legion;

import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;

/** A program that does tasks: as many at a time as it has slots, each on a thread of its own. */
public final class Agent {
    private final CompletableFuture<Void> over = new CompletableFuture<>();
    private final Loop loop = new Loop(over);
    private final ExecutorService workers;
    private final Session session;

    /** {@code handlers} by capability: what this agent offers. */
    public Agent(AgentOptions options, Map<String, Handler> handlers, AgentEvents events) {
        workers = Executors.newFixedThreadPool(options.slots(), task -> new Thread(task, "legion-handler"));
        session = new Session(options, Map.copyOf(handlers), events, workers, loop, over);
    }

    /** Serves until the agent is drained, by {@link #drain} or by the mesh. Runs once. */
    public void run() throws AgentRefused, InterruptedException {
        loop.execute(session::connect);
        try {
            over.get();
        } catch (ExecutionException thrown) {
            if (thrown.getCause() instanceof AgentRefused refused) {
                throw refused;
            }
            throw new IllegalStateException("a defect", thrown.getCause());
        } finally {
            workers.shutdownNow();
            loop.shutdownNow();
        }
    }

    /** Takes nothing new, finishes what is held, and lets {@code run} return. May be called from any thread. */
    public void drain(String reason) {
        loop.execute(() -> session.drain(reason));
    }

    /** The one thread of the session. What is thrown on it ends the agent: an executor would keep it to itself. */
    private static final class Loop extends ScheduledThreadPoolExecutor {
        private final CompletableFuture<Void> over;

        Loop(CompletableFuture<Void> over) {
            super(1, task -> new Thread(task, "legion-session"));
            this.over = over;
            // A timeout of 30 days that is canceled is not kept for 30 days.
            setRemoveOnCancelPolicy(true);
        }

        @Override
        protected void afterExecute(Runnable task, Throwable thrown) {
            if (task instanceof Future<?> future && future.isDone() && !future.isCancelled()) {
                try {
                    future.get();
                } catch (ExecutionException defect) {
                    over.completeExceptionally(defect.getCause());
                } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                }
            }
        }
    }
}
