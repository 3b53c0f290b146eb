package legion;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.protobuf.ByteString;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/** JSON that comes out as it went in: Gson keeps a number as the text it was. */
final class Json {
    private static final int MAX_DEPTH = 1_000;

    private static final Gson GSON = new GsonBuilder()
            .setStrictness(Strictness.STRICT)
            .serializeNulls()
            .disableHtmlEscaping()
            .create();

    private Json() {}

    /** @throws com.google.gson.JsonParseException if it is not a JSON object */
    static JsonObject parse(ByteString text) {
        JsonReader reader = GSON.newJsonReader(new InputStreamReader(text.newInput(), StandardCharsets.UTF_8));
        reader.setNestingLimit(MAX_DEPTH);
        return GSON.fromJson(reader, JsonObject.class);
    }

    /** @throws IllegalArgumentException if it contains NaN or an infinity, which JSON has no word for */
    static ByteString write(JsonElement value) {
        return ByteString.copyFromUtf8(GSON.toJson(value));
    }
}
