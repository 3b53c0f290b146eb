package legion;

/** The attempt that a handler works on. */
public interface Task {
    String taskId();

    /** Counted from 1. */
    int attempt();

    String capability();

    /**
     * Tells whoever watches the task how far it is, from 0 to 1. If news come faster than they can be sent only the
     * latest are.
     */
    void progress(double fraction, String message);
}
