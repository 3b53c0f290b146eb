package legion;

/** What an agent tells its program. Called one at a time, on the thread that keeps the session alive: do not block it. */
public interface AgentEvents {
    void connected(String sessionId, boolean resumed);

    void begun(Task task);

    /** The handler has really ended. */
    void ended(Task task, Ending ending);

    void draining();
}
