package legion;

/** A failure that a handler has prepared for its caller. */
public final class TaskFailure extends Exception {
    private static final long serialVersionUID = 1;

    private final String code;
    private final boolean retryable;

    /** {@code code} is a stable word for programs, {@code message} a sentence for people. */
    public TaskFailure(String code, String message, boolean retryable) {
        super(message);
        this.code = code;
        this.retryable = retryable;
    }

    public String code() {
        return code;
    }

    /** Whether trying again may help. */
    public boolean retryable() {
        return retryable;
    }
}
