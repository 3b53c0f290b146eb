package legion;

/** The mesh will not have this agent: its hello is wrong, or a newer process uses its id. Trying again would not help. */
public final class AgentRefused extends Exception {
    private static final long serialVersionUID = 1;

    AgentRefused(Throwable cause) {
        super(cause.getMessage(), cause);
    }
}
