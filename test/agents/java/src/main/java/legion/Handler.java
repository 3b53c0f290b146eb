package legion;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;

/** Does the tasks of one capability; on several threads at once if the agent has several slots. */
@FunctionalInterface
public interface Handler {
    /**
     * Returns the result. The thread is interrupted when the task is to stop; whatever is thrown then means that it
     * has stopped. Otherwise an exception is a failure that is tried again, or what {@link TaskFailure} says.
     */
    JsonElement handle(JsonObject input, Task task) throws Exception;
}
