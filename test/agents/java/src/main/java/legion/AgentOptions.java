package legion;

import java.util.List;
import java.util.Map;
import java.util.Set;
import legion.common.v1.Label;
import legion.registry.v1.Capability;
import legion.registry.v1.Hello;

/**
 * Who an agent is.
 *
 * @param registries {@code host:port} each; every new stream goes to the next one
 * @param agentId its durable identity; two processes of one id fence each other
 * @param name agents of one name are interchangeable but for their version
 * @param slots how many tasks it does at once
 * @param labels what tasks may ask for
 */
public record AgentOptions(
        List<String> registries, String agentId, String name, String version, int slots, Map<String, String> labels) {
    Hello.Builder hello(Set<String> capabilities) {
        var hello = Hello.newBuilder()
                .setAgentId(agentId)
                .setName(name)
                .setVersion(version)
                .setSlots(slots)
                .setResumable(true)
                .setSdk("java/" + System.getProperty("java.version"));
        capabilities.forEach(
                capability -> hello.addCapabilities(Capability.newBuilder().setName(capability)));
        labels.forEach(
                (key, value) -> hello.addLabels(Label.newBuilder().setKey(key).setValue(value)));
        return hello;
    }
}
